"""Text is split into words as the benchmarks are, and no character is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapca.data.word_splitter import WordSplitter

APART = WordSplitter()
JOINED = WordSplitter(frozenset("#@-"))


def words(splitter: WordSplitter, text: str) -> list[str]:
    return [word.text for word in splitter.split(text)]


def test_a_tweet_as_twitter_2017_writes_it() -> None:
    text = "RT @bob: Kevin's U.S. trip… #NBA 10:30, 1,000 fans! http://t.co/x?a=1 wi-fi café"
    assert words(APART, text) == [
        "RT", "@", "bob", ":", "Kevin", "'", "s", "U.S.", "trip", "…", "#", "NBA", "10:30", ",",
        "1,000", "fans", "!", "http://t.co/x?a=1", "wi", "-", "fi", "café",
    ]  # fmt: skip


def test_a_tweet_as_twitter_2015_writes_it() -> None:
    assert words(JOINED, "@bob_1: #NBA wi-fi - don't") == [
        "@bob_1", ":", "#NBA", "wi-fi", "-", "don", "'", "t",
    ]  # fmt: skip


def test_decomposed_accents_stay_with_their_letters() -> None:
    assert words(APART, "cafe\u0301 ok") == ["cafe\u0301", "ok"]


@given(st.text(), st.sampled_from([APART, JOINED]))
def test_offsets_point_at_the_words_and_only_white_space_is_left_out(
    text: str, splitter: WordSplitter
) -> None:
    found = splitter.split(text)
    assert all(text[word.start : word.end] == word.text for word in found)
    gaps = [0, *(place for word in found for place in (word.start, word.end)), len(text)]
    assert gaps == sorted(gaps)
    between = (text[gaps[i] : gaps[i + 1]] for i in range(0, len(gaps), 2))
    assert all(not gap or gap.isspace() for gap in between)


@pytest.mark.parametrize(
    ("training", "joined"),
    [
        (["#", "NBA", "@", "bob", "-", "wi"], ""),
        (["#NBA", "@bob", "wi-fi", "-"], "#@-"),
        (["#NBA", *["#"] * 11], ""),
        (["#NBA", *["#"] * 9], "#"),
        ([], ""),
    ],
)
def test_what_is_joined_is_learned(training: list[str], joined: str) -> None:
    assert WordSplitter.learn(training) == WordSplitter(frozenset(joined))


def test_json_round_trip() -> None:
    assert WordSplitter.from_json(JOINED.to_json()) == JOINED


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "share"), [("twitter2015", 0.88), ("twitter2017", 0.97)])
def test_most_real_posts_are_split_as_annotated(real_data: Path, name: str, share: float) -> None:
    def posts(split: str) -> list[list[str]]:
        blocks = (real_data / name / f"{split}.txt").read_text(encoding="utf-8").split("\n\n")
        lines = (
            [line.split("\t")[0] for line in block.split("\n") if "\t" in line] for block in blocks
        )
        return [post for post in lines if post]

    splitter = WordSplitter.learn(word for post in posts("train") for word in post)
    valid = posts("valid")
    same = sum(words(splitter, " ".join(post)) == post for post in valid)
    assert same / len(valid) > share
