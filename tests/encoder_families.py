"""The smallest encoders of each family, saved with files as their hubs hold them.

A text family joins the contract by one line of `TEXT_FAMILIES`, an image family by one of
`IMAGE_FAMILIES`. Tokenizers are trained here, on a few posts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    MODEL_MAPPING,
    DebertaV2Tokenizer,
    MPNetTokenizer,
    PreTrainedTokenizerFast,
    XLMRobertaTokenizer,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

POSTS = (
    "Rocky is ready for snow season !", "Anna met Bob in Paris", "unbelievably good http://t.co/x",
    "a dog named Rocky plays in a park", "two people at a table", "RT @user : Kevin Durant enters",
)  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!?.,:;/@#'-"
OF_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
OF_ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def word_piece(folder: Path) -> int:
    """`vocab.txt`, as of BERT, ELECTRA and DistilBERT."""
    return len(_word_piece(folder, OF_BERT))


def _word_piece(folder: Path, special: tuple[str, ...]) -> list[str]:
    unknown = next(token for token in special if "unk" in token.lower())
    tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=list(special), initial_alphabet=list(LETTERS),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(POSTS, trainer)
    vocabulary = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda e: e[1])]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return vocabulary


def mpnet_pieces(folder: Path) -> int:
    """WordPiece with the special sub-words of a RoBERTa."""
    vocabulary = _word_piece(folder, ("<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"))
    (folder / "vocab.txt").unlink()
    numbered = {token: place for place, token in enumerate(vocabulary)}
    MPNetTokenizer(vocab=numbered).save_pretrained(folder)
    return len(vocabulary)


def _byte_pairs(special: tuple[str, ...]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=340, special_tokens=list(special), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(POSTS, trainer)
    return tokenizer


def byte_pairs(folder: Path) -> int:
    """`vocab.json` and `merges.txt`, as of RoBERTa."""
    tokenizer = _byte_pairs(OF_ROBERTA)
    tokenizer.model.save(str(folder))
    return int(tokenizer.get_vocab_size())


def byte_pairs_of_bert(folder: Path) -> int:
    """One `tokenizer.json` of byte pairs with BERT's special sub-words, as of ModernBERT."""
    tokenizer = _byte_pairs(OF_BERT)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, OF_BERT.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in OF_BERT}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def _unigrams(special: tuple[str, ...], unknown: str) -> list[tuple[str, float]]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=list(special), unk_token=unknown, show_progress=False,
        initial_alphabet=list(LETTERS),
    )  # fmt: skip
    tokenizer.train_from_iterator(POSTS, trainer)
    return [tuple(entry) for entry in json.loads(tokenizer.to_str())["model"]["vocab"]]


def unigrams_of_xlm_r(folder: Path) -> int:
    """`tokenizer.json` of SentencePiece's kind, as of XLM-R."""
    vocabulary = _unigrams(OF_ROBERTA, "<unk>")
    XLMRobertaTokenizer(vocab=vocabulary).save_pretrained(folder)
    return len(vocabulary)


def unigrams_of_deberta(folder: Path) -> int:
    """`tokenizer.json` of SentencePiece's kind, as of DeBERTa-v3."""
    vocabulary = _unigrams(("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"), "[UNK]")
    DebertaV2Tokenizer(vocab=vocabulary, unk_id=3).save_pretrained(folder)
    return len(vocabulary)


