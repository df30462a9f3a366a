"""Parts of speech on given words."""

from __future__ import annotations

import pytest

from shapca.data import pos
from shapca.data.schema import POS_TAGS
from shapca.errors import InputError


def test_one_tag_a_word_whatever_the_words() -> None:
    posts = [
        ("Fern", "visits", "the", "old", "harbour", "."),
        ("don't", "New York", "a\u00a0b", "\u00a0", "\ufe0f", "http://t.co/x", "@you", ":-)"),
        ("Rio",),
    ]
    tags = pos.tag_words(posts)
    assert [len(post) for post in tags] == [6, 8, 1]
    assert {tag for post in tags for tag in post} <= set(POS_TAGS)


def test_a_plain_sentence() -> None:
    (tags,) = pos.tag_words([["She", "quickly", "reads", "two", "books", "."]])
    assert tags == ("PRON", "ADV", "VERB", "NUM", "NOUN", "PUNCT")


def test_repeated_posts_are_tagged_once_and_keep_their_places() -> None:
    calls: list[tuple[str, int, int]] = []
    posts = [["a", "dog"], ["two", "cats", "run"], ["a", "dog"]]
    tags = pos.tag_words(posts, lambda *call: calls.append(call))
    assert tags[0] == tags[2] != tags[1]
    assert calls[-1] == ("parts of speech", 2, 2)


def test_no_posts() -> None:
    assert pos.tag_words([]) == []


def test_a_missing_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pos.tagger.cache_clear()
    monkeypatch.setattr(pos, "PACKAGES", ("no_such_model",))
    try:
        with pytest.raises(InputError, match="en_core_web_sm is not installed"):
            pos.tag_words([["a"]])
    finally:
        pos.tagger.cache_clear()


def test_version_names_the_model() -> None:
    assert pos.tagger_version().startswith("core_web_sm")
