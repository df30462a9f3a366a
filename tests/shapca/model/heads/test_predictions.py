import numpy as np
import pytest

from shapca.data.schema import Entity, Example, Labels, Relation, Span
from shapca.data.word_pair_table import encode_table, label_ids
from shapca.model.heads.predictions import to_predictions

WORDS = ("Ann", "Lee", "met", "Bob", "in", "Rome")


def test_tags_cover_all_words_and_cut_words_are_outside():
    labels = Labels("mner", ("LOC", "PER"))
    ids = {tag: index for index, tag in enumerate(labels.tags)}
    decoded = [
        [ids[tag] for tag in ("B-PER", "I-PER", "O", "B-PER")],
        [ids["O"]] * 5 + [ids["B-LOC"]],
    ]
    first, second = to_predictions(decoded, [Example("1", WORDS), Example("2", WORDS)], labels)
    assert first.tags == ("B-PER", "I-PER", "O", "B-PER", "O", "O")
    assert first.entities == (Entity(0, 2, "PER"), Entity(3, 4, "PER"))
    assert second.entities == (Entity(5, 6, "LOC"),)


def test_the_given_pair_gets_its_relation_which_may_be_none():
    labels = Labels("mre", relation_types=("/per/per/peer",))
    entities = (Entity(3, 4, None), Entity(0, 2, None))
    pair = Relation(Span(3, 4), Span(0, 2), "None")
    example = Example("1", WORDS, entities=entities, relations=(pair,))
    peer, none = to_predictions([1, 0], [example, example], labels)
    assert peer.entities == none.entities == entities
    assert peer.relations == (Relation(Span(3, 4), Span(0, 2), "/per/per/peer"),)
    assert none.relations == (pair,)
    assert peer.tags is None


def test_a_table_gives_entities_and_relations_whatever_its_padding():
    labels = Labels("mjere", ("loc", "per"), ("peer",))
    entities = (Entity(0, 2, "per"), Entity(3, 4, "per"))
    relations = (Relation(Span(0, 2), Span(3, 4), "peer"),)
    table = encode_table(len(WORDS), entities, relations, label_ids(labels))
    example = Example("1", WORDS)
    for shown in (np.pad(table, (0, 3)), table[:5, :5]):
        (prediction,) = to_predictions([shown], [example], labels)
        assert (prediction.entities, prediction.relations) == (entities, relations)


def test_more_tags_than_words_or_fewer_posts_are_refused():
    labels = Labels("mner", ("PER",))
    with pytest.raises(ValueError, match="7 tags for the 6 words of post-1"):
        to_predictions([[0] * 7], [Example("post-1", WORDS)], labels)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        to_predictions([[0]], [Example("1", WORDS), Example("2", WORDS)], labels)
