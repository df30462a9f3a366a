"""Messages can be written anywhere, and read."""

from __future__ import annotations

from shapca.errors import LONGEST_LINE, InputError
from shapca.prediction.extraction import PostError


def test_half_a_character_stands_as_its_escape() -> None:
    error = InputError("key 'a\ud83d': expected text")
    assert str(error) == "key 'a\\ud83d': expected text"
    assert str(PostError(3, "\udcff")) == "\\udcff"
    assert str(InputError(7)) == "7"


def test_of_an_endless_line_the_middle_is_left_out() -> None:
    whole = "a" * LONGEST_LINE
    assert str(InputError(whole)) == whole
    lines = str(InputError(f"first\nbegins {whole} ends\nlast")).split("\n")
    assert [lines[0], lines[2]] == ["first", "last"]
    assert lines[1].startswith("begins aaa")
    assert lines[1].endswith("aaa ends")
    assert len(lines[1]) < LONGEST_LINE + 10
