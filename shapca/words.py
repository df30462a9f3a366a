"""Counts as people write them."""

from __future__ import annotations


def counted(number: float, noun: str, plural: str | None = None) -> str:
    """A number with its noun, in the plural unless it is one: `1 epoch`, `0.5 GPUs`.

    Args:
        number: How many.
        noun: What is counted, in the singular.
        plural: Its plural; None: the noun with an `s`.
    """
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {noun if number == 1 else plural or noun + 's'}"
