"""Damage to the content of files: by value where it is a tree, by byte everywhere."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import strategies as st

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), float("-inf"), "", " ", "x", "None", "../x", "/etc/passwd", "a\0b", "\ud800",
    "\x1b[31m", "val/f1", "1", "é" * 300, [], {}, [None], [[]], {"": 1}, {"a": {"b": [1]}}, [1, 2],
    "2001-99-99", "*a", "x" * 3000,
)  # fmt: skip
SNIPPETS = (
    "*a", "&a ", "<<: ", "!!bool x", "!!int ''", "!x ", "[" * 60, "{", "- ", "? ", ": ", "\t", "'",
    '"', "|\n", "9" * 5000, "0x" + "f" * 300, "1:2:3", "=", "~", "\n", "#", "%", "---\n", "\0",
    "\u2028", "\ufeff", "\\ud800", "NaN", "1e999", "\\", ",", "]", "}",
)  # fmt: skip


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            found += _places(value, (*path, key))
    return found


def _changed(tree: Any, path: tuple[Any, ...], change: str, junk: Any) -> Any:
    if not path:
        return junk
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    key = path[0]
    if len(path) > 1 or change == "replace":
        copy[key] = _changed(tree[key], path[1:], change, junk)
    elif change == "remove":
        del copy[key]
    elif isinstance(copy, dict):
        copy[str(junk)[:20]] = copy[key] if change == "again" else junk
    else:
        copy.insert(key, copy[key] if change == "again" else junk)
    return copy


@st.composite
def damaged_tree(draw: st.DrawFn, tree: Any) -> Any:
    """A tree of dicts and lists in which one to three values are others, gone, or there twice."""
    for _ in range(draw(st.integers(1, 3))):
        places = _places(tree)
        path = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(("replace", "replace", "remove", "add", "again")))
        tree = _changed(tree, path, change, draw(st.sampled_from(JUNK)))
    return tree


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Content that is cut, has another byte, or a snippet that a parser takes for its own."""
    place = draw(st.integers(0, len(content)))
    match draw(st.sampled_from(("cut", "byte", "snippet", "snippet", "noise"))):
        case "cut":
            return content[:place]
        case "byte":
            return content[:place] + bytes([draw(st.integers(0, 255))]) + content[place + 1 :]
        case "snippet":
            snippet = draw(st.sampled_from(SNIPPETS)).encode("utf-8", "surrogatepass")
            return content[:place] + snippet + content[place:]
    return draw(st.binary(max_size=64))


@st.composite
def damaged(draw: st.DrawFn, content: bytes, form: str) -> bytes:
    """A damaged file.

    Args:
        draw: Hypothesis's.
        content: A sound one.
        form: `json`, `lines` of JSON, `yaml`, or `bytes`.
    """
    if form == "bytes" or draw(st.integers(0, 3)) == 0:
        return draw(damaged_bytes(content))
    if form == "lines":
        lines = content.splitlines()
        number = draw(st.integers(0, len(lines) - 1))
        lines[number] = _json(draw(damaged_tree(json.loads(lines[number]))))
        return b"\n".join(lines) + b"\n"
    if form == "yaml":
        tree = draw(damaged_tree(yaml.safe_load(content)))
        return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
    return _json(draw(damaged_tree(json.loads(content))))


def _json(tree: Any) -> bytes:
    return json.dumps(tree).encode()
