"""Tokenizers of the text encoders, and the bundled vocabulary of the tiny one."""

from __future__ import annotations

from functools import lru_cache

from transformers import BertTokenizer

from shapca.errors import InputError
from shapca.model.encoders.weights import TINY_VOCABULARY, locate


def load_tokenizer(name: str) -> BertTokenizer:
    """The WordPiece tokenizer of a text encoder.

    Args:
        name: Hub name or folder of a BERT, `minilm`, or `tiny`.

    Raises:
        InputError: no such model, or its folder has no vocabulary, or a damaged one.
    """
    if name == "tiny":
        return BertTokenizer(vocab={token: place for place, token in enumerate(tiny_vocabulary())})
    folder = locate(name, "text.encoder")
    if not any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt")):
        raise InputError(
            f"text.encoder: {name}: expected tokenizer.json or vocab.txt beside the weights"
        )
    try:
        return BertTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever a damaged file makes the library raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"text.encoder: {name}: its tokenizer is damaged ({first})") from error


@lru_cache(maxsize=1)
def tiny_vocabulary() -> tuple[str, ...]:
    """The sub-words of the tiny encoder, by id, as the package ships them."""
    return tuple(TINY_VOCABULARY.read_text(encoding="utf-8").split("\n")[:-1])
