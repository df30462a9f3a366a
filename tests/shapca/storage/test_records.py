"""A record of another form is one message that names the record and the key."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from typing_extensions import TypedDict

from shapca.errors import InputError
from shapca.storage import read_json
from shapca.storage.records import parse_json
from tests.stores import MemoryStore


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.0


class Named(TypedDict):
    name: str
    at: dict[str, list[int]]


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        ('{"x": "5"}', Point, "p is damaged: x: Input should be a valid integer (got '5')"),
        ('{"x": true}', Point, "p is damaged: x: Input should be a valid integer (got True)"),
        ("{}", Point, "p is damaged: x: Field required (got {})"),
        ('{"x": 1, "z": 2}', Point, "p: 'z' is no key of it; written by a newer version?"),
        ("[]", Point, "p is damaged: Input should be an object (got [])"),
        ('{"name": "a", "at": {"b": [1, null]}}', Named, "p is damaged: at.b.1: Input should be"),
        ('{"x": 1', Point, "p is damaged (Expecting"),
        ('{"x": ' + "9" * 5000 + "}", Point, "p is damaged (a whole number of 5000 digits)"),
        ('{"name": "\\ud800", "at": {}}', Named, "p is damaged ('utf-8' codec can't encode"),
        ("[" * 100_000, None, "p is damaged (maximum recursion depth"),
        (b"\xff\xfe\xff", None, "p is damaged ("),
    ],
)
def test_what_is_not_of_a_form_is_named(content: str | bytes, form: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_json(content, "p", form)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_what_is_of_a_form_is_read_as_it_is() -> None:
    assert parse_json('{"x": 1, "y": 2}', "p", Point) == {"x": 1, "y": 2}
    assert parse_json('{"name": "a", "at": {}, "more": 1}', "p", Named)["more"] == 1
    assert str(parse_json('{"x": 1, "y": NaN}', "p", Point)["y"]) == "nan"
    store = MemoryStore()
    assert read_json(store, "absent", Point) is None
    store.put("there", b'{"x": []}')
    with pytest.raises(InputError, match="the store: there is damaged: x: "):
        read_json(store, "there", Point)
