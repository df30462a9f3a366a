"""Scores against seqeval and slow counting, edge cases by hand, gold numbers of the benchmarks."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapca.data.preparation.readers import READERS
from shapca.data.schema import NONE, Entity, Example, Labels, Prediction, Relation
from shapca.metrics import (
    Counts,
    DirectionRule,
    Evaluation,
    direction_rule,
    entity_scores,
    evaluate_predictions,
    joint_scores,
    relation_scores,
)
from shapca.metrics.joint import as_table_reads
from tests.oracles.metrics import joint_counts, seqeval_scores

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
LABELS = Labels("mjere", ("loc", "per"), ("couple", "member_of", "peer"))
THREE = ((0, 1, "per"), (2, 4, "per"), (5, 6, "loc"))

tagged_posts = st.lists(
    st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=8),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("mode", ["lenient", "strict"])
@given(pairs=tagged_posts)
@settings(max_examples=100)
def test_every_type_agrees_with_seqeval(mode: Any, pairs: list[list[tuple[str, str]]]) -> None:
    gold, predicted = ([[pair[i] for pair in post] for post in pairs] for i in (0, 1))
    scores = entity_scores(gold, predicted, mode)
    if scores.counts == (0, 0, 0):
        assert scores.per_type == {}  # seqeval's strict report does not take it
        return
    expected = seqeval_scores(gold, predicted, mode)
    found = {"micro avg": scores, **scores.per_type}
    assert found.keys() == expected.keys()
    for name, row in found.items():
        assert (row.precision, row.recall, row.f1) == pytest.approx(expected[name])


@pytest.mark.parametrize(
    ("gold", "predicted", "lenient", "strict"),
    [
        ("B-PER I-PER O", "B-PER I-PER O", (1, 1, 1), (1, 1, 1)),
        ("B-PER I-PER O", "B-PER O O", (0, 1, 1), (0, 1, 1)),
        ("B-PER I-PER O", "B-LOC I-LOC O", (0, 1, 1), (0, 1, 1)),
        ("B-PER B-PER O", "B-PER I-PER O", (0, 1, 2), (0, 1, 2)),  # adjacent
        ("O B-PER O", "O I-PER O", (1, 1, 1), (0, 0, 1)),  # an orphan
        ("B-PER I-LOC O", "B-PER O B-LOC", (1, 2, 2), (1, 2, 1)),  # a change of type
        ("B-PER O B-LOC", "O O O", (0, 0, 2), (0, 0, 2)),
        ("O O O", "O B-LOC I-LOC", (0, 1, 0), (0, 1, 0)),
        ("O O O", "O O O", (0, 0, 0), (0, 0, 0)),
    ],
)
def test_entities_counted_by_hand(
    gold: str, predicted: str, lenient: tuple[int, ...], strict: tuple[int, ...]
) -> None:
    scores = entity_scores([gold.split()], [predicted.split()])
    assert scores.per_example == (lenient,)
    assert entity_scores([gold.split()], [predicted.split()], "strict").counts == strict


def example(
    entities: Sequence[tuple[int, int, str]], relations: Sequence[tuple[int, int, str]]
) -> Example:
    """A post of 6 words; relations by the numbers of their head and tail among the entities."""
    typed = tuple(Entity(*entity) for entity in entities)
    return Example(
        "post",
        tuple("abcdef"),
        entities=typed,
        relations=tuple(Relation(typed[h].span, typed[t].span, kind) for h, t, kind in relations),
    )


def as_prediction(post: Example) -> Prediction:
    return Prediction(None, post.entities, post.relations)


@pytest.mark.parametrize(
    ("entities", "relations", "joint", "entity"),
    [
        (THREE, [(0, 1, "peer"), (1, 2, "member_of")], (4, 4, 4), (3, 3, 3)),
        (THREE, [(1, 0, "peer"), (2, 1, "member_of")], (4, 4, 4), (3, 3, 3)),  # turned
        (THREE, [(0, 1, "couple"), (1, 2, "member_of")], (2, 4, 4), (3, 3, 3)),
        (THREE, [], (0, 0, 4), (3, 3, 3)),
        (((0, 1, "loc"), *THREE[1:]), [(0, 1, "peer"), (1, 2, "member_of")], (2, 4, 4), (2, 3, 3)),
        (((0, 1, "per"), (2, 3, "per")), [(0, 1, "peer")], (0, 2, 4), (1, 2, 3)),  # a shorter span
    ],
)
def test_joint_items_counted_by_hand(
    entities: Any, relations: Any, joint: tuple[int, ...], entity: tuple[int, ...]
) -> None:
    gold = [as_prediction(example(THREE, [(0, 1, "peer"), (1, 2, "member_of")]))]
    scores = joint_scores(gold, [as_prediction(example(entities, relations))])
    assert scores.joint.counts == joint
    assert scores.entity.counts == entity


def test_joint_counts_are_those_of_all_pairs() -> None:
    choose = random.Random(0)

    def random_post() -> Prediction:
        starts = sorted(choose.sample(range(6), 3))
        entities = [(start, start + 1, choose.choice(LABELS.entity_types)) for start in starts]
        pairs = [pair for pair in ((0, 1), (2, 0), (1, 2)) if choose.random() < 0.6]
        relations = [(*pair, choose.choice(LABELS.relation_types)) for pair in pairs]
        return as_prediction(example(entities, relations))

    gold, predicted = ([random_post() for _ in range(200)] for _ in range(2))
    counts = joint_scores(gold, predicted).joint.counts
    assert list(counts) == joint_counts(gold, predicted)
    assert counts.correct > 0


@pytest.mark.parametrize(
    ("entities", "relations", "spans", "found"),
    [
        (
            THREE,
            [(0, 1, "peer"), (2, 1, "member_of")],
            [(0, 1), (2, 4), (5, 6)],
            [(0, 1, "peer"), (1, 2, "member_of")],
        ),
        ([(0, 2, "per"), (2, 3, "loc")], [(0, 1, "member_of")], [(0, 3)], []),  # adjacent
        ([(0, 3, "per"), (2, 5, "per")], [(0, 1, "peer")], [(0, 2), (3, 5)], None),  # overlapping
    ],
)
def test_gold_of_the_protocol_is_what_the_table_gives_back(
    entities: Any, relations: Any, spans: Any, found: Any
) -> None:
    gold = as_table_reads(example(entities, relations), LABELS)
    if found is None:  # the relation's cells overwrite the overlap on the diagonal
        assert [entity.span for entity in gold.entities] == spans
        return
    assert [entity.span for entity in gold.entities] == spans
    assert list(gold.relations) == [
        Relation(gold.entities[h].span, gold.entities[t].span, kind) for h, t, kind in found
    ]


TRAIN = [
    example(THREE, [(1, 2, "member_of"), (0, 1, "peer"), (0, 2, NONE)]),  # per to loc, forward
    example([(0, 1, "loc"), (2, 3, "per")], [(1, 0, "member_of")]),  # per to loc, backward
    example(THREE, [(1, 0, "couple")]),  # the later to the earlier
]


def test_the_majority_order_of_types_gives_the_direction() -> None:
    rule = direction_rule(TRAIN)
    assert rule.earlier_is_head("per", "loc", "member_of")
    assert not rule.earlier_is_head("loc", "per", "member_of")
    assert rule.earlier_is_head("per", "per", "peer")
    assert not rule.earlier_is_head("per", "per", "couple")
    assert rule.earlier_is_head("loc", "loc", "peer"), "unseen: as the text has it"
    tie = direction_rule([example(THREE, [(0, 1, "peer")]), example(THREE, [(1, 0, "peer")])])
    assert tie.earlier_is_head("per", "per", "peer")


def test_a_direction_rule_needs_types() -> None:
    spans = (Entity(0, 1, None), Entity(2, 3, None))
    untyped = Example("x", tuple("abc"), entities=spans,
                      relations=(Relation(spans[0].span, spans[1].span, "peer"),))  # fmt: skip
    with pytest.raises(ValueError, match="no typed entity"):
        direction_rule([untyped])
    with pytest.raises(ValueError, match="both its spans must be typed entities"):
        DirectionRule({}).apply(Prediction(None, spans, untyped.relations))


def test_a_direction_rule_is_kept_and_renamed() -> None:
    rule = direction_rule(TRAIN)
    assert DirectionRule.from_json(json.loads(json.dumps(rule.to_json()))) == rule
    assert pickle.loads(pickle.dumps(rule)) == rule
    renamed = rule.rename({"per": "PERSON", "couple": "pair"})
    assert not renamed.earlier_is_head("PERSON", "PERSON", "pair")
    assert not renamed.earlier_is_head("loc", "PERSON", "member_of")
    merged = DirectionRule({("a", "b", "r"): 2, ("A", "b", "r"): -5}).rename({"A": "a"})
    assert merged.votes == {("a", "b", "r"): -3}


def test_turning_changes_no_score_of_the_protocol() -> None:
    rule = direction_rule(TRAIN)
    posts = [as_prediction(post) for post in TRAIN[1:]]
    turned = [rule.apply(as_table_reads(post, LABELS)) for post in TRAIN[1:]]
    assert turned == posts
    assert joint_scores(posts, turned) == joint_scores(posts, posts)


def test_joint_evaluation_counted_by_hand() -> None:
    gold = [
        example(THREE, [(0, 1, "peer"), (1, 2, "member_of")]),
        example(THREE, [(0, 1, "couple")]),
    ]
    predicted = [
        as_prediction(example(THREE, [(1, 2, "member_of")])),
        as_prediction(example(THREE[:2], [(0, 1, "couple")])),
    ]
    evaluation = evaluate_predictions(LABELS, gold, predicted, directions=direction_rule(TRAIN))
    expected = {
        "f1": 80.0,
        "precision": 100.0,
        "recall": 200 / 3,
        "entity_f1": 1000 / 11,
        "entity_f1_loc": 200 / 3,
        "directed_f1": 40.0,
        "directed_precision": 50.0,
        "directed_recall": 100 / 3,
        "directed_ceiling_f1": 200 / 3,  # couple is annotated forward, and backward in train
    }
    assert {name: evaluation.metrics[name] for name in expected} == pytest.approx(expected)
    for rows, name in zip(evaluation.per_example.values(), ("f1", "entity_f1", "directed_f1"),
                          strict=True):  # fmt: skip
        total = Counts.total(Counts(*row) for row in rows)
        assert total.f1 == pytest.approx(evaluation.metrics[name])
    read_back = Evaluation.from_json(json.loads(json.dumps(evaluation.to_json())))
    assert read_back.to_json() == evaluation.to_json()


# The real benchmarks


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "split", "lenient", "strict"),
    [
        ("twitter2015", "train", 6352, 6166),
        ("twitter2015", "valid", 1594, 1541),
        ("twitter2015", "test", 5207, 5072),
        ("twitter2017", "train", 6049, 6049),
        ("twitter2017", "valid", 1324, 1324),
        ("twitter2017", "test", 1351, 1351),
    ],
)
def test_gold_entities_of_the_twitter_data(
    real_data: Path, name: str, split: str, lenient: int, strict: int
) -> None:
    posts = READERS[name](real_data / name).splits[split]
    tags = [post.tags or () for post in posts]
    assert entity_scores(tags, tags).counts == (lenient, lenient, lenient)
    assert entity_scores(tags, tags, "strict").counts == (strict, strict, strict)
    if (name, split) == ("twitter2017", "test"):
        by_type = {kind: of.counts.gold for kind, of in entity_scores(tags, tags).per_type.items()}
        assert by_type == {"PER": 621, "ORG": 395, "LOC": 178, "MISC": 157}


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "positives"), [("train", 4503), ("valid", 624), ("test", 640)])
def test_gold_relations_of_mnre(real_data: Path, split: str, positives: int) -> None:
    posts = READERS["mnre"](real_data / "mnre").splits[split]
    relations = [post.relations[0].type for post in posts]
    assert relation_scores(relations, relations).counts == (positives, positives, positives)


@pytest.mark.real_data
def test_gold_of_the_eega_protocol_on_jmere(real_data: Path) -> None:
    source = READERS["jmere"](real_data / "jmere")
    gold = {
        split: [as_table_reads(post, source.labels) for post in posts]
        for split, posts in source.splits.items()
    }
    scores = joint_scores(gold["test"], gold["test"])
    assert scores.joint.counts.gold == 1272
    assert scores.entity.counts.gold == 1038

    rule = direction_rule(source.splits["train"])
    for split, recovered in (("train", 4442), ("valid", 614), ("test", 635)):
        annotated = [as_prediction(post) for post in source.splits[split]]
        assert joint_scores(annotated, gold[split]).joint.counts.correct // 2 == recovered
        metrics = evaluate_predictions(
            source.labels, source.splits[split], gold[split], directions=rule
        ).metrics
        assert metrics["f1"] == 100.0
        assert metrics["directed_f1"] == metrics["directed_ceiling_f1"]
        assert 91.0 < metrics["directed_f1"] < 96.0  # 67 to 69 if the earlier were always the head
