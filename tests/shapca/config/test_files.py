"""YAML that is short and means much, or means two things, is refused by one message."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shapca.config import apply_overrides, read_yaml
from shapca.config.files import MAX_BYTES
from shapca.errors import InputError

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
REFUSED = {
    "aliases": (BOMB, r":2: aliases"),
    "an anchor of itself": ("a: &a [*a]", r":1: aliases"),
    "merge keys": ("a:\n  <<: {b: 1}", r":2: merge keys"),
    "a tag": ("a: !!bool x", r":1: tags"),
    "an empty number": ("a: !!int ''", r":1: tags"),
    "a decimal": (f"a: {'9' * 5000}", r":1: a number of more than 100 digits"),
    "a hexadecimal": (f"a: 0x{'f' * 5000}", r":1: a number of more than 100 digits"),
    "flow lists": ("a: " + "[" * 5000, r":1: more than 50 lists"),
    "block lists": ("- " * 5000, r":1: more than 50 lists"),
    "mappings": ("\n".join(" " * n + "a:" for n in range(200)), r":50: more than 50 lists"),
    "a list as key": ("? [a]\n: b", r":1: expected a name as key"),
    "a repeated key": ("a: 1\nb: 2\na: 3", r":3: the key 'a' is given twice"),
    "a date that is none": ("a: 2001-99-99", r"not valid YAML \(month must be in 1\.\.12\)"),
    "a list at the top": ("- a", r"expected a mapping at the top, found list"),
    "a long file": ("#" * (MAX_BYTES + 1), r"expected 256 KiB of YAML at most"),
    "two documents": ("a: 1\n--- b", r":2: not valid YAML"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text, encoding="utf-8")
    began = time.perf_counter()
    with pytest.raises(InputError, match=rf"file\.yaml.*{said}") as refused:
        read_yaml(file)
    assert "\n" not in str(refused.value)
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("value", ["*a", "!!int ''", "[" * 3000, "9" * 5000, "{a: 1, a: 2}", "'"])
def test_an_override_is_read_by_the_same_reader(value: str) -> None:
    with pytest.raises(InputError, match=r"--set a\.b=.*: the value: ") as refused:
        apply_overrides({}, [f"a.b={value}"])
    assert len(str(refused.value)) < 400
    with pytest.raises(InputError, match="more than 50 names in one key"):
        apply_overrides({}, ["." * 5000 + "=1"])


def test_an_anchor_that_nothing_refers_to_is_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("a: &a {b: 1e-6}\nc: [yes, 2, '3']\n", encoding="utf-8")
    assert read_yaml(file) == {"a": {"b": "1e-6"}, "c": [True, 2, "3"]}
    file.write_text("", encoding="utf-8")
    assert read_yaml(file) == {}
