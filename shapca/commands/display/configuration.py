"""The keys of a file for people: as a list, and as a file of defaults with comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from shapca.config import to_yaml
from shapca.config.keys import Key

WIDTH = 96


def key_lines(keys: Sequence[Key]) -> Iterator[str]:
    """Each key with its default, then its type, bounds and meaning."""
    for key in keys:
        is_top = key.is_section and "." not in key.name
        if is_top:
            yield ""
        if key.type == "section":
            yield f"{key.name}:" + (" (required)" if key.is_required else "")
        elif key.is_required:
            yield f"{key.name} (required)"
        else:
            yield f"{key.name} = {inline(key.default)}"
        yield from _wrapped(key, "    ")


def _wrapped(key: Key, indent: str) -> list[str]:
    kind = "" if key.type == "section" else f"{', '.join(filter(None, (key.type, key.bounds)))}."
    text = " ".join(filter(None, (kind, key.meaning)))
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def inline(value: Any) -> str:
    """A value as YAML on one line."""
    return to_yaml([value], inline=True).strip().removeprefix("[").removesuffix("]")


def defaults_lines(keys: Sequence[Key]) -> Iterator[str]:
    """A YAML file of all defaults; each key under what it means, required ones as comments."""
    for key in _own(keys):
        *above, name = key.name.split(".")
        indent = "  " * len(above)
        yield from _wrapped(key, f"{indent}# ")
        if key.type == "section":
            yield f"{indent}{name}:"
        elif key.is_required:
            yield f"{indent}# {name}: (required)"
        else:
            yield f"{indent}{name}: {inline(key.default)}"


def defaults_tree(keys: Sequence[Key]) -> dict[str, Any]:
    """All defaults as a tree; required keys are left out."""
    tree: dict[str, Any] = {}
    for key in _own(keys):
        *above, name = key.name.split(".")
        branch = tree
        for part in above:
            branch = branch[part]
        if key.type == "section":
            branch[name] = {}
        elif not key.is_required:
            branch[name] = key.default
    return tree


def _own(keys: Sequence[Key]) -> list[Key]:
    """The keys whose names are the file's own, not a name of the user's nor one of a list."""
    return [key for key in keys if not set("[(") & set(key.name) and ".NAME" not in key.name]
