import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapca.data.preparation.readers.jmere import read
from shapca.data.schema import SPLITS, Entity, Labels, Relation, Span
from shapca.data.word_pair_table import decode_table, encode_table, label_ids
from tests.damaged_tables import KINDS, damaged_tables
from tests.oracles import heads as oracle

LABELS = Labels("mjere", ("loc", "org", "per"), ("member_of", "peer", "same"))
IDS = label_ids(LABELS)
LOC, ORG, PER, MEMBER, PEER, SAME = range(1, 7)


@st.composite
def annotations(draw, *, apart: bool):
    """Words, entities and relations; `apart`: entities neither overlap nor touch."""
    entities, position = [], 0
    for _ in range(draw(st.integers(0, 5))):
        start = position + draw(st.integers(0, 3)) if apart else draw(st.integers(0, 8))
        entities.append(
            Entity(
                start,
                start + draw(st.integers(1, 3)),
                draw(st.sampled_from(LABELS.entity_types)),
            )
        )
        position = entities[-1].end + 1
    num_words = max((entity.end for entity in entities), default=0) + draw(st.integers(1, 2))
    spans = list(dict.fromkeys(entity.span for entity in entities))
    pairs = [(a, b) for a in spans for b in spans if (a < b if apart else a != b)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=4)) if pairs else []
    relations = [
        Relation(
            *pair, draw(st.sampled_from((*LABELS.relation_types, *(() if apart else ("None",)))))
        )
        for pair in chosen
    ]
    return num_words, tuple(entities), tuple(relations)


@given(annotations(apart=True))
def test_decode_inverts_encode_where_nothing_overlaps_or_touches(annotation):
    num_words, entities, relations = annotation
    decoded = decode_table(encode_table(num_words, entities, relations, IDS), LABELS)
    assert decoded == (entities, tuple(sorted(relations)))


@given(annotations(apart=False))
def test_encode_equals_writing_cell_by_cell(annotation):
    num_words, entities, relations = annotation
    table = encode_table(num_words, entities, relations, IDS)
    assert table.dtype == np.int64
    assert table.tolist() == oracle.encode_table(num_words, entities, relations, LABELS)


@given(st.integers(0, 9), st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_decode_equals_reading_cell_by_cell(num_words, seed, share_of_types):
    generator = np.random.default_rng(seed)
    table = np.triu(generator.integers(0, len(IDS), (num_words, num_words)))
    typed = generator.random(num_words) < share_of_types
    np.fill_diagonal(table, np.where(typed, generator.integers(1, 4, num_words), 0))
    assert decode_table(table, LABELS) == oracle.decode_table(table.tolist(), LABELS)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_tables_are_read_as_the_rule_says(kind, tiny_mjere):
    posts, labels = tiny_mjere.splits["train"], tiny_mjere.labels
    for table in damaged_tables(posts, labels, kind, num_tables=300):
        assert decode_table(table, labels) == oracle.decode_table(table.tolist(), labels)


@pytest.mark.real_data
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_real_tables_are_read_as_the_rule_says(kind, real_data):
    source = read(real_data / "jmere")
    posts = [post for split in SPLITS for post in source.splits[split]]
    for table in damaged_tables(posts, source.labels, kind, num_tables=300):
        found = decode_table(table, source.labels)
        assert found == oracle.decode_table(table.tolist(), source.labels)


@pytest.mark.parametrize("kinds", [("member_of", "peer"), ("peer", "member_of")])
def test_of_equally_frequent_relations_the_first_label_is_read(kinds):
    labels = Labels("mjere", ("per",), kinds)
    table = encode_table(4, [Entity(0, 1, "per"), Entity(2, 4, "per")], [], label_ids(labels))
    table[0, 2:4] = 3, 2
    _, (relation,) = decode_table(table, labels)
    assert relation.type == kinds[0]


def test_an_entity_fills_its_triangle_and_a_relation_its_block():
    table = encode_table(
        6,
        [Entity(4, 6, "per"), Entity(0, 3, "org")],
        [Relation(Span(4, 6), Span(0, 3), "member_of")],
        IDS,
    )
    assert table.tolist() == [
        [ORG, ORG, ORG, 0, MEMBER, MEMBER],
        [0, ORG, ORG, 0, MEMBER, MEMBER],
        [0, 0, ORG, 0, MEMBER, MEMBER],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, PER, PER],
        [0, 0, 0, 0, 0, PER],
    ]


