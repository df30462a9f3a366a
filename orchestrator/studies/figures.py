"""Pictures of a study: curves with error bands, and predictions side by side. PNG and SVG."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.reports.charts.charts import Plot, Role, Series
from orchestrator.reports.charts.drawing import saved
from orchestrator.reports.charts.scales import axis_over
from orchestrator.studies.cases import Case, Finding
from orchestrator.studies.config import CurveFigure, StudyConfig, point_title
from orchestrator.tables.table import Table, TableCell

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROLES: tuple[Role, ...] = ("blue", "orange", "green", "purple", "muted")
TYPE_COLOURS = {"PER": "#f5b7b1", "ORG": "#aed6f1", "LOC": "#a9dfbf", "MISC": "#f9e79f"}
_OTHER_COLOUR = "#d7dbdd"
_RIGHT, _WRONG, _INK = "#1e8449", "#c0392b", "#1c2833"


def curves(study: StudyConfig, table: Table, figure: CurveFigure) -> Plot | None:
    """F1 against the value that each series varies, with a band around the means.

    Returns:
        None where no point has been measured yet.
    """
    column = next(column for column in table.columns if column.key == figure.column)
    series: list[Series] = []
    shown: list[TableCell] = []
    for (title, varied), role in zip(study.series.items(), itertools.cycle(ROLES)):
        points = [
            (float(value), cell.mean, cell)
            for value in sorted(v for v in varied.values if isinstance(v, int | float))
            if (row := table.row(point_title(title, value))) is not None
            and (cell := row.cells.get(figure.column)) is not None
            and cell.mean is not None
        ]
        measured = [(x, mean) for x, mean, _ in points]
        band = [_band(cell, mean, figure.band) for _, mean, cell in points]
        series.append(Series(title, measured, role, "circle", "solid", band=band))
        # An open marker: a seed is missing, or the code has changed.
        unsure = [(x, mean) for x, mean, cell in points if cell.state != "done"]
        series.append(Series(None, unsure, role, "ring"))
        shown += [cell for *_, cell in points]
    if not shown:
        return None
    group = f"{column.group} " if column.group else ""
    heights = [y for one in series for y in itertools.chain(*one.band)]
    return Plot(
        study.name,
        "\n".join(textwrap.wrap(table.title, 62)),
        _band_note(shown, figure.band),
        axis_over(figure.x_title, [x for one in series for x, _ in one.points]),
        axis_over(f"{group}{column.title}, test F1 (%)", heights),
        tuple(series),
    )


def _band(cell: TableCell, mean: float, kind: str) -> tuple[float, float]:
    if kind == "interval":
        return (mean if cell.low is None else cell.low, mean if cell.high is None else cell.high)
    std = cell.std or 0.0
    return mean - std, mean + std


def _band_note(cells: Sequence[TableCell], kind: str) -> str:
    seeds = sorted({seed for cell in cells for seed in cell.seeds})
    words = "95% interval (Student's t)" if kind == "interval" else "± sample standard deviation"
    note = f"Mean and {words} over the seeds {' '.join(map(str, seeds))}."
    if any(cell.state != "done" for cell in cells):
        note += " Open markers: a seed is missing, or made by other code."
    return note


def side_by_side(title: str, cases: Sequence[Case], note: str) -> dict[str, bytes]:
    """Posts with what is annotated and what each system found: right in green, wrong in red.

    Args:
        title: Over it.
        cases: The posts.
        note: Below it: how they were chosen.

    Returns:
        Suffix (`png`, `svg`, `pdf`) to content; empty where there is no post to show.
    """
    if not cases:
        return {}
    from matplotlib.figure import Figure as NewFigure

    heights = [_case_height(case) for case in cases]
    canvas = NewFigure(figsize=(11.0, 0.9 + sum(heights)), dpi=130, facecolor="white")
    canvas.text(0.02, 1 - 0.25 / canvas.get_figheight(), title, fontsize=12, weight="bold",
                va="center", color=_INK)  # fmt: skip
    top = canvas.get_figheight() - 0.5
    for case, height in zip(cases, heights, strict=True):
        axes = canvas.add_axes(
            (0.02, (top - height) / canvas.get_figheight(), 0.96,
             height / canvas.get_figheight())
        )  # fmt: skip
        axes.set_xlim(0, 10.56)
        axes.set_ylim(height, 0)  # inches from the top
        axes.axis("off")
        _draw_case(axes, case, height)
        top -= height
    canvas.supxlabel(note, fontsize=7, color="#515a5a")
    return saved(canvas)


_LINE, _HEADER = 0.24, 0.34
_LEFT = 2.5  # where text begins, right of the picture, in inches
_TEXT_WIDTH, _SYSTEM_CHARACTERS = 84, 34
_LETTER = 10 / 130  # width of a letter of DejaVu Sans Mono at 9 points, in inches: whole pixels


def _case_height(case: Case) -> float:
    text = len(_text_lines(case)) + len(_context_lines(case))
    findings = max(
        sum(len(_finding_lines(f)) for f in findings) + 1 + (not findings)
        for findings in (case.gold, *case.systems.values())
    )
    return max(2.3, _HEADER + _LINE * text + _HEADER + _LINE * findings + 0.45)


def _draw_case(axes: Axes, case: Case, height: float) -> None:
    axes.plot([0, 10.56], [0.02, 0.02], color="#bfc5c9", linewidth=0.8)
    if case.picture is not None:
        axes.imshow(
            case.picture, extent=(0.0, 2.2, 2.2 + 0.1, 0.1), aspect="auto", interpolation="nearest"
        )
    else:
        axes.add_patch(_box(0.0, 0.1, 2.2, 2.2, "#f2f3f4"))
        axes.text(1.1, 1.2, "no picture", ha="center", va="center", fontsize=8, color="#7b7d7d")
    y = 0.22
    axes.text(_LEFT, y, f"Post {case.id}", fontsize=8, color="#7b7d7d", va="center")
    y = _draw_words(axes, case, y + _LINE)
    for line in _context_lines(case):
        axes.text(_LEFT, y, line, fontsize=8.5, style="italic", color="#515a5a", va="center")
        y += _LINE
    y += 0.12
    columns = {"Annotated": case.gold, **case.systems}
    width = (10.56 - _LEFT) / len(columns)
    for place, (name, findings) in enumerate(columns.items()):
        x = _LEFT + place * width
        axes.text(x, y, name, fontsize=9, weight="bold", color=_INK, va="center")
        line_y = y + _HEADER - 0.04
        if not findings:
            axes.text(x, line_y, "nothing", fontsize=8.5, color="#7b7d7d", va="center")
            line_y += _LINE
        for finding in findings:
            colour = _INK if place == 0 else _RIGHT if finding.is_right else _WRONG
            sign = "" if place == 0 else "✓ " if finding.is_right else "✗ "
            for number, line in enumerate(_finding_lines(finding)):
                shown = f"{sign}{line}" if number == 0 else f"    {line}"
                axes.text(x, line_y, shown, fontsize=8.5, color=colour, va="center")
                line_y += _LINE
        if place and (missed := case.num_missed(name)):
            axes.text(x, line_y, f"({missed} missed)", fontsize=8.5, color=_WRONG, va="center")


def _draw_words(axes: Axes, case: Case, y: float) -> float:
    """The post's text, annotated entities on a coloured ground; where the next line begins."""
    for line in _text_lines(case):
        x = _LEFT
        for place, (word, kind) in enumerate(line):
            if kind is not None:
                # The words of one type in a row stand on one ground.
                goes_on = place + 1 < len(line) and line[place + 1][1] == kind
                width = _LETTER * (len(word) + goes_on) + (0.0 if goes_on else 0.04)
                colour = TYPE_COLOURS.get(kind, _OTHER_COLOUR)
                axes.add_patch(_box(x - 0.02, y - 0.1, width, 0.2, colour))
            axes.text(x, y, word, fontsize=9, family="DejaVu Sans Mono", color=_INK, va="center")
            x += _LETTER * (len(word) + 1)
        y += _LINE
    return y


def _text_lines(case: Case) -> list[list[tuple[str, str | None]]]:
    lines: list[list[tuple[str, str | None]]] = [[]]
    used = 0
    for index, word in enumerate(case.words):
        if used + len(word) > _TEXT_WIDTH and lines[-1]:
            lines.append([])
            used = 0
        lines[-1].append((word, case.kinds.get(index)))
        used += len(word) + 1
    return lines


def _context_lines(case: Case) -> list[str]:
    if not case.context:
        return []
    lines = textwrap.wrap(f"Context: {case.context}", 105)
    return lines[:3] if len(lines) <= 3 else [*lines[:2], lines[2] + " …"]


def _finding_lines(finding: Finding) -> list[str]:
    return textwrap.wrap(finding.text, _SYSTEM_CHARACTERS) or [""]


def _box(x: float, y: float, width: float, height: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, facecolor=colour, edgecolor="none")
