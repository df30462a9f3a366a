"""Scores counted the obvious way: with seqeval, and pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import seqeval.metrics
from seqeval.scheme import IOB2

from shapca.data.schema import Prediction

Triple = tuple[float, float, float]


def seqeval_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], mode: str
) -> dict[str, Triple]:
    """Precision, recall and F1 in percent by type, and of all as `micro avg`."""
    strict: dict[str, Any] = {"mode": "strict", "scheme": IOB2} if mode == "strict" else {}
    report = seqeval.metrics.classification_report(
        [list(tags) for tags in gold],
        [list(tags) for tags in predicted],
        output_dict=True,
        zero_division=0,
        **strict,
    )
    return {
        name: (100 * row["precision"], 100 * row["recall"], 100 * row["f1-score"])
        for name, row in report.items()
        if name not in ("macro avg", "weighted avg")
    }


def joint_counts(gold: Sequence[Prediction], predicted: Sequence[Prediction]) -> list[int]:
    """Correct, predicted and gold joint items: every ordered pair of entities is looked at."""

    def items(posts: Sequence[Prediction]) -> set[tuple[Any, ...]]:
        found = set()
        for row, post in enumerate(posts):
            for first, second in product(post.entities, repeat=2):
                for relation in post.relations:
                    pair = {(first.span, second.span), (second.span, first.span)}
                    if (relation.head, relation.tail) in pair and relation.type != "None":
                        found.add((row, first, second, relation.type))
        return found

    gold_items, predicted_items = items(gold), items(predicted)
    return [len(gold_items & predicted_items), len(predicted_items), len(gold_items)]