def bertweet_codes(folder: Path) -> int:
    """`vocab.txt` and `bpe.codes` with counts, as of BERTweet, whose tokenizer is a slow one."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=200, end_of_word_suffix="</w>", initial_alphabet=list(LETTERS),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(POSTS, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    ends = dict.fromkeys((*learnt["vocab"], *(letter + "</w>" for letter in LETTERS)))
    pieces = [t.removesuffix("</w>") if t.endswith("</w>") else f"{t}@@" for t in ends]
    lines = [f"{piece} {9}" for piece in [*pieces, "<mask>"]]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in learnt["merges"]]
    codes = "".join(f"{pair} {9}\n" for pair in merges)
    (folder / "bpe.codes").write_text(codes, encoding="utf-8")
    return 4 + len(lines)


@dataclass(frozen=True)
class TextFamily:
    """A family of text encoders.

    Attributes:
        model_type: As transformers calls it.
        write_tokenizer: Writes the files of its tokenizer and gives the number of its sub-words.
        num_special: Special sub-words around a text and a context.
        has_types: Whether it tells text and context apart by token types.
        num_positions: Sub-words that the saved model reads at most.
        more: What its config has beside the common sizes.
        checkpoints: Whether transformers recomputes its activations.
        in_config: Keys of its `config.json` alone.
    """

    model_type: str
    write_tokenizer: Callable[[Path], int]
    num_special: int
    has_types: bool
    num_positions: int | None = 96
    more: dict[str, Any] = field(default_factory=dict)
    checkpoints: bool = True
    in_config: dict[str, Any] = field(default_factory=dict)


_BEHIND_PADDING = {"max_position_embeddings": 98, "pad_token_id": 1, "type_vocab_size": 1}
_DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}
_OF_V3 = {
    "relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm",
    "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0,
    "position_biased_input": False,
}  # fmt: skip
_MODERN = {"global_attn_every_n_layers": 2, "local_attention": 8, "pad_token_id": 0,
           "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}  # fmt: skip
_BERTWEET = {"tokenizer_class": "BertweetTokenizer"}

TEXT_FAMILIES = {
    "bert": TextFamily("bert", word_piece, 3, True),
    "electra": TextFamily("electra", word_piece, 3, True, more={"embedding_size": 16}),
    "distilbert": TextFamily("distilbert", word_piece, 3, False, more=_DISTIL),
    "roberta": TextFamily("roberta", byte_pairs, 4, False, more=_BEHIND_PADDING),
    "bertweet": TextFamily(
        "roberta", bertweet_codes, 4, False, more=_BEHIND_PADDING, in_config=_BERTWEET
    ),
    "xlm-r": TextFamily("xlm-roberta", unigrams_of_xlm_r, 4, False, more=_BEHIND_PADDING),
    "deberta-v3": TextFamily("deberta-v2", unigrams_of_deberta, 3, False, more=_OF_V3),
    "modernbert": TextFamily("modernbert", byte_pairs_of_bert, 3, False, more=_MODERN),
    "mpnet": TextFamily(
        "mpnet", mpnet_pieces, 4, False,
        more={"max_position_embeddings": 98, "pad_token_id": 1}, checkpoints=False,
    ),
}  # fmt: skip


def save_text_encoder(family: str, folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Save a family's smallest encoder: weights, `config.json` and the files of its tokenizer.

    Args:
        family: A key of `TEXT_FAMILIES`.
        folder: Where to.
        seed: Of its weights.
        changes: Of its sizes.
    """
    made = TEXT_FAMILIES[family]
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {
        "vocab_size": made.write_tokenizer(folder), "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 96,
    }  # fmt: skip
    kind = CONFIG_MAPPING[made.model_type]
    _save(kind(**sizes | made.more | changes), folder, seed)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | made.in_config))
    return folder


@dataclass(frozen=True)
class ImageFamily:
    """A family of image encoders of transformers.

    Attributes:
        model_type: As transformers calls it.
        num_regions: Regions of a picture of 64 pixels.
        width: Of its features.
        more: Its config.
        checkpoints: Whether transformers recomputes its activations.
    X"""

    model_type: str
    num_regions: int
    width: int
    more: dict[str, Any]
    checkpoints: bool = True
    processor: dict[str, Any] = field(default_factory=dict)
    of_pooled: str = "none"


_VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "image_size": 64, "patch_size": 16,
}  # fmt: skip
_SWIN = {"image_size": 64, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
         "window_size": 4}  # fmt: skip
_CONVNEXT = {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1], "image_size": 64}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}

IMAGE_FAMILIES = {
    "clip-vision": ImageFamily("clip_vision_model", 16, 32, _VIT),
    "siglip": ImageFamily(
        "siglip_vision_model", 16, 32, _VIT, processor=_HALF, of_pooled="model.head"
    ),
    "dinov2": ImageFamily(
        "dinov2", 16, 32, _VIT | {"image_size": 80},
        processor={"size": {"shortest_edge": 80}, "crop_size": {"height": 64, "width": 64}},
    ),
    "dinov2-registers": ImageFamily("dinov2_with_registers", 16, 32, _VIT),
    "vit": ImageFamily("vit", 16, 32, _VIT, processor=_HALF | {"size": 64}),
    "deit": ImageFamily("deit", 16, 32, _VIT),
    "swin": ImageFamily("swin", 64, 16, _SWIN),
    "convnext": ImageFamily(
        "convnext", 4, 24, _CONVNEXT, checkpoints=False, of_pooled="model.layernorm"
    ),
}  # fmt: skip


def save_image_encoder(family: str, folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Save a family's smallest encoder: weights, `config.json` and `preprocessor_config.json`.

    Args:
        family: A key of `IMAGE_FAMILIES`.
        folder: Where to.
        seed: Of its weights.
        changes: Of its sizes.
    """
    made = IMAGE_FAMILIES[family]
    folder.mkdir(parents=True, exist_ok=True)
    _save(CONFIG_MAPPING[made.model_type](**made.more | changes), folder, seed)
    processor = {
        "size": {"height": 64, "width": 64}, "image_mean": [0.48, 0.45, 0.4],
        "image_std": [0.26, 0.27, 0.28], "rescale_factor": 1 / 255,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor | made.processor))
    return folder


SAVE = {"text": save_text_encoder, "image": save_image_encoder}
"""What saves an encoder of a part."""


def _save(config: Any, folder: Path, seed: int) -> None:
    classes = MODEL_MAPPING[type(config)]
    torch.manual_seed(seed)
    (classes[0] if isinstance(classes, tuple | list) else classes)(config).save_pretrained(folder)
