"""Axes: where a value lies between two ends, and the round numbers that are written beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: What it shows, with its unit.
        low: Value at its beginning.
        high: Value at its end.
        log: Whether equal steps are equal ratios.
        whole: Whether only whole numbers are written beside it.
        names: Of the places 0, 1, …, where it is no number.
    """

    label: str
    low: float
    high: float
    log: bool = False
    whole: bool = False
    names: tuple[str, ...] = ()

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the beginning, 1 at the end."""
        if self.log:
            low, high, value = math.log(self.low), math.log(self.high), math.log(value)
        else:
            low, high = self.low, self.high
        return 0.5 if high == low else (value - low) / (high - low)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Round values between the ends with how they are written, about `count` of them."""
        if self.names:
            return [(float(place), name) for place, name in enumerate(self.names)]
        if self.log and (values := _log_ticks(self.low, self.high, count)):
            return [(value, short_number(value)) for value in values]
        step = _round_step((self.high - self.low) / max(count, 1))
        if self.whole:
            step = max(1.0, math.ceil(step))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(n * step, f"{n * step:.{digits}f}") for n in range(first, last + 1)]


def axis_over(
    label: str, values: Iterable[float], *, whole: bool = False, padding: float = 0.06
) -> Axis:
    """An axis that holds all values with some room at both ends; 0 to 1 where there are none."""
    found = [value for value in values if math.isfinite(value)]
    if not found:
        return Axis(label, 0.0, 1.0)
    low, high = min(found), max(found)
    room = padding * (high - low) or max(abs(high) * padding, 0.5)
    return Axis(label, low - room, high + room, whole=whole)


def percent_axis(label: str, values: Iterable[float]) -> Axis:
    """An axis for percentages: as `axis_over`, but never beyond 0 and 100."""
    axis = axis_over(label, values)
    return Axis(label, max(0.0, axis.low), min(100.0, axis.high) if axis.low < 100 else axis.high)


def short_number(value: float) -> str:
    """`0.02`, `5e-4`, `30`."""
    if value and (abs(value) < 1e-2 or abs(value) >= 1e5):
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:g}"


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if step <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(
        factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= step * 0.999
    )


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    """Powers of ten, with 2 and 5 times them where there is room; two at least, or []."""
    best: list[float] = []
    choices: Sequence[tuple[float, ...]] = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0))
    for factors in choices:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [factor * 10.0**power for power in exponents for factor in factors]
        inside = [value for value in values if low * 0.9999 <= value <= high * 1.0001]
        if len(inside) <= max(count, 2) or len(best) < 2:
            best = inside
    return best if len(best) >= 2 else []
