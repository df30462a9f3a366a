"""Charts as SVG elements of the page: colours by class, so that light and dark share one drawing.

Lengths are pixels at the width a drawing is made for; text is 12 px high there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from orchestrator.reports.charts.charts import Bars, Chart, Mark, Parallel, Plot, Series
from orchestrator.reports.charts.scales import Axis
from orchestrator.reports.markup import Html, element, join

LETTER = 6.7
NUM_SHADES = 6
_CIRCLE = "m-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0 -8.4 0z"
_MARKS: Mapping[Mark, tuple[str, str]] = {  # class for a role; path, beginning at the point
    "circle": ("fill-{} mark", _CIRCLE),
    "ring": ("stroke-{} ring", _CIRCLE),
    "triangle": ("stroke-{} ring", "m0 4.2l-4.2 -7.6h8.4z"),
    "cross": ("stroke-{} cross", "m-4.2 -4.2l8.4 8.4m0 -8.4l-8.4 8.4"),
    "diamond": ("fill-{} mark", "m0 -6.3l4.2 6.3l-4.2 6.3l-4.2 -6.3z"),
}


def draw(chart: Chart, width: int) -> Html:
    """A chart at a width in pixels."""
    if isinstance(chart, Plot):
        return _plot(chart, width)
    if isinstance(chart, Bars):
        return _bars(chart, width)
    return _parallel(chart, width)


def sign(series: Series) -> Html:
    """What a legend shows of a series."""
    line = None if series.line is None else _line([(1, 7), (25, 7)], _stroke(series))
    mark = None if series.mark is None else _mark(series.mark, series.role, 13, 7)
    return element("svg", line, mark, class_="sign", width=26, height=14, aria_hidden="true")


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
    parts = _grid(frame, chart, y_ticks)
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
    labels: Sequence[str | None] = series.labels or [None] * len(places)
    parts = []
    if series.line is not None and len(places) > 1:
        joined = places
        if series.line == "step":
            joined = places[:1]
            for (_, before), (x, y) in itertools.pairwise(places):
                joined += [(x, before), (x, y)]
        line = _line(joined, _stroke(series))
        parts.append(line if series.mark is not None else _hit(labels[0], line))
    if series.mark is not None:
        for (x, y), label in zip(places, labels, strict=True):
            # A wider transparent circle makes a small mark easy to point at.
            target = element("circle", class_="target", cx=x, cy=y, r=9)
            mark = _mark(series.mark, series.role, x, y)
            parts.append(mark if label is None else _hit(label, target, mark))
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
        line = _line(points, class_ + (" cut" if thread.is_cut else ""))
        parts.append(_hit(thread.label, line))
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


def _line(points: Sequence[tuple[float, float]], class_: str) -> Html:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return element("path", class_=class_, d=path)


def _stroke(series: Series) -> str:
    return f"line stroke-{series.role} {series.line}"


def _mark(mark: Mark, role: str, x: float, y: float) -> Html:
    looks, path = _MARKS[mark]
    return element("path", class_=looks.format(role), d=f"M{x:.1f} {y:.1f}{path}")


def _hit(label: str | None, *shapes: Html) -> Html:
    """Shapes that say something when they are pointed at."""
    return (
        join(shapes)
        if label is None
        else element("g", element("title", label), shapes, class_="hit")
    )
