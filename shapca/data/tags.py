"""Words and BIO tags: how seqeval reads entities, leniently and strictly; words without width."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from shapca.data.schema import Entity


def is_orphan(tag: str, previous: str) -> bool:
    """Whether an `I-` tag continues nothing: it follows `O` or a tag of another type."""
    return tag.startswith("I-") and (previous == "O" or previous[2:] != tag[2:])


def num_orphans(tags: Sequence[str]) -> int:
    """Orphan or type-changing `I-` tags of a post."""
    return sum(is_orphan(tag, previous) for previous, tag in zip(("O", *tags), tags, strict=False))


def lenient_entities(tags: Sequence[str]) -> tuple[Entity, ...]:
    """Entities as seqeval's default mode reads BIO tags: an orphan `I-` starts an entity."""
    return _entities(tags, orphans_start=True)


def strict_entities(tags: Sequence[str]) -> tuple[Entity, ...]:
    """Entities in strict IOB2: only `B-` starts one, and an orphan `I-` belongs to none."""
    return _entities(tags, orphans_start=False)


def _entities(tags: Sequence[str], *, orphans_start: bool) -> tuple[Entity, ...]:
    entities = []
    start: int | None = None
    previous = "O"
    for index, tag in enumerate((*tags, "O")):
        orphan = is_orphan(tag, previous)
        if start is not None and (orphan or not tag.startswith("I-")):
            entities.append(Entity(start, index, previous[2:]))
            start = None
        if tag.startswith("B-") or (orphan and orphans_start):
            start = index
        previous = tag
    return tuple(entities)


def is_zero_width(word: str) -> bool:
    """Whether a word has nothing to see: BERT's tokenizers turn it into no sub-word at all.

    Such words hold only control and format characters (U+200B, U+00AD), combining marks (U+FE0F),
    white space (U+00A0) and U+FFFD.
    """
    return all(
        character.isspace()
        or character == "\ufffd"
        or unicodedata.category(character) in ("Mn", "Cc", "Cf", "Cn", "Co")
        for character in unicodedata.normalize("NFD", word)
    )
