"""Text encoder (Eq. 1): a BERT over words and bridging context.

B batch, T sub-words of the input, W words, C sub-words of the context, H encoder width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import transformers
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedModel

from shapca.config import is_local_path
from shapca.data.batches.batch import Batch
from shapca.errors import InputError
from shapca.model.encoders.architecture import check_size, read_architecture
from shapca.model.encoders.tokenizers import tiny_vocabulary
from shapca.model.encoders.weights import bundled_config, locate


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
    """Words and context through one BERT: x_t, H_t, x_c, H_c = Transformer([t; c]) (Eq. 1).

    Args:
        bert: A `transformers.BertModel`. Its pooler, where it has one, is kept and not trained.
        encode: `joint` reads `[CLS] text [SEP] context [SEP]` in one pass, so that text and
            context attend each other; `separate` gives each a pass of its own.
        pool: Sentence features as the masked mean over sub-words, or `cls`: [CLS] for the text;
            for the context the [SEP] before it (joint) or its own [CLS] (separate).
        freeze: Keep the weights as they are; the encoder then stays in eval mode.
        gradient_checkpointing: Recompute activations in the backward pass.
    """

    def __init__(
        self,
        bert: BertModel,
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
        if bert.pooler is not None:
            bert.pooler.requires_grad_(False)
        if freeze:
            bert.requires_grad_(False)
        if gradient_checkpointing:
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
        of_text = batch.attention_mask.bool() & (batch.token_type_ids == 0)  # (B, T)
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
        if ids.device.type != "cpu":
            # A flat mask is looked into, whether anything is masked, for which a GPU is waited for.
            mask = mask[:, None, None].expand(-1, 1, ids.shape[1], -1)  # (B, 1, T, T)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            output = self.bert(input_ids=ids, attention_mask=mask, token_type_ids=types)
        hidden: Tensor = output.last_hidden_state
        return hidden


def _gather(hidden: Tensor, places: Tensor, mask: Tensor) -> Tensor:
    """(B, T, H) at places (B, N) to (B, N, H), zero where the mask (B, N) is false."""
    places = places[:, :, None].expand(-1, -1, hidden.shape[2])
    return hidden.gather(1, places) * mask[:, :, None]


def _masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """(B, N, H) with mask (B, N) to (B, H); zero where the mask is all false."""
    weights = mask.to(hidden.dtype)
    total = torch.einsum("bn,bnh->bh", weights, hidden)
    return total / weights.sum(1, keepdim=True).clamp(min=1)


def text_model_config(name: str) -> BertConfig:
    """The architecture of a text encoder, without weights; no hub is asked for bundled ones.

    Args:
        name: Hub name or folder of a BERT, `minilm`, or `tiny`.

    Raises:
        InputError: no such model, or one that is not a BERT.
    """
    if name == "tiny":
        return BertConfig(
            vocab_size=len(tiny_vocabulary()),
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
        )
    bundled = bundled_config(name)
    if bundled is not None and (name == "minilm" or not is_local_path(name)):
        return BertConfig(**bundled)
    config: BertConfig = read_architecture(
        BertConfig, locate(name, "text.encoder"), name, "text.encoder"
    )
    return config


def load_bert(name: str, *, pretrained: bool = True) -> BertModel:
    """A text encoder's model.

    Args:
        name: Hub name or folder of a BERT, `minilm`, or `tiny`, which has no pretrained weights.
        pretrained: Read the weights; otherwise only the architecture is built, at random or on
            the meta device, as the surrounding `torch.device` says.

    Raises:
        InputError: no such model, not a BERT, or a checkpoint that lacks some of its weights.
    """
    config = text_model_config(name)
    if name == "tiny":
        return BertModel(config, add_pooling_layer=False)
    if not pretrained:
        return BertModel(config)
    return load_transformer(BertModel, name, "text.encoder", optional=("pooler.",))


def load_transformer(
    model: type[PreTrainedModel], name: str, key: str, *, optional: tuple[str, ...] = ()
) -> Any:
    """Read a transformers model in float32 from a folder or a hub, complete or not at all.

    Args:
        model: The model's class.
        name: Hub name, folder or `minilm`.
        key: The config key, for messages.
        optional: Prefixes of weights that a checkpoint may lack.

    Raises:
        InputError: no such model, unreadable weights, or weights that are missing or misshapen.
    """
    folder = locate(name, key)
    config = read_architecture(model.config_class, folder, name, key)
    check_size(model, config, folder, name, key)
    try:
        with _quiet():
            loaded, report = model.from_pretrained(
                folder, config=config, dtype=torch.float32, local_files_only=True,
                output_loading_info=True,
            )  # fmt: skip
    except Exception as error:  # whatever a damaged file of a dozen kinds makes it raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{key}: {name}: weights cannot be read ({first})") from error
    missing = sorted(name for name in report["missing_keys"] if not name.startswith(optional))
    wrong = missing + sorted(str(entry) for entry in report["mismatched_keys"])
    if wrong:
        raise InputError(
            f"{key}: {name}: the checkpoint does not fit {model.__name__}: "
            f"{len(wrong)} weights missing or of another shape, first {wrong[0]}"
        )
    return loaded


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar and no load report: what matters in the report is checked by the caller."""
    bar = transformers.utils.logging.is_progress_bar_enabled()
    level = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(level)
        if bar:
            transformers.utils.logging.enable_progress_bar()
