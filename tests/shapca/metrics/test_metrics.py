"""Scores against hand-counted cases and seqeval."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapca.data.schema import Entity, Example, Labels, Prediction, Relation, Span
from shapca.metrics import (
    Counts,
    directed_scores,
    direction_ceiling,
    direction_rule,
    entity_scores,
    evaluate_predictions,
    joint_scores,
    relation_scores,
)

JOINT = Labels("mjere", ("loc", "org", "per"), ("live_in", "member_of"))
A, B, C = Entity(0, 2, "per"), Entity(3, 4, "loc"), Entity(5, 6, "org")
WORDS = tuple("abcdefg")


def test_entities_by_hand() -> None:
    gold = [["B-PER", "I-PER", "O"], ["O", "I-LOC", "O"], ["B-ORG", "O", "B-PER"]]
    found = [["B-PER", "I-PER", "O"], ["O", "B-LOC", "O"], ["B-ORG", "I-ORG", "B-LOC"]]
    lenient = entity_scores(gold, found)
    assert lenient.counts == Counts(correct=2, predicted=4, gold=4)
    assert lenient.per_example == ((1, 1, 1), (1, 1, 1), (0, 2, 2))
    assert lenient.f1 == pytest.approx(50.0)
    assert lenient.per_type["LOC"].counts == Counts(1, 2, 1)
    strict = entity_scores(gold, found, "strict")
    assert strict.counts == Counts(correct=1, predicted=4, gold=3)
    assert strict.precision == pytest.approx(25.0)
    assert strict.recall == pytest.approx(100 / 3)


tags = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), min_size=1, max_size=12)


@settings(max_examples=60)
@given(st.lists(st.tuples(tags, tags), min_size=1, max_size=4))
def test_entities_agree_with_seqeval(posts: list[tuple[list[str], list[str]]]) -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.scheme import IOB2

    cut = [(gold[: len(found)], found[: len(gold)]) for gold, found in posts]
    gold, found = [pair[0] for pair in cut], [pair[1] for pair in cut]
    scores = entity_scores(gold, found)
    assert scores.f1 == pytest.approx(100 * f1_score(gold, found, zero_division=0))
    assert scores.precision == pytest.approx(100 * precision_score(gold, found, zero_division=0))
    assert scores.recall == pytest.approx(100 * recall_score(gold, found, zero_division=0))
    strict = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
    assert entity_scores(gold, found, "strict").f1 == pytest.approx(
        100 * f1_score(gold, found, **strict)
    )


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="2 gold tags, 1 found"):
        entity_scores([["O", "O"]], [["O"]])
    with pytest.raises(ValueError, match="2 gold examples"):
        relation_scores(["a", "b"], ["a"])


def test_relations_without_none_by_hand() -> None:
    scores = relation_scores(["a", "None", "b", "b", "None"], ["a", "a", "None", "a", "None"])
    assert scores.counts == Counts(correct=1, predicted=3, gold=3)
    assert scores.f1 == pytest.approx(100 / 3)
    assert relation_scores(["None"], ["None"]).f1 == 0.0


def example(*relations: Relation, entities: tuple[Entity, ...] = (A, B, C)) -> Example:
    return Example("x", WORDS, entities=entities, relations=relations)


def test_joint_items_count_in_both_orders_and_lose_direction() -> None:
    gold = [Prediction(entities=(A, B), relations=(Relation(A.span, B.span, "live_in"),))]
    turned = [Prediction(entities=(A, B), relations=(Relation(B.span, A.span, "live_in"),))]
    assert joint_scores(gold, turned).joint.counts == Counts(2, 2, 2)
    other_type = Entity(3, 4, "org")
    wrong = [Prediction(entities=(A, other_type), relations=(Relation(A.span, B.span, "live_in"),))]
    scores = joint_scores(gold, wrong)
    assert scores.joint.counts == Counts(0, 2, 2)
    assert scores.entity.counts == Counts(1, 2, 2)


def test_directed_scores_read_the_annotation() -> None:
    backward = Relation(B.span, A.span, "live_in")  # the later entity is the head
    rule = direction_rule([example(backward), example(backward)])
    found = [Prediction(entities=(A, B), relations=(Relation(A.span, B.span, "live_in"),))]
    assert directed_scores([example(backward)], found, rule).f1 == 100.0
    assert directed_scores([example(found[0].relations[0])], found, rule).f1 == 0.0
    # Two types tell which entity is the head, whichever comes first in the text.
    first, second = Entity(0, 1, "loc"), Entity(2, 3, "per")
    swapped = Prediction(
        entities=(first, second), relations=(Relation(second.span, first.span, "live_in"),)
    )
    assert rule.apply(swapped).relations[0].head == first.span


def test_overlapping_gold_is_below_the_ceiling() -> None:
    outer, inner = Entity(0, 3, "per"), Entity(1, 2, "loc")
    post = example(
        Relation(outer.span, B.span, "live_in"),
        Relation(inner.span, B.span, "member_of"),
        entities=(outer, inner, B),
    )
    ceiling = direction_ceiling([post], JOINT, direction_rule([post]))
    assert ceiling.counts.gold == 2
    assert ceiling.f1 < 100.0


def test_evaluation_is_flat_and_keeps_counts() -> None:
    labels = Labels("mner", ("LOC", "PER"))
    gold = [Example("x", ("a", "b"), tags=("B-PER", "O"))]
    evaluation = evaluate_predictions(labels, gold, [Prediction(tags=("B-PER", "B-LOC"))])
    assert evaluation.metrics["f1"] == pytest.approx(200 / 3)
    assert evaluation.metrics["strict_recall"] == 100.0
    assert evaluation.metrics["f1_LOC"] == 0.0
    assert [list(map(int, row)) for row in evaluation.per_example["main"]] == [[1, 2, 1]]
    assert evaluation.from_json(evaluation.to_json()).metrics == evaluation.metrics

    post = example(Relation(A.span, B.span, "live_in"), Relation(A.span, C.span, "member_of"))
    perfect = Prediction(entities=post.entities, relations=post.relations)
    joint = evaluate_predictions(JOINT, [post], [perfect], directions=direction_rule([post]))
    assert {joint.metrics[name] for name in ("f1", "entity_f1", "directed_f1")} == {100.0}
    assert joint.metrics["directed_ceiling_f1"] == 100.0

    pair = Example("x", WORDS, relations=(Relation(Span(0, 1), Span(2, 3), "None"),))
    labels = Labels("mre", (), ("live_in",))
    found = Prediction(relations=(Relation(Span(0, 1), Span(2, 3), "live_in"),))
    assert evaluate_predictions(labels, [pair], [found]).metrics["precision"] == 0.0
    with pytest.raises(ValueError, match="exactly one given pair"):
        evaluate_predictions(labels, [post], [found])
