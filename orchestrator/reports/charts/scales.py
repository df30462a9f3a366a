"""Axes: their two ends, and where a value lies between them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace


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


def with_room(axis: Axis, padding: float = 0.04) -> Axis:
    """The axis with some room at both ends, so that no point there is cut; names have it."""
    if axis.names:
        return axis
    if axis.log:
        factor = (axis.high / axis.low) ** padding
        return replace(axis, low=axis.low / factor, high=axis.high * factor)
    room = padding * (axis.high - axis.low)
    return replace(axis, low=axis.low - room, high=axis.high + room)
