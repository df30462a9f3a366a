"""Charts as PNG and SVG files by matplotlib, for papers and slides; light, colour-blind safe."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.reports.charts.charts import Bars, Chart, Parallel, Plot, Role, Series
from orchestrator.reports.charts.scales import Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: dict[Role, str] = {
    "blue": "#0072b2",
    "orange": "#d55e00",
    "green": "#009e73",
    "purple": "#a8417f",
    "muted": "#8d97a6",
}
SHADES = ("#cfdbe8", "#a9c3db", "#7ea8cb", "#5089b8", "#28689e", "#0b4277")
_MARKERS = {"circle": "o", "ring": "o", "triangle": "v", "cross": "x", "diamond": "D"}
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8ecf2",
}


def figure_files(charts: Sequence[Chart], dpi: int = 160) -> dict[str, bytes]:
    """Each chart as `figures/<key>.png` and `.svg`.

    Args:
        charts: What to draw.
        dpi: Resolution of the PNG files.
    """
    return {
        f"figures/{chart.key}.{kind}": content
        for chart in charts
        for kind, content in drawn(chart, dpi=dpi).items()
    }


def drawn(chart: Chart, *, note: str | None = None, dpi: int = 160) -> dict[str, bytes]:
    """A chart as PNG and SVG.

    Args:
        chart: What to draw.
        note: What is written below it.
        dpi: Resolution of the PNG file.

    Returns:
        Suffix (`png`, `svg`) to content.
    """
    import matplotlib
    from matplotlib.figure import Figure  # no window system is asked for

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.4 if isinstance(chart, Parallel) else 5.2, _height(chart)))
        axes = figure.add_subplot()
        _draw(axes, chart)
        axes.set_title(chart.title, loc="left", fontsize=10, fontweight="bold")
        if note is not None:
            axes.annotate(
                textwrap.fill(note, 90), (0, 0), (0, -36), "axes fraction", "offset points",
                fontsize=7, color="#515a5a", va="top",
            )  # fmt: skip
        return saved(figure, dpi=dpi, bbox_inches="tight")


def saved(figure: Figure, **options: Any) -> dict[str, bytes]:
    """A figure as PNG and SVG by suffix; equal data gives equal bytes.

    Args:
        figure: The figure.
        **options: As `Figure.savefig` takes them.
    """
    import matplotlib

    contents = {}
    with matplotlib.rc_context({"svg.hashsalt": "shap-ca"}):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=metadata, **options)
            contents[kind] = buffer.getvalue()
    return contents


def _height(chart: Chart) -> float:
    if isinstance(chart, Bars):
        return 1.1 + 0.32 * len(chart.bars)
    if isinstance(chart, Plot) and chart.y.names:
        return 1.2 + 0.32 * len(chart.y.names)
    return 3.4


def _draw(axes: Any, chart: Chart) -> None:
    if isinstance(chart, Plot):
        _plot(axes, chart)
    elif isinstance(chart, Bars):
        _bars(axes, chart)
    else:
        _parallel(axes, chart)


def _plot(axes: Any, chart: Plot) -> None:
    for series in chart.series:
        _series(axes, series)
    _scale(axes.xaxis, axes.set_xlim, axes.set_xscale, chart.x)
    _scale(axes.yaxis, axes.set_ylim, axes.set_yscale, chart.y)
    axes.set_xlabel(chart.x.label)
    axes.set_ylabel(chart.y.label)
    num_named = sum(series.name is not None for series in chart.series)
    if num_named > 1 or any(series.band for series in chart.series):
        # Beside the axes, where it covers no point.
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _series(axes: Any, series: Series) -> None:
    colour = COLOURS[series.role]
    if series.band:
        low, high = zip(*series.band, strict=True)
        axes.fill_between([x for x, _ in series.points], low, high, color=colour, alpha=0.18, lw=0)
    is_ring = series.mark in ("ring", "triangle")
    axes.plot(
        [x for x, _ in series.points],
        [y for _, y in series.points],
        color=colour,
        linestyle={None: "none", "dashed": "--"}.get(series.line, "-"),
        linewidth=1.0 if series.line in ("thin", "dashed") else 1.8,
        alpha=0.75 if series.line in ("thin", "dashed") else 1.0,
        drawstyle="steps-post" if series.line == "step" else "default",
        marker=None if series.mark is None else _MARKERS[series.mark],
        markersize=5,
        markerfacecolor="white" if is_ring else colour,
        label=series.name,
        zorder=3 if series.mark else 2,
    )


def _scale(axis: Any, limit: Any, scale: Any, of: Axis) -> None:
    if of.log:
        scale("log")
    limit(of.low, of.high)
    ticks = of.ticks(5)
    axis.set_ticks([value for value, _ in ticks], labels=[text for _, text in ticks])
    axis.set_ticks([], minor=True)


def _bars(axes: Any, chart: Bars) -> None:
    places = range(len(chart.bars))
    bars = axes.barh(
        places,
        [bar.value for bar in chart.bars],
        height=0.62,
        color=[COLOURS[bar.role] for bar in chart.bars],
        zorder=2,
    )
    axes.bar_label(bars, [bar.text for bar in chart.bars], padding=3, fontsize=8)
    axes.set_yticks(places, labels=[bar.name for bar in chart.bars])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlabel(chart.label)


def _parallel(axes: Any, chart: Parallel) -> None:
    places = range(len(chart.axes))
    for thread in sorted(chart.threads, key=lambda thread: (thread.is_best, thread.shade)):
        shade = SHADES[min(len(SHADES) - 1, int(thread.shade * len(SHADES)))]
        axes.plot(
            places,
            thread.places,
            color=COLOURS["orange"] if thread.is_best else shade,
            linewidth=2.4 if thread.is_best else 1.2,
            linestyle="--" if thread.is_cut else "-",
        )
    for place, axis in enumerate(chart.axes):
        axes.axvline(place, color=COLOURS["muted"], linewidth=0.8)
        for value, text in axis.ticks(5):
            axes.annotate(
                text, (place, axis.place(value)), xytext=(3, 0), textcoords="offset points",
                fontsize=7, va="center",
                bbox={"boxstyle": "square,pad=0.1", "color": "white", "alpha": 0.8},
            )  # fmt: skip
    axes.set_xticks(places, labels=[axis.label for axis in chart.axes])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(-0.1, len(chart.axes) - 0.6)
