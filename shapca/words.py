"""Counts as people write them, and texts as a terminal may show them."""

from __future__ import annotations

import re

# All that a terminal may obey, but for line breaks and tabs; and marks that turn a text around.
_OBEYED = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def visible(text: str) -> str:
    """A text in which control characters are written as codes: `\\x1b`."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def counted(number: float, noun: str, plural: str | None = None) -> str:
    """A number with its noun, in the plural unless it is one: `1 epoch`, `0.5 GPUs`.

    Args:
        number: How many.
        noun: What is counted, in the singular.
        plural: Its plural; None: the noun with an `s`.
    """
    shown = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{shown} {noun if number == 1 else plural or noun + 's'}"
