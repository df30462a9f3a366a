"""Text encoder (Eq. 1): a transformer over words and bridging context.

B batch, T sub-words of the input, W words, C sub-words of the context, H encoder width.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedConfig, PreTrainedModel

from shapca.config import is_local_path
from shapca.data.batches.batch import Batch
from shapca.errors import InputError
from shapca.model.encoders.architecture import Architecture, text_architecture
from shapca.model.encoders.loading import load_transformer
from shapca.model.encoders.tokenizers import tiny_vocabulary
from shapca.model.encoders.weights import bundled_config

# Models whose attention also takes masks of every pair of sub-words; others read a flat one alone.
_TAKE_WHOLE_MASKS = (
    "bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "modernbert",
)  # fmt: skip


@dataclass(frozen=True)
class TextFeatures:
    """What Eq. 1 gives; padding, and all of an empty context, is zero.

    Attributes:
        words: (B, W, H) `H_t`, the first sub-word of each word.
        context: (B, C, H) `H_c`, the context's sub-words.
        x_t: (B, H) feature of the text as a whole.
        x_c: (B, H) feature of the context as a whole.
    """

    words: Tensor
    context: Tensor
    x_t: Tensor
    x_c: Tensor


class TextEncoder(nn.Module):
    """Words and context through one transformer: x_t, H_t, x_c, H_c = Transformer([t; c]) (Eq. 1).

    Args:
        bert: A BERT or any other encoder of transformers. Its pooler, where it has one, is kept
            and not trained.
        encode: `joint` reads `[CLS] text [SEP] context [SEP]`, or what is its tokenizer's form of
            a pair, in one pass, so that text and context attend each other; `separate` gives each
            a pass of its own.
        pool: Sentence features as the masked mean over sub-words, or `cls`: [CLS] for the text;
            for the context the [SEP] before it (joint) or its own [CLS] (separate).
        freeze: Keep the weights as they are; the encoder then stays in eval mode.
        gradient_checkpointing: Recompute activations in the backward pass.
    """

    def __init__(
        self,
        bert: PreTrainedModel,
        *,
        encode: Literal["joint", "separate"] = "joint",
        pool: Literal["mean", "cls"] = "mean",
        freeze: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.bert = bert
        self.encode = encode
        self.pool = pool
        self.freeze = freeze
        self.width: int = bert.config.hidden_size
        self._whole_mask = bert.config.model_type in _TAKE_WHOLE_MASKS
        self._reads_types = (
            "token_type_ids" in inspect.signature(bert.forward).parameters
            and getattr(bert.config, "type_vocab_size", 0) > 1
        )
        pooler = getattr(bert, "pooler", None)
        if pooler is not None:
            pooler.requires_grad_(False)
        if freeze:
            bert.requires_grad_(False)
        if gradient_checkpointing:
            if not bert.supports_gradient_checkpointing:
                raise InputError(
                    f"text.gradient_checkpointing: transformers has none for "
                    f"{bert.config.model_type}; set it to false"
                )
            bert.gradient_checkpointing_enable({"use_reentrant": False})

    def train(self, mode: bool = True) -> TextEncoder:
        """Set training or evaluation mode; a frozen encoder stays in the latter."""
        super().train(mode)
        if self.freeze:
            self.bert.eval()
        return self

    def forward(self, batch: Batch) -> TextFeatures:
        """Encode the texts and contexts of a batch."""
        hidden = self._hidden(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        source = hidden
        if self.encode == "separate" and batch.context_input_ids is not None:
            assert batch.context_attention_mask is not None
            source = self._hidden(batch.context_input_ids, batch.context_attention_mask, None)
        context = _gather(source, batch.context_positions, batch.context_mask)  # (B, C, H)
        has_context = batch.context_mask.any(1)  # (B,)
        if self.pool == "mean":
            x_t = _masked_mean(hidden, batch.text_mask)
            x_c = _masked_mean(context, batch.context_mask)
        else:
            x_t = hidden[:, 0]
            # The sub-word before the context's first: the middle [SEP], or the context's [CLS].
            before = (batch.context_positions[:, :1] - 1).clamp(min=0)
            x_c = _gather(source, before, has_context[:, None][:, : before.shape[1]]).sum(1)
        return TextFeatures(
            words=_gather(hidden, batch.word_starts, batch.word_mask),
            context=context,
            x_t=x_t,
            x_c=x_c,
        )

    def apart(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sentence features x_t and x_c (B, H) from separate passes of what was laid out jointly.

        The passes read `[CLS] text [SEP]` and `[CLS] context [SEP]`, as `separate` lays them out.
        """
        lengths = batch.text_mask.sum(1, keepdim=True)  # (B, 1)
        places = torch.arange(batch.input_ids.shape[1], device=lengths.device)
        of_text = places < lengths + 2  # (B, T)
        num_places = batch.text_places
        text = self._hidden(batch.input_ids[:, :num_places], of_text[:, :num_places], None)

        begin = batch.input_ids[:, :1]  # [CLS]
        end = batch.input_ids.gather(1, (batch.context_positions[:, :1] - 1).clamp(min=0))  # [SEP]
        lengths = batch.context_mask.sum(1, keepdim=True)  # (B, 1)
        pieces = batch.input_ids.gather(1, batch.context_positions)  # (B, C)
        ids = torch.cat((begin, pieces, end), dim=1).scatter(1, lengths + 1, end)  # (B, C + 2)
        places = torch.arange(ids.shape[1], device=ids.device)
        context = self._hidden(ids, places < lengths + 2, None)
        if self.pool == "cls":
            return text[:, 0], context[:, 0] * batch.context_mask.any(1, keepdim=True)
        return (
            _masked_mean(text, batch.text_mask[:, :num_places]),
            _masked_mean(context[:, 1:-1], batch.context_mask),
        )

    def _hidden(self, ids: Tensor, mask: Tensor, types: Tensor | None) -> Tensor:
        """(B, T) sub-words to (B, T, H) features of the last layer."""
        mask = mask.bool().clone()
        mask[:, 0] = True  # a row that is all padding must not leave its softmax nothing to read
        attended: Tensor | dict[str, Tensor] = mask
        if not self._whole_mask:
            attended = mask.long()
        elif ids.device.type != "cpu":
            attended = whole_masks(self.bert.config, mask)
        given = {"token_type_ids": types} if self._reads_types else {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            output = self.bert(input_ids=ids, attention_mask=attended, **given)
        hidden: Tensor = output.last_hidden_state
        return hidden


def whole_masks(config: PreTrainedConfig, mask: Tensor) -> Tensor | dict[str, Tensor]:
    """Which sub-word each may attend to, as a model of `_TAKE_WHOLE_MASKS` takes it.

    A flat mask is looked into, whether anything is masked, for which a GPU is waited for.

    Args:
        config: The model's.
        mask: (B, T) booleans, false at padding.

    Returns:
        (B, 1, T, T) booleans; by kind of layer where some see only what is near.
    """
    num_places = mask.shape[1]
    whole = mask[:, None, None].expand(-1, 1, num_places, -1)
    if config.model_type != "modernbert":
        return whole
    places = torch.arange(num_places, device=mask.device)
    distance = (places[:, None] - places).abs()
    # Padding far from all words attends to itself: with nothing to attend to, a GPU's gradients in
    # bf16 are not finite.
    near = whole & (distance <= config.sliding_window) | (distance == 0)
    return {"full_attention": whole, "sliding_attention": near}


def _gather(hidden: Tensor, places: Tensor, mask: Tensor) -> Tensor:
    """(B, T, H) at places (B, N) to (B, N, H), zero where the mask (B, N) is false."""
    places = places[:, :, None].expand(-1, -1, hidden.shape[2])
    return hidden.gather(1, places) * mask[:, :, None]


def _masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """(B, N, H) with mask (B, N) to (B, H); zero where the mask is all false."""
    weights = mask.to(hidden.dtype)
    total = torch.einsum("bn,bnh->bh", weights, hidden)
    return total / weights.sum(1, keepdim=True).clamp(min=1)


def text_model_config(name: str) -> Any:
    """The sizes of a text encoder, without weights; no hub is asked for bundled ones.

    Args:
        name: Hub name or folder of a text encoder, `minilm`, or `tiny`.

    Raises:
        InputError: no such model, or one that is no text encoder.
    """
    return _architecture(name).config


def _architecture(name: str) -> Architecture:
    place = f"text.encoder: {name}"
    if name == "tiny":
        config = BertConfig(
            vocab_size=len(tiny_vocabulary()),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
        )
        return Architecture(BertModel, config, place)
    bundled = bundled_config(name)
    if bundled is not None and (name == "minilm" or not is_local_path(name)):
        return Architecture(BertModel, BertConfig(**bundled), place)
    return text_architecture(name)


def load_text_model(name: str, *, pretrained: bool = True) -> PreTrainedModel:
    """A text encoder's model.

    Args:
        name: Hub name or folder of a text encoder, `minilm`, or `tiny`, which has no pretrained
            weights.
        pretrained: Read the weights; otherwise only the architecture is built, at random or on
            the meta device, as the surrounding `torch.device` says.

    Raises:
        InputError: no such model, no text encoder, or a checkpoint that lacks some of its weights.
    """
    architecture = _architecture(name)
    if name == "tiny":
        return BertModel(architecture.config, add_pooling_layer=False)
    if not pretrained:
        return architecture.build()
    optional = ("pooler.",) if architecture.config.model_type == "bert" else ()
    if optional and bundled_config(name) is not None:
        architecture = text_architecture(name)  # the checkpoint says itself what it is
    model: PreTrainedModel = load_transformer(architecture, name, "text.encoder", optional=optional)
    if not optional:
        _try(model, name)
    return model


@torch.no_grad()
def _try(model: PreTrainedModel, name: str) -> None:
    """Refuse a model that does not give one row of features for each sub-word."""
    ids = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8]]).remainder(model.config.vocab_size)
    place = f"text.encoder: {name}: a {model.config.model_type}"
    try:
        hidden = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    except Exception as error:  # whatever a model makes of sizes that do not fit together
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{place} that cannot be run ({first})") from error
    finally:
        model.train()
    if hidden.shape != (1, 8, model.config.hidden_size):
        raise InputError(
            f"{place}: expected (1, 8, {model.config.hidden_size}) features for 8 sub-words, "
            f"got {tuple(hidden.shape)}"
        )


def num_positions(model: PreTrainedModel) -> int | None:
    """How many sub-words a text encoder reads at most; `None` where its positions have no end.

    A table of positions with a row for padding, as RoBERTa's, counts from behind that row.
    """
    for name, module in model.named_modules():
        if (
            name.endswith("position_embeddings")
            and getattr(module, "padding_idx", None) is not None
        ):
            return int(module.num_embeddings) - int(module.padding_idx) - 1
    limit = getattr(model.config, "max_position_embeddings", None)
    return None if limit is None else int(limit)
