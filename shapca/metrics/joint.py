"""Scores of joint entity-relation extraction (MJERE): the `eega` protocol, and directed relations.

In the `eega` protocol gold and prediction are both read off a word-pair table. An entity is (row,
span, type); a joint item is (row, span a, type a, span b, type b, relation) and counts in both
orders of its pair, so that a relation's direction is lost. What the table cannot hold is missing
from that gold. The directed score compares (head span, tail span, relation) with the annotation
itself instead; the table being unordered, the direction comes from the majority in train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shapca.data.schema import NONE, Example, Labels, Prediction, Span
from shapca.data.word_pair_table import as_table_reads
from shapca.metrics.directions import DirectionRule
from shapca.metrics.entities import entity_type
from shapca.metrics.scores import Scores, score_items

JointItem = tuple[Span, str, Span, str, str]


@dataclass(frozen=True)
class JointScores:
    """Scores of the `eega` protocol.

    Attributes:
        joint: of entity pairs with spans, types and relation, each counted in both orders.
        entity: of typed entities.
    """

    joint: Scores
    entity: Scores


def joint_scores(gold: Sequence[Prediction], predicted: Sequence[Prediction]) -> JointScores:
    """Joint and entity F1 of the `eega` protocol.

    Args:
        gold: what decoding the gold tables gives (`as_table_reads`).
        predicted: what decoding the predicted tables gives.

    Raises:
        ValueError: the numbers of posts differ.
    """
    return JointScores(
        joint=score_items(
            [_both_orders(post) for post in gold],
            [_both_orders(post) for post in predicted],
            lambda item: item[-1],
        ),
        entity=score_items(
            [post.entities for post in gold], [post.entities for post in predicted], entity_type
        ),
    )


def _both_orders(post: Prediction) -> set[JointItem]:
    types = {entity.span: entity_type(entity) for entity in post.entities}
    items: set[JointItem] = set()
    for head, tail, kind in post.relations:
        items.add((head, types[head], tail, types[tail], kind))
        items.add((tail, types[tail], head, types[head], kind))
    return items


def directed_scores(
    gold: Sequence[Example], predicted: Sequence[Prediction], rule: DirectionRule
) -> Scores:
    """F1 of (head span, tail span, relation) against the annotation itself.

    Args:
        gold: annotated posts.
        predicted: relations in either direction; the rule turns them.
        rule: learned from train.

    Raises:
        ValueError: the numbers of posts differ.
    """
    return score_items(
        [{r for r in post.relations if r.type != NONE} for post in gold],
        [rule.apply(post).relations for post in predicted],
        lambda relation: relation.type,
    )


def direction_ceiling(gold: Sequence[Example], labels: Labels, rule: DirectionRule) -> Scores:
    """What the gold tables themselves reach in the directed score: no model can be expected above.

    Args:
        gold: annotated posts.
        labels: their label sets.
        rule: learned from train.
    """
    return directed_scores(gold, [as_table_reads(post, labels) for post in gold], rule)
