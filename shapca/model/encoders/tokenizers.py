"""Tokenizers of the text encoders, and the bundled vocabulary of the tiny one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoTokenizer, BertTokenizer
from transformers.utils import logging

from shapca.data.batches.layout import Layout
from shapca.errors import InputError
from shapca.model.encoders.architecture import Architecture, text_architecture
from shapca.model.encoders.weights import (
    SENTENCEPIECE_FILES,
    TINY_VOCABULARY,
    TOKENIZER_FILES,
    locate,
    read_config,
    read_json_file,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNKNOWN = "\U0010fffd"
"""A character that no vocabulary holds."""
_OF_A_BERT = (None, "BertTokenizer", "BertTokenizerFast")
_VOCABULARIES = tuple(
    name for name in TOKENIZER_FILES if "config" not in name and "map" not in name
)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a text encoder, fast or slow.

    Args:
        name: Hub name or folder of a text encoder, `minilm`, or `tiny`.

    Raises:
        InputError: no such encoder, or its tokenizer is missing, damaged, or of no use here.
    """
    if name == "tiny":
        return BertTokenizer(vocab={token: place for place, token in enumerate(tiny_vocabulary())})
    architecture = text_architecture(name)
    folder = locate(name, "text.encoder")
    place = f"text.encoder: {name}"
    settings = folder / "tokenizer_config.json"
    chosen = read_json_file(settings, place) if settings.is_file() else {}
    if chosen.get("auto_map"):
        raise InputError(
            f"{place}: its tokenizer has code of its own (auto_map in tokenizer_config.json), "
            "which is never run"
        )
    _check_files(folder, architecture, place)
    architecture.config.tokenizer_class = read_config(name, "text.encoder").get("tokenizer_class")
    of_a_bert = (
        architecture.config.model_type == "bert" and chosen.get("tokenizer_class") in _OF_A_BERT
    )
    try:
        with quiet():
            if of_a_bert:
                tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
            else:
                tokenizer = AutoTokenizer.from_pretrained(
                    folder, config=architecture.config, local_files_only=True,
                    trust_remote_code=False,
                )  # fmt: skip
        _check(tokenizer, architecture, place)
        tokenizer.tokenize(f"a {UNKNOWN}")
        Layout.of(tokenizer)
    except InputError as error:
        shown = str(error)
        raise InputError(shown if shown.startswith(place) else f"{place}: {shown}") from error
    except Exception as error:  # whatever a damaged file makes the library raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{place}: its tokenizer is damaged ({first})") from error
    return tokenizer


def _check_files(folder: Path, architecture: Architecture, place: str) -> None:
    there = [name for name in _VOCABULARIES if (folder / name).is_file()]
    if not there:
        wanted = "tokenizer.json or vocab.txt"
        if architecture.config.model_type != "bert":
            wanted = f"the files of its tokenizer ({', '.join(_VOCABULARIES)})"
        raise InputError(f"{place}: expected {wanted} beside the weights")
    pieces = [name for name in there if name in SENTENCEPIECE_FILES]
    if pieces and "tokenizer.json" not in there and not find_spec("sentencepiece"):
        raise InputError(
            f"{place}: its tokenizer, {pieces[0]}, needs the package sentencepiece: pip install "
            "'shap-ca[sentencepiece]'; or bring its tokenizer.json"
        )


def _check(tokenizer: PreTrainedTokenizerBase, architecture: Architecture, place: str) -> None:
    """Refuse a tokenizer that the library makes up for want of files, or one of another model."""
    kind = f"its tokenizer, a {type(tokenizer).__name__},"
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise InputError(f"{place}: {kind} knows no words; expected the files of its vocabulary")
    for token in ("cls", "sep", "unk", "pad"):
        if getattr(tokenizer, f"{token}_token_id") is None:
            raise InputError(f"{place}: {kind} has no {token}_token, as encoders' have")
    if len(tokenizer) > (known := architecture.config.vocab_size):
        raise InputError(
            f"{place}: {kind} has {len(tokenizer):,} sub-words, yet the model's vocab_size is "
            f"{known:,}"
        )
    if getattr(tokenizer, "normalization", False) and getattr(tokenizer, "demojizer", 0) is None:
        raise InputError(
            f"{place}: {kind} spells emoji out, for which it needs the package emoji: pip install "
            "'shap-ca[bertweet]'"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar and no report: what matters in it is checked by the caller."""
    bar = logging.is_progress_bar_enabled()
    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


@lru_cache(maxsize=1)
def tiny_vocabulary() -> tuple[str, ...]:
    """The sub-words of the tiny encoder, by id, as the package ships them."""
    return tuple(TINY_VOCABULARY.read_text(encoding="utf-8").split("\n")[:-1])
