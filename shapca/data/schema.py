"""The one schema of the three tasks: examples, label sets and the manifest of a prepared folder.

W words, spans are end-exclusive word indexes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from shapca.config import Task

NONE = "None"
SPLITS = ("train", "valid", "test")
STORED_SIZE = 256  # side of the stored pictures in pixels

# Universal part-of-speech tags, spaCy's SPACE, padding and unknown: 20 embeddings.
POS_TAGS = (
    "<pad>", "<unk>", "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART",
    "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X", "SPACE",
)  # fmt: skip


class Span(NamedTuple):
    """Words [start, end)."""

    start: int
    end: int


class Entity(NamedTuple):
    """A typed span; the type is `None` where a source gives spans alone (MNRE)."""

    start: int
    end: int
    type: str | None

    @property
    def span(self) -> Span:
        """The words, without the type."""
        return Span(self.start, self.end)


class Relation(NamedTuple):
    """A directed relation between two spans; its type may be `None`."""

    head: Span
    tail: Span
    type: str


@dataclass(frozen=True)
class Example:
    """One post: words (W), their parts of speech (W), an image's id, and what is annotated."""

    id: str
    words: tuple[str, ...]
    pos: tuple[str, ...] = ()
    image: str | None = None
    tags: tuple[str, ...] | None = None
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The line of a prepared split."""
        return _EXAMPLE.dump_python(self, mode="json")

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Example:
        """The inverse of `to_json`."""
        return _EXAMPLE.validate_python(record)

    @classmethod
    def from_line(cls, line: bytes) -> Example:
        """The example of a prepared split's line.

        Raises:
            ValueError: no JSON, or not of this form.
        """
        return _EXAMPLE.validate_json(line, strict=True)


_EXAMPLE = TypeAdapter(Example)


def first_problem(error: Exception) -> str:
    """What an error says, in one line of bounded length."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))[:200]
    return f"{error}".partition("\n")[0][:200]


@dataclass(frozen=True)
class Labels:
    """The label sets of a data set, each in the order of its ids.

    In MJERE the order settles ties between relations: the earlier one is read off a table.

    Attributes:
        task: Which task the data set serves.
        entity_types: Types of entities, e.g. `("LOC", "MISC", "ORG", "PER")`; empty for MRE.
        relation_types: Types of relations without `None`; empty for MNER.
    """

    task: Task
    entity_types: tuple[str, ...] = ()
    relation_types: tuple[str, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """BIO tags of the CRF: `O`, then `B-` and `I-` of each type."""
        return ("O", *(f"{prefix}-{kind}" for kind in self.entity_types for prefix in "BI"))

    @property
    def pair_labels(self) -> tuple[str, ...]:
        """Labels of a word pair: `None`, entity types (MJERE only), relation types."""
        entity_types = self.entity_types if self.task == "mjere" else ()
        return (NONE, *entity_types, *self.relation_types)

    @property
    def num_outputs(self) -> int:
        """Labels that the task's head tells apart."""
        return len(self.tags if self.task == "mner" else self.pair_labels)

    def to_json(self) -> dict[str, Any]:
        """As a manifest and a saved model keep it."""
        return _LABELS.dump_python(self, mode="json")

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Labels:
        """The inverse of `to_json`."""
        return cls(record["task"], tuple(record["entity_types"]), tuple(record["relation_types"]))


_LABELS = TypeAdapter(Labels)


@dataclass(frozen=True)
class Prediction:
    """What a model says of one post, or what is annotated: the common currency of the metrics.

    Attributes:
        tags: BIO tags on all W words (MNER), else `None`.
        entities: Typed spans; MRE leaves them as given.
        relations: Relations found. MRE: exactly the candidate pair with its type, which may be
            `None`. MJERE: found relations in the table's order (head span before tail span), since
            the table is unordered; `directed` scoring turns them by the train majority.
    """

    tags: tuple[str, ...] | None = None
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
