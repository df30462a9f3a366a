"""All scores of a split in one flat record, by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from shapca.data.schema import Example, Labels, Prediction
from shapca.data.word_pair_table import as_table_reads
from shapca.metrics.directions import DirectionRule
from shapca.metrics.entities import entity_scores
from shapca.metrics.joint import (
    directed_scores,
    joint_scores,
)
from shapca.metrics.relations import relation_scores
from shapca.metrics.scores import Scores


@dataclass(frozen=True)
class Evaluation:
    """Scores of predictions on a split.

    Attributes:
        metrics: percentages by name. `f1`, `precision` and `recall` are the task's own: lenient
            span F1 (MNER), micro F1 without None (MRE), joint F1 of the `eega` protocol (MJERE).
            Others carry a prefix or a type: `f1_<type>`, `recall_<type>`, `strict_f1`,
            `entity_f1`, `directed_f1` …
        per_example: counts (correct, predicted, gold) of each example by the score's name: the
            empty prefix's is `main`.
    """

    metrics: Mapping[str, float]
    per_example: Mapping[str, Sequence[Sequence[int]]]

    def to_json(self) -> dict[str, Any]:
        """As a store keeps it."""
        return {
            "metrics": dict(self.metrics),
            "per_example": {
                name: [list(counts) for counts in rows] for name, rows in self.per_example.items()
            },
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(record["metrics"], record["per_example"])


def evaluate_predictions(
    labels: Labels,
    gold: Sequence[Example],
    predicted: Sequence[Prediction],
    *,
    directions: DirectionRule | None = None,
) -> Evaluation:
    """All scores that the field reports for a task.

    Args:
        labels: label sets of the data, which name the task.
        gold: annotated posts.
        predicted: one prediction a post.
        directions: the rule that turns relations (MJERE); None: they point forward.

    Raises:
        ValueError: the numbers of posts differ, or a post lacks the tags or the pair of its task.
    """
    if labels.task == "mner":
        true_tags = [_tags(post) for post in gold]
        found_tags = [_tags(post) for post in predicted]
        return _collect(
            {
                "": entity_scores(true_tags, found_tags),
                "strict_": entity_scores(true_tags, found_tags, "strict"),
            }
        )
    if labels.task == "mre":
        return _collect({"": relation_scores(_given_pairs(gold), _given_pairs(predicted))})
    rule = directions or DirectionRule({})
    readable = [as_table_reads(post, labels) for post in gold]
    joint = joint_scores(readable, predicted)
    evaluation = _collect(
        {
            "": joint.joint,
            "entity_": joint.entity,
            "directed_": directed_scores(gold, predicted, rule),
        }
    )
    ceiling = {"directed_ceiling_f1": directed_scores(gold, readable, rule).f1}
    return Evaluation({**evaluation.metrics, **ceiling}, evaluation.per_example)


def _tags(post: Example | Prediction) -> tuple[str, ...]:
    if post.tags is None:
        raise ValueError("recognition of entities is scored on tags, and a post has none")
    return post.tags


def _given_pairs(posts: Sequence[Example | Prediction]) -> list[str]:
    if any(len(post.relations) != 1 for post in posts):
        raise ValueError("relation extraction is scored on exactly one given pair a post")
    return [post.relations[0].type for post in posts]


def _collect(scores: Mapping[str, Scores]) -> Evaluation:
    metrics: dict[str, float] = {}
    for prefix, score in scores.items():
        metrics[f"{prefix}f1"] = score.f1
        metrics[f"{prefix}precision"] = score.precision
        metrics[f"{prefix}recall"] = score.recall
        for kind, of_type in score.per_type.items():
            metrics[f"{prefix}f1_{kind}"] = of_type.f1
            metrics[f"{prefix}precision_{kind}"] = of_type.precision
            metrics[f"{prefix}recall_{kind}"] = of_type.recall
    per_example = {
        prefix.rstrip("_") or "main": score.per_example for prefix, score in scores.items()
    }
    return Evaluation(metrics, per_example)
