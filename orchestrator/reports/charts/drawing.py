"""Charts by matplotlib: as PNG and SVG files for papers and slides, and as elements of the page.

Both are one drawing. In a file its colours are fixed, and light; on the page they are the style
sheet's variables, so that light and dark share it, and points say what they are.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from copy import copy
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.reports.charts.charts import Bars, Chart, Parallel, Plot, Series
from orchestrator.reports.charts.scales import Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE_SHEET = files("orchestrator.reports").joinpath("assets", "report.css").read_text("utf-8")
# The colours of a light page by variable; they stay apart for colour-blind readers.
PALETTE = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", _STYLE_SHEET.partition("}")[0]))
NUM_SHADES = 6
_Lines: TypeAlias = "list[tuple[Any, Sequence[str]]]"  # each with what it says
_MARKERS = {"circle": "o", "ring": "o", "triangle": "v", "cross": "x", "diamond": "D"}
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.edgecolor": PALETTE["muted"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": PALETTE["grid"],
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": PALETTE["ink"],
    "text.parse_math": False,  # a dollar sign in a name is one
    "xtick.color": PALETTE["muted"],
    "xtick.labelcolor": PALETTE["soft"],
    "ytick.color": PALETTE["muted"],
    "ytick.labelcolor": PALETTE["soft"],
}


def figure_files(charts: Sequence[Chart], dpi: int = 200) -> dict[str, bytes]:
    """Each chart as `figures/<key>.png`, `.svg` and `.pdf`.

    Args:
        charts: What to draw.
        dpi: Resolution of the PNG files.
    """
    return {
        f"figures/{chart.key}.{kind}": content
        for chart in charts
        for kind, content in drawn(chart, dpi=dpi).items()
    }


def drawn(chart: Chart, *, note: str | None = None, dpi: int = 200) -> dict[str, bytes]:
    """A chart as PNG, SVG and PDF.

    Args:
        chart: What to draw.
        note: What is written below it.
        dpi: Resolution of the PNG file.

    Returns:
        Suffix (`png`, `svg`, `pdf`) to content.
    """
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        axes, _ = _draw(chart)
        axes.set_title(chart.title)
        if axes.get_legend_handles_labels()[1]:
            # Beside the axes, where it covers no point.
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        if note is not None:
            axes.annotate(
                textwrap.fill(note, 90), (0, 0), (0, -36), "axes fraction", "offset points",
                fontsize=7, va="top",
            )  # fmt: skip
        return saved(axes.figure, dpi=dpi, bbox_inches="tight")


def saved(figure: Figure, **options: Any) -> dict[str, bytes]:
    """A figure as PNG, SVG and PDF by suffix; equal data gives equal bytes.

    Args:
        figure: The figure.
        **options: As `Figure.savefig` takes them.
    """
    import matplotlib

    contents = {}
    kinds: dict[str, dict[str, str | None]] = {
        "png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None},
    }  # fmt: skip
    # Text stays text in a PDF (TrueType), as publishers ask for.
    with matplotlib.rc_context({"svg.hashsalt": "shap-ca", "pdf.fonttype": 42}):
        for kind, metadata in kinds.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, metadata=metadata, **options)
            contents[kind] = buffer.getvalue()
    return contents


def element_of(chart: Chart) -> str:
    """A chart as an SVG element of the page, whose shapes say what they are when pointed at."""
    import matplotlib
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    buffer = io.BytesIO()
    # By the key, what shapes refer to has other names than in other charts.
    style = _STYLE | {"svg.fonttype": "none", "svg.hashsalt": chart.key}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser has other fonts
        axes, labels = _draw(chart)
        if names := axes.get_legend_handles_labels()[1]:
            columns = max(1, 60 // (6 + max(map(len, names))))
            axes.figure.legend(loc="outside lower left", ncols=columns)
        ConstrainedLayoutEngine().execute(axes.figure)  # by hand: saving would draw it twice
        unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        axes.figure.savefig(buffer, format="svg", metadata=unsaid, facecolor="none")
    root = ET.fromstring(buffer.getvalue())
    root.remove(root[0])  # a style sheet, which would hold for the whole page
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
        one.attrib = {key.rpartition("}")[2]: text for key, text in one.attrib.items()}
        if "style" in one.attrib:
            one.attrib["style"] = re.sub("#[0-9a-f]{6}", _variable, one.attrib["style"])
    groups = {group.attrib.pop("id", None): group for group in root.iter("g")}
    for name, texts in labels.items():
        shapes = groups[name].findall(".//use") or [groups[name]]
        for shape, text in zip(shapes, texts, strict=True):
            _speak(shape, text)
    looks = {"class": "chart", "role": "img", "aria-label": f"{chart.title}. {chart.caption}"}
    root.attrib = {"viewBox": root.attrib["viewBox"], **looks}
    return ET.tostring(root, encoding="unicode")


def _variable(colour: re.Match[str]) -> str:
    return next((f"var(--{name})" for name, of in PALETTE.items() if of == colour[0]), colour[0])


def _speak(shape: ET.Element, label: str) -> None:
    """Make of a shape a group that says something when it is pointed at."""
    inner = copy(shape)
    shape.clear()
    shape.tag, shape.attrib = "g", {"class": "hit"}
    ET.SubElement(shape, "title").text = label
    if inner.tag == "use":  # a wider transparent circle makes a small mark easy to point at
        place = {"cx": inner.attrib["x"], "cy": inner.attrib["y"]}
        ET.SubElement(shape, "circle", place, r="5", fill="transparent")
    shape.append(inner)


def _draw(chart: Chart) -> tuple[Any, dict[str, Sequence[str]]]:
    """The axes with the chart, and what its shapes say by the name of their group."""
    from matplotlib.figure import Figure  # no window system is asked for

    height = 3.0
    if isinstance(chart, Bars):
        height = 0.8 + 0.3 * len(chart.bars)
    elif isinstance(chart, Plot) and chart.y.names:
        height = 1.1 + 0.3 * len(chart.y.names)
    figure = Figure(figsize=(8.4 if isinstance(chart, Parallel) else 4.2, height))
    axes = figure.add_subplot()
    lines: _Lines = []
    if isinstance(chart, Bars):
        _bars(axes, chart)
    elif isinstance(chart, Plot):
        lines = _plot(axes, chart)
    elif isinstance(chart, Parallel):
        lines = _parallel(axes, chart)
    labels = {f"line-{number}": texts for number, (_, texts) in enumerate(lines) if texts}
    for number, (line, _) in enumerate(lines):
        line.set_gid(f"line-{number}")
    return axes, labels


def _plot(axes: Any, chart: Plot) -> _Lines:
    lines = [(_series(axes, series), series.labels) for series in chart.series]
    _scale(axes.xaxis, chart.x)
    _scale(axes.yaxis, chart.y)
    axes.set(xlabel=chart.x.label, ylabel=chart.y.label)
    return lines


def _series(axes: Any, series: Series) -> Any:
    colour = PALETTE[series.role]
    if series.band:
        low, high = zip(*series.band, strict=True)
        axes.fill_between([x for x, _ in series.points], low, high, color=colour, alpha=0.18, lw=0)
    is_ring = series.mark in ("ring", "triangle")
    is_faint = series.line in ("thin", "dashed")
    [line] = axes.plot(
        [x for x, _ in series.points],
        [y for _, y in series.points],
        color=colour,
        linestyle={None: "none", "dashed": "--"}.get(series.line, "-"),
        linewidth=1.0 if is_faint else 1.8,
        alpha=0.75 if is_faint else 1.0,
        drawstyle="steps-post" if series.line == "step" else "default",
        marker=None if series.mark is None else _MARKERS[series.mark],
        markersize=5,
        markerfacecolor=PALETTE["card"] if is_ring else colour,
        label=series.name,
        zorder=3 if series.mark else 2,
    )
    return line


def _scale(axis: Any, of: Axis) -> None:
    """Ends of an axis, and what is written beside it."""
    from matplotlib import ticker

    scale = "log" if of.log else "linear"
    axis.axes.set(**{f"{axis.axis_name}scale": scale, f"{axis.axis_name}lim": (of.low, of.high)})
    if of.names:
        axis.set_ticks(range(len(of.names)), labels=of.names)
    elif of.log:
        steps = (1, 2, 5) if of.high < 100 * of.low else (1,)
        axis.set_major_locator(ticker.LogLocator(subs=steps, numticks=8))
        axis.set_major_formatter(lambda value, _: f"{value:g}".replace("e-0", "e-"))
    else:
        axis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 5, 10], integer=of.whole))
    axis.set_minor_locator(ticker.NullLocator())


def _bars(axes: Any, chart: Bars) -> None:
    places = range(len(chart.bars))
    bars = axes.barh(
        places,
        [bar.value for bar in chart.bars],
        height=0.62,
        color=[PALETTE[bar.role] for bar in chart.bars],
        zorder=2,
    )
    axes.bar_label(bars, [bar.text for bar in chart.bars], padding=3)
    axes.set_yticks(places, labels=[bar.name for bar in chart.bars])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlabel(chart.label)


def _parallel(axes: Any, chart: Parallel) -> _Lines:
    from matplotlib.lines import Line2D

    places = range(len(chart.axes))
    lines: _Lines = []
    for thread in sorted(chart.threads, key=lambda thread: (thread.is_best, thread.shade)):
        shade = min(NUM_SHADES - 1, int(thread.shade * NUM_SHADES))
        heights = [math.nan if place is None else place for place in thread.places]
        num_marks = len(heights) - thread.places.count(None) if None in thread.places else 0
        line = Line2D(
            places,
            heights,
            marker="." if num_marks else None,  # so that what stands between two gaps is seen
            color=PALETTE["orange" if thread.is_best else f"shade-{shade}"],
            linewidth=2.4 if thread.is_best else 1.2,
            linestyle="--" if thread.is_cut else "-",
        )
        axes.add_line(line)  # `plot` would measure all of them again and again
        lines.append((line, [thread.label] * max(1, num_marks)))
    axes.set(xlim=(0, len(places) - 1), ylim=(0, 1), yticks=[])
    axes.set_xticks(places, labels=[axis.label for axis in chart.axes])
    axes.tick_params(axis="x", length=0, pad=8, labelcolor=PALETTE["ink"])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    for place, axis in enumerate(chart.axes):
        upright = axes.twinx()
        upright.spines["right"].set(visible=True, position=("data", place))
        upright.spines["bottom"].set_visible(False)
        upright.spines["left"].set_visible(False)
        upright.grid(visible=False)
        _scale(upright.yaxis, axis)
        for label in upright.get_yticklabels():
            label.set_bbox({"facecolor": PALETTE["card"], "alpha": 0.8, "pad": 0.5, "lw": 0})
    return lines
