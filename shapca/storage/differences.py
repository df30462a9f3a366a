"""Where two records differ, leaf by leaf, in words for a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LONGEST_SHOWN = 40


def leaves(tree: Mapping[str, Any], separator: str = ".", prefix: str = "") -> dict[str, Any]:
    """What a tree of mappings holds, by the keys that lead there, joined."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= leaves(value, separator, f"{prefix}{key}{separator}")
        else:
            flat[prefix + key] = value
    return flat


def differences(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    separator: str = ".",
    absent: str = "absent",
) -> list[tuple[str, str, str]]:
    """The leaves in which two trees differ.

    Args:
        before: The one tree.
        after: The other one.
        separator: What joins the keys that lead to a leaf.
        absent: How to show a leaf that one of them lacks.

    Returns:
        Key, and the leaf before and after, as short texts; ordered by key.
    """
    old, new = leaves(before, separator), leaves(after, separator)
    pairs = [(key, old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in sorted(old | new)]
    return [
        (key, _shown(first, absent), _shown(second, absent))
        for key, first, second in pairs
        if first != second
    ]


_ABSENT = object()


def _shown(value: Any, absent: str) -> str:
    text = absent if value is _ABSENT else str(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:12] + "…"