def test_later_cells_overwrite_earlier_ones_in_annotation_order():
    inner, outer, other = Span(1, 2), Span(0, 2), Span(3, 4)
    entities = [Entity(*inner, "per"), Entity(*outer, "org"), Entity(*other, "loc")]
    first, second = Relation(inner, other, "peer"), Relation(outer, other, "same")
    table = encode_table(4, entities, [first, second], IDS)
    assert table[1, 1] == ORG
    assert table[1, 3] == SAME
    table = encode_table(4, entities, [second, first], IDS)
    assert table[1, 1] == PER
    assert table[1, 3] == PEER
    assert table[0, 3] == SAME


def test_an_overlapping_relation_overwrites_its_own_entities():
    entities = [Entity(0, 2, "per"), Entity(1, 3, "org")]
    table = encode_table(3, entities, [Relation(Span(0, 2), Span(1, 3), "peer")], IDS)
    assert table.tolist() == [[PER, PEER, PEER], [0, PEER, PEER], [0, 0, ORG]]


def test_adjacent_entities_merge_into_the_first_words_type():
    table = encode_table(3, [Entity(0, 1, "per"), Entity(1, 3, "org")], [], IDS)
    assert decode_table(table, LABELS) == ((Entity(0, 3, "per"),), ())


@pytest.mark.parametrize(
    ("block", "relation"),
    [
        ([[0, 0], [0, 0]], None),
        ([[0, 0], [0, PEER]], "peer"),
        ([[PEER, MEMBER], [0, 0]], "member_of"),
        ([[PEER, MEMBER], [PEER, 0]], "peer"),
        ([[PEER, MEMBER], [PEER, MEMBER]], "member_of"),
        ([[PEER, PEER], [MEMBER, 0]], "peer"),
        ([[PER, PER], [PER, PEER]], "peer"),
        ([[PER, PER], [PER, PER]], None),
    ],
)
def test_a_relation_is_the_most_frequent_one_of_its_block_and_nothing_else_votes(block, relation):
    table = encode_table(5, [Entity(0, 2, "per"), Entity(3, 5, "per")], [], IDS)
    table[0:2, 3:5] = block
    _, relations = decode_table(table, LABELS)
    assert [found.type for found in relations] == ([relation] if relation else [])


@pytest.mark.parametrize(
    ("entities", "relations", "message"),
    [
        ([Entity(0, 4, "per")], [], "outside the 3 words"),
        ([Entity(1, 1, "per")], [], "outside the 3 words"),
        ([Entity(0, 1, None)], [], "no type"),
        ([Entity(0, 1, "disease")], [], "label 'disease' is unknown"),
        ([Entity(0, 1, "per")], [Relation(Span(0, 1), Span(2, 3), "peer")], "no entity"),
        (
            [Entity(0, 1, "per"), Entity(2, 3, "per")],
            [Relation(Span(0, 1), Span(2, 3), "likes")],
            "label 'likes' is unknown",
        ),
    ],
)
def test_what_no_table_can_hold_is_refused(entities, relations, message):
    with pytest.raises(ValueError, match=message):
        encode_table(3, entities, relations, IDS)


@pytest.mark.real_data
def test_real_gold_comes_back_but_for_overlapping_and_touching_entities(real_data):
    source = read(real_data / "jmere")
    ids = label_ids(source.labels)
    recovered = {}
    for split in SPLITS:
        num_recovered = num_relations = 0
        for example in source.splits[split]:
            table = encode_table(len(example.words), example.entities, example.relations, ids)
            entities, relations = decode_table(table, source.labels)
            gold = {entity.span: entity for entity in example.entities}
            found = {(frozenset((found.head, found.tail)), found.type) for found in relations}
            for relation in example.relations:
                ends = (relation.head, relation.tail)
                num_recovered += {gold[span] for span in ends} <= set(entities) and (
                    frozenset(ends),
                    relation.type,
                ) in found
            num_relations += len(example.relations)
        recovered[split] = (num_recovered, num_relations)
    assert recovered == {"train": (4442, 4503), "valid": (614, 624), "test": (635, 640)}
