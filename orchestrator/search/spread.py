"""A few of many, evenly spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many items, evenly spread in their order; the first and the last are among them.

    Args:
        items: All of them.
        most: How many at most; at least 2.
    """
    last = len(items) - 1
    if last < most:
        return list(items)
    return [items[place * last // (most - 1)] for place in range(most)]
