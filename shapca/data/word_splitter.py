"""Splitting new text into words the way that a benchmark's posts were split.

The benchmarks come as words, and differ in what they join: Twitter-2015 writes `#NBA` as one word,
Twitter-2017 as two. The splitter therefore learns from the training words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

# What counts as joined: at least one such word to this many signs that stand alone.
SIGNS_PER_JOINED_WORD = 10
LETTERS = r"[\w\u0300-\u036f]+"  # with the combining accents of decomposed text
JOINED = {
    "#": rf"#{LETTERS}",
    "@": rf"@{LETTERS}",
    "-": rf"{LETTERS}(?:-{LETTERS})+",
}


class Word(NamedTuple):
    """A word and its place in the text: characters [start, end)."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class WordSplitter:
    """Splits text into words with character offsets; no character but white space is lost.

    Links, numbers such as `10:30` and initials such as `U.S.` stay whole; every other sign that is
    no letter or digit (punctuation, apostrophe, emoji, variation selector) is a word of its own.

    Attributes:
        joined: Signs that stay joined with the letters beside them: of `#`, `@` and `-`.
    """

    joined: frozenset[str] = frozenset()

    @classmethod
    def learn(cls, words: Iterable[str]) -> WordSplitter:
        """The splitter that joins what a data set's words mostly join.

        Args:
            words: Words of the training posts.
        """
        num_alone, num_joined = dict.fromkeys(JOINED, 0), dict.fromkeys(JOINED, 0)
        patterns = {sign: re.compile(pattern) for sign, pattern in JOINED.items()}
        for word in words:
            for sign, pattern in patterns.items():
                if sign in word:
                    num_alone[sign] += word == sign
                    num_joined[sign] += pattern.fullmatch(word) is not None
        often = {sign: num * SIGNS_PER_JOINED_WORD for sign, num in num_joined.items()}
        return cls(frozenset(sign for sign in JOINED if often[sign] > num_alone[sign]))

    def split(self, text: str) -> list[Word]:
        """Words of a text in order."""
        patterns = [
            r"https?://\S+",
            r"\d+(?:[.,:/]\d+)+",
            r"(?:[^\W\d_]\.){2,}",
            *(JOINED[sign] for sign in sorted(self.joined)),
            LETTERS,
            r"\S",
        ]
        return [
            Word(match.group(), match.start(), match.end())
            for match in re.finditer("|".join(patterns), text)
        ]

    def to_json(self) -> dict[str, Any]:
        """As a run keeps it."""
        return {"joined": sorted(self.joined)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> WordSplitter:
        """The inverse of `to_json`."""
        return cls(frozenset(record["joined"]))
