"""Micro F1 over relations that are not `None` (MRE)."""

from __future__ import annotations

from collections.abc import Sequence

from shapca.data.schema import NONE
from shapca.metrics.scores import Scores, score_items


def relation_scores(gold: Sequence[str], predicted: Sequence[str]) -> Scores:
    """Micro F1 without None: correct other than None of those predicted, of those gold.

    Args:
        gold: the relation type of each given pair.
        predicted: the same of the predictions.

    Raises:
        ValueError: the numbers of pairs differ.
    """
    return score_items([_items(kind) for kind in gold], [_items(kind) for kind in predicted], str)


def _items(kind: str) -> set[str]:
    return set() if kind == NONE else {kind}
