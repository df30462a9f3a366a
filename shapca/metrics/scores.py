"""Micro precision, recall and F1 over sets of typed items, with counts per example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Counts(NamedTuple):
    """What micro scores are made of."""

    correct: int
    predicted: int
    gold: int

    @classmethod
    def total(cls, counts: Iterable[Counts]) -> Counts:
        """The sum of counts."""
        summed = [sum(column) for column in zip(*counts, strict=True)] or [0, 0, 0]
        return cls(*summed)

    @property
    def precision(self) -> float:
        """Correct of predicted, in percent; 0 where nothing was predicted."""
        return 100.0 * self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Correct of gold, in percent; 0 where nothing is gold."""
        return 100.0 * self.correct / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in percent; 0 where nothing is correct."""
        total = self.predicted + self.gold
        return 200.0 * self.correct / total if total else 0.0


@dataclass(frozen=True)
class TypeScores:
    """Scores of one type.

    Attributes:
        precision: in percent.
        recall: in percent.
        f1: in percent.
        counts: what they are made of.
    """

    precision: float
    recall: float
    f1: float
    counts: Counts

    @classmethod
    def of(cls, counts: Counts) -> TypeScores:
        """The scores that counts give."""
        return cls(counts.precision, counts.recall, counts.f1, counts)


@dataclass(frozen=True)
class Scores:
    """Micro scores over all types.

    Attributes:
        precision: in percent.
        recall: in percent.
        f1: in percent.
        counts: what they are made of.
        per_type: the same of each type that is gold or predicted, sorted by name.
        per_example: counts of each example, in order; they sum to `counts`.
    """

    precision: float
    recall: float
    f1: float
    counts: Counts
    per_type: dict[str, TypeScores]
    per_example: tuple[Counts, ...]


def score_items(
    gold: Sequence[Collection[Item]],
    predicted: Sequence[Collection[Item]],
    type_of: Callable[[Item], str],
) -> Scores:
    """Micro scores of predicted items against gold ones, example by example.

    Args:
        gold: the distinct items of each example.
        predicted: the same of the predictions.
        type_of: the type that an item counts under.

    Raises:
        ValueError: the numbers of examples differ.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold examples, but {len(predicted)} predictions")
    per_example = []
    of_correct: Counter[str] = Counter()
    of_predicted: Counter[str] = Counter()
    of_gold: Counter[str] = Counter()
    for true_items, found_items in zip(map(set, gold), map(set, predicted), strict=True):
        correct = true_items & found_items
        per_example.append(Counts(len(correct), len(found_items), len(true_items)))
        of_correct.update(map(type_of, correct))
        of_predicted.update(map(type_of, found_items))
        of_gold.update(map(type_of, true_items))
    counts = Counts.total(per_example)
    return Scores(
        precision=counts.precision,
        recall=counts.recall,
        f1=counts.f1,
        counts=counts,
        per_type={
            kind: TypeScores.of(Counts(of_correct[kind], of_predicted[kind], of_gold[kind]))
            for kind in sorted(of_gold.keys() | of_predicted.keys())
        },
        per_example=tuple(per_example),
    )
