"""Files that come along are found by name, and a slip is told from a missing file."""

from __future__ import annotations

import pytest

from shapca.config import shipped
from shapca.errors import InputError


def test_a_name_is_a_file_and_a_path_stays_one() -> None:
    assert shipped.find("demo", "search_spaces").name == "demo.yaml"
    assert shipped.find("table1", "search_spaces").parent.name == "paper"
    assert str(shipped.find("my/own.yaml", "search_spaces")) == "my/own.yaml"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "twiter2017",
            r"^twiter2017: no such file, .*; did you mean twitter2017\? Those are: demo, ",
        ),
        ("xyzzy", r"^xyzzy: no such file, and none that comes along; those are: demo, "),
    ],
)
def test_a_name_of_nothing(given: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        shipped.find(given, "search_spaces")
