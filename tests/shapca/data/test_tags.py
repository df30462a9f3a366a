"""Entities read from BIO tags agree with seqeval, leniently and strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities

from shapca.data.schema import Entity
from shapca.data.tags import is_zero_width, lenient_entities, num_orphans, strict_entities

TAGS = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]))


@given(TAGS)
def test_lenient_is_seqevals_default(tags: list[str]) -> None:
    expected = [Entity(start, end + 1, kind) for kind, start, end in get_entities(tags)]
    assert list(lenient_entities(tags)) == expected


@given(TAGS)
def test_strict_is_seqevals_iob2(tags: list[str]) -> None:
    expected = {
        Entity(entity.start, entity.end, entity.tag)
        for entity in Entities([tags], scheme=IOB2).entities[0]
    }
    assert set(strict_entities(tags)) == expected


@given(TAGS)
def test_without_orphans_both_readings_agree(tags: list[str]) -> None:
    if num_orphans(tags) == 0:
        assert lenient_entities(tags) == strict_entities(tags)
    else:
        assert len(lenient_entities(tags)) > len(strict_entities(tags))


def test_counted_by_hand() -> None:
    tags = ["I-PER", "I-PER", "I-LOC", "O", "I-LOC", "B-LOC", "I-LOC", "I-PER"]
    assert num_orphans(tags) == 4
    assert strict_entities(tags) == (Entity(5, 7, "LOC"),)
    assert lenient_entities(tags) == (
        Entity(0, 2, "PER"),
        Entity(2, 3, "LOC"),
        Entity(4, 5, "LOC"),
        Entity(5, 7, "LOC"),
        Entity(7, 8, "PER"),
    )


@pytest.mark.parametrize("word", ["\ufe0f", "\u200b", "\ufffd", "\u00ad", "\u00a0", "\u0301\u200d"])
def test_zero_width(word: str) -> None:
    assert is_zero_width(word)


@pytest.mark.parametrize("word", ["a", "é", "❤\ufe0f", ".", "\u200ba", "中"])
def test_not_zero_width(word: str) -> None:
    assert not is_zero_width(word)
