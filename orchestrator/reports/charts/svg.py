"""Charts as SVG elements of the page: colours by class, so that light and dark share one drawing.

Lengths are pixels at the width a drawing is made for; text is 12 px high there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from orchestrator.reports.charts.charts import Bars, Chart, Mark, Parallel, Plot, Series
from orchestrator.reports.charts.scales import Axis
from orchestrator.reports.markup import Html, element

LETTER = 6.7
NUM_SHADES = 6
_MARK_SIZE = 4.2


def draw(chart: Chart, width: int) -> Html:
    """A chart at a width in pixels."""
    if isinstance(chart, Plot):
        return _plot(chart, width)
    if isinstance(chart, Bars):
        return _bars(chart, width)
    return _parallel(chart, width)


def sign(series: Series) -> Html:
    """What a legend shows of a series."""
    parts = []
    if series.line is not None:
        parts.append(element("line", class_=_stroke(series), x1=1, y1=7, x2=25, y2=7))
    if series.mark is not None:
        parts.append(_mark(series.mark, series.role, 13, 7))
    return element("svg", *parts, class_="sign", width=26, height=14, aria_hidden="true")


def shade_of(value: float) -> int:
    """The step of the sequential colours for 0 to 1."""
    return min(NUM_SHADES - 1, max(0, int(value * NUM_SHADES)))


class _Frame:
    """Where the axes of a drawing lie."""

    def __init__(self, x: Axis, y: Axis, width: int, height: int, left: float) -> None:
        self.x, self.y = x, y
        self.left, self.right = left, width - 14.0
        self.top, self.bottom = 10.0, height - 42.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        across, up = self.x.place(x), self.y.place(y)
        return (
            self.left + across * (self.right - self.left),
            self.bottom - up * (self.bottom - self.top),
        )


def _plot(chart: Plot, width: int) -> Html:
    names = chart.y.names
    height = 56 + 30 * len(names) if names else (300 if width >= 480 else 250)
    y_ticks = chart.y.ticks(5)
    widest = max((len(text) for _, text in y_ticks), default=2)
    left = widest * LETTER + (14 if names else 34)
    frame = _Frame(chart.x, chart.y, width, height, left)
    parts = [*_grid(frame, chart, y_ticks)]
    for series in chart.series:
        parts += _series(frame, series)
    return _svg(chart, width, height, parts)


def _grid(frame: _Frame, chart: Plot, y_ticks: Sequence[tuple[float, str]]) -> list[Html]:
    parts = []
    for value, text in y_ticks:
        _, y = frame.at(chart.x.low, value)
        parts.append(element("line", class_="grid", x1=frame.left, x2=frame.right, y1=y, y2=y))
        parts.append(_label(text, frame.left - 6, y + 4, "end"))
    count = max(3, int((frame.right - frame.left) / 80))
    for value, text in chart.x.ticks(count):
        x, _ = frame.at(value, chart.y.low)
        parts.append(
            element("line", class_="tick", x1=x, x2=x, y1=frame.bottom, y2=frame.bottom + 4)
        )
        parts.append(_label(text, x, frame.bottom + 17, "middle"))
    parts.append(
        element(
            "line", class_="axis", x1=frame.left, x2=frame.right, y1=frame.bottom, y2=frame.bottom
        )
    )
    middle = (frame.left + frame.right) / 2
    parts.append(_label(chart.x.label, middle, frame.bottom + 36, "middle", "name"))
    if not chart.y.names:
        y = (frame.top + frame.bottom) / 2
        parts.append(
            element(
                "text", chart.y.label, class_="name", text_anchor="middle",
                transform=f"translate(13 {y:.1f}) rotate(-90)",
            )
        )  # fmt: skip
    return parts


def _series(frame: _Frame, series: Series) -> list[Html]:
    places = [frame.at(x, y) for x, y in series.points]
    parts = []
    if series.line is not None and len(places) > 1:
        if series.line == "step":
            steps = [places[0]]
            for (_, before), (x, y) in itertools.pairwise(places):
                steps += [(x, before), (x, y)]
            parts.append(_polyline(steps, _stroke(series)))
        else:
            label = series.labels[0] if series.mark is None and series.labels else None
            parts.append(_polyline(places, _stroke(series), label))
    if series.mark is not None:
        labels: Sequence[str | None] = series.labels or [None] * len(places)
        for (x, y), label in zip(places, labels, strict=True):
            parts.append(_mark(series.mark, series.role, x, y, label))
    return parts


def _bars(chart: Bars, width: int) -> Html:
    height = 52 + 30 * len(chart.bars)
    left = max((len(bar.name) for bar in chart.bars), default=0) * LETTER + 12
    room = max((len(bar.text) for bar in chart.bars), default=0) * LETTER + 10
    longest = max((bar.value for bar in chart.bars), default=0.0) or 1.0
    length = max(width - left - room, 40.0)
    parts = []
    for place, bar in enumerate(chart.bars):
        y = 10 + 30 * place
        end = length * bar.value / longest
        parts.append(_label(bar.name, left - 6, y + 14, "end"))
        parts.append(
            element("rect", class_=f"fill-{bar.role}", x=left, y=y, width=end, height=19, rx=2)
        )
        parts.append(_label(bar.text, left + end + 6, y + 14, "start", "value"))
    bottom = height - 36.0
    parts.append(element("line", class_="axis", x1=left, x2=left, y1=4, y2=bottom))
    parts.append(_label(chart.label, left + length / 2, bottom + 24, "middle", "name"))
    return _svg(chart, width, height, parts)


def _parallel(chart: Parallel, width: int) -> Html:
    height = 340 if width >= 480 else 300
    top, bottom, left, right = 34.0, height - 22.0, 44.0, width - 52.0
    gap = (right - left) / max(len(chart.axes) - 1, 1)
    parts = []
    for thread in sorted(chart.threads, key=lambda thread: (thread.is_best, thread.shade)):
        points = [
            (left + gap * place, bottom - up * (bottom - top))
            for place, up in enumerate(thread.places)
        ]
        class_ = "thread best" if thread.is_best else f"thread shade-{shade_of(thread.shade)}"
        parts.append(_polyline(points, class_ + (" cut" if thread.is_cut else ""), thread.label))
    for place, axis in enumerate(chart.axes):
        x = left + gap * place
        parts.append(element("line", class_="axis", x1=x, x2=x, y1=top, y2=bottom))
        # The name may be as wide as the gap on both sides; the outermost turn inwards.
        anchor = "start" if place == 0 else "end" if place == len(chart.axes) - 1 else "middle"
        turn = {"start": -34.0, "end": 46.0, "middle": 0.0}[anchor]
        parts.append(_label(axis.label, x + turn, 16, anchor, "name"))
        for value, text in axis.ticks(5):
            y = bottom - axis.place(value) * (bottom - top)
            parts.append(element("line", class_="tick", x1=x - 3, x2=x + 3, y1=y, y2=y))
            parts.append(_label(text, x + 6, y + 4, "start", "halo"))
    return _svg(chart, width, height, parts)


def _svg(chart: Chart, width: int, height: int, parts: Sequence[Html]) -> Html:
    return element(
        "svg",
        parts,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=f"{chart.title}. {chart.caption}",
        class_=f"chart w{width}",
    )


def _label(text: str, x: float, y: float, anchor: str, class_: str | None = None) -> Html:
    return element("text", text, class_=class_, x=x, y=y, text_anchor=anchor)


def _polyline(points: Sequence[tuple[float, float]], class_: str, label: str | None = None) -> Html:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return element(
        "g" if label else "path",
        *([element("title", label), element("path", class_=class_, d=path)] if label else []),
        d=None if label else path,
        class_="hit" if label else class_,
    )


def _stroke(series: Series) -> str:
    return f"line stroke-{series.role} {series.line}"


def _mark(mark: Mark, role: str, x: float, y: float, label: str | None = None) -> Html:
    size = _MARK_SIZE
    if mark in ("circle", "ring"):
        class_ = f"fill-{role} mark" if mark == "circle" else f"stroke-{role} ring"
        shape = element("circle", class_=class_, cx=x, cy=y, r=size)
    elif mark == "cross":
        d = (
            f"M{x - size:.1f} {y - size:.1f}l{2 * size} {2 * size}"
            f"M{x - size:.1f} {y + size:.1f}l{2 * size} {-2 * size}"
        )
        shape = element("path", class_=f"stroke-{role} cross", d=d)
    elif mark == "triangle":
        d = f"M{x:.1f} {y + size:.1f}l{-size} {-1.8 * size:.1f}h{2 * size}z"
        shape = element("path", class_=f"stroke-{role} ring", d=d)
    else:
        up = 1.5 * size
        d = f"M{x:.1f} {y - up:.1f}l{size} {up:.1f}l{-size} {up:.1f}l{-size} {-up:.1f}z"
        shape = element("path", class_=f"fill-{role} mark", d=d)
    if label is None:
        return shape
    # A wider transparent circle makes a small mark easy to point at.
    target = element("circle", class_="target", cx=x, cy=y, r=9)
    return element("g", element("title", label), target, shape, class_="hit")
