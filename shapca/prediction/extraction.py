"""A post to extract from, and what is found in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from shapca.data.word_splitter import Word
from shapca.errors import InputError

Characters = tuple[int, int]


class PostError(InputError):
    """A post that cannot be read.

    Args:
        index: Which one of those that were given.
        reason: In words, without the post's name.
    """

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


@dataclass(frozen=True)
class Post:
    """A post to extract from.

    Attributes:
        text: What was written.
        image: File of its picture.
        context: Bridging context, e.g. a caption of the picture.
        entities: Given entities as characters [start, end), for a model of relations between given
            entities (MRE): each one with every later one makes a candidate pair (head, tail).
        words: Its words with their places; None: split as the words of the training posts are.
        pos: Their universal parts of speech; empty: found by an English tagger.
    """

    text: str
    image: Path | None = None
    context: str | None = None
    entities: tuple[Characters, ...] = ()
    words: tuple[Word, ...] | None = None
    pos: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundEntity:
    """An entity in the text: characters [start, end).

    The type is None where it was given, and so is the confidence: the probability of exactly this
    entity among all that a CRF may find (MNER), or the mean one of its cells' labels (MJERE).
    """

    text: str
    start: int
    end: int
    type: str | None
    confidence: float | None = None


@dataclass(frozen=True)
class FoundRelation:
    """A directed relation; of a given pair (MRE) it may be `None`.

    The confidence is the probability of the type by the pair's word pairs, of those that vote for
    it in a table (MJERE); None where the model reads no word of one of the entities.
    """

    head: FoundEntity
    tail: FoundEntity
    type: str
    confidence: float | None = None


@dataclass(frozen=True)
class Extraction:
    """What a model finds in one post.

    Attributes:
        text: The post's text.
        words: Its words with their places.
        entities: Entities from left to right, or as given.
        relations: Relations between them.
    """

    text: str
    words: tuple[Word, ...]
    entities: tuple[FoundEntity, ...] = ()
    relations: tuple[FoundRelation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a program reads it."""
        return _EXTRACTION.dump_python(self, mode="json", exclude={"words"})


_EXTRACTION = TypeAdapter(Extraction)
