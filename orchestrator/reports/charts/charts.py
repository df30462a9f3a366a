"""What a chart shows, apart from how it is drawn.

Colours are roles. Each drawing gives them values that stay apart for colour-blind readers, and no
meaning hangs on colour alone: states differ in their marks, series in their dashes or labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.reports.charts.scales import Axis

Role = Literal["blue", "orange", "green", "purple", "muted"]
Mark = Literal["circle", "ring", "triangle", "cross", "diamond"]
Line = Literal["solid", "dashed", "step", "thin"]


@dataclass(frozen=True)
class Series:
    """Points or a line of one kind.

    Attributes:
        name: For the legend; None: it has no entry there.
        points: X and y of each, in order.
        role: Its colour.
        mark: Shape of the points; None: no points.
        line: How they are joined; None: not at all.
        labels: What each point says when it is pointed at.
        band: Low and high end of a shaded band at each point; empty: no band.
    """

    name: str | None
    points: Sequence[tuple[float, float]]
    role: Role
    mark: Mark | None = None
    line: Line | None = None
    labels: Sequence[str] = ()
    band: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Chart:
    """What every chart has.

    Attributes:
        key: For file names.
        title: Heading.
        caption: What one sees, and what to beware of.
    """

    key: str
    title: str
    caption: str


@dataclass(frozen=True)
class Plot(Chart):
    """Points and lines over two axes; the series are drawn in their order."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its length, what is written at its end, and its colour."""

    name: str
    value: float
    text: str
    role: Role = "blue"


@dataclass(frozen=True)
class Bars(Chart):
    """Horizontal bars from zero."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Thread:
    """One line of parallel coordinates.

    Attributes:
        places: Where it crosses each axis, 0 at the bottom, 1 at the top; None: it has a gap there.
        shade: 0 for the worst to 1 for the best.
        label: What it says when it is pointed at.
        is_best: Whether it is the winner's.
        is_cut: Whether its trial was stopped early.
    """

    places: tuple[float | None, ...]
    shade: float
    label: str
    is_best: bool = False
    is_cut: bool = False


@dataclass(frozen=True)
class Parallel(Chart):
    """Parallel coordinates: one vertical axis a dimension, one line a trial."""

    axes: tuple[Axis, ...]
    threads: tuple[Thread, ...]
