"""How a run reads new posts: learned from its training data and kept with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from shapca.config import Task
from shapca.data.schema import Example
from shapca.data.word_splitter import WordSplitter
from shapca.metrics import DirectionRule, direction_rule


@dataclass(frozen=True)
class Reading:
    """What evaluation and prediction need to know of the training data.

    Attributes:
        words: How its posts were split into words.
        image_size: Side in pixels of its stored pictures; `None` for a model without images.
        directions: Which entity of a relation is its head, since the table of MJERE does not tell;
            `None` for other tasks.
    """

    words: WordSplitter
    image_size: int | None
    directions: DirectionRule | None

    @classmethod
    def learn(cls, task: Task, train: Sequence[Example], image_size: int | None) -> Self:
        """What the training posts tell."""
        words = WordSplitter.learn(word for example in train for word in example.words)
        return cls(words, image_size, direction_rule(train) if task == "mjere" else None)

    def to_json(self) -> dict[str, Any]:
        """As `run.json` keeps it."""
        return {
            "words": self.words.to_json(),
            "image_size": self.image_size,
            "directions": None if self.directions is None else self.directions.to_json(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        directions = record["directions"]
        return cls(
            WordSplitter.from_json(record["words"]),
            record["image_size"],
            None if directions is None else DirectionRule.from_json(directions),
        )
