"""A table as Markdown, CSV, LaTeX (booktabs) and JSON."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from orchestrator.tables.table import Column, Row, Table, TableCell

MARKS = {"published": "†", "stale": "‡", "running": "§", "missing": "§"}
EMPTY = "–"
_PLAIN = re.compile(r"[0-9A-Za-z][ -~]*")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
# `](` alone makes a link of brackets, which stand around targets too.
_MARKDOWN = {"&": "&amp;", "<": "&lt;", "*": r"\*", "|": r"\|", "`": r"\`", "](": r"]\("}
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "→": r"$\rightarrow$", "α": r"$\alpha$", "β": r"$\beta$", "τ": r"$\tau$",
    "λ": r"$\lambda$", "·": r"$\cdot$", "–": "--", "−": "$-$", "†": r"\textsuperscript{\dag}",
    "‡": r"\textsuperscript{\ddag}", "§": r"\textsuperscript{\S}", "≤": r"$\le$", "≥": r"$\ge$",
    "…": r"\ldots{}", "×": r"$\times$", "<": r"$<$", ">": r"$>$", "|": r"$|$",
}  # fmt: skip


def cell_text(cell: TableCell, column: Column, *, target: bool = True) -> str:
    """A cell in one line: `76.93 ± 0.41* [76.50, +0.43]`, `71.81†`, `n/a`, `missing`.

    Args:
        cell: The cell.
        column: Where it stands.
        target: Show what was published beside what was measured.
    """
    text = figures(cell, column) + marks(cell)
    if target and cell.target is not None and cell.state != "published":
        shown = f"{cell.target:.{column.digits}f}"
        if cell.difference is not None:
            shown += f", {cell.difference:+.{column.digits}f}"
        text += f" [{shown}]"
    return text


def figures(cell: TableCell, column: Column) -> str:
    """Mean and deviation of a cell, or its state where there is no figure."""
    if cell.mean is None:
        return cell.state
    text = f"{cell.mean:.{column.digits}f}"
    if cell.std is not None:
        text += f" ± {cell.std:.{column.digits}f}"
    return text + column.unit


def marks(cell: TableCell) -> str:
    """Significance, and that a cell is published, stale or incomplete."""
    if cell.mean is None:
        return ""
    text = cell.against.mark if cell.against is not None else ""
    text += MARKS.get(cell.state, "")
    if cell.missing:
        text += f" ({len(cell.scores)}/{len(cell.scores) + len(cell.missing)})"
    return text


def to_markdown(table: Table) -> str:
    """The table with its caption above and its remarks below; best means bold."""

    def shown(row: Row, column: Column) -> str:
        cell = row.cells.get(column.key)
        if cell is None:
            return EMPTY
        text = markdown(cell_text(cell, column))
        if row.key in table.best(column):
            number = figures(cell, column)
            text = text.replace(number, f"**{number}**", 1)
        return text

    headings = [
        column.title if column.group is None else f"{column.group} {column.title}"
        for column in table.columns
    ]
    lines = [f"**{markdown(table.title)}**", ""]
    lines.append(_markdown_row([markdown(text) for text in (table.heading, *headings)]))
    lines.append("|---|" + "---:|" * len(table.columns))
    for group, rows in groupby(table.rows, key=lambda row: row.group):
        if group is not None:
            lines.append(_markdown_row([f"*{markdown(group)}*", *[""] * len(table.columns)]))
        for row in rows:
            lines.append(
                _markdown_row([markdown(row.title), *[shown(row, c) for c in table.columns]])
            )
    below = (*table.remarks(), *table.gaps())
    lines += ["", *(f"- {markdown(line)}" for line in below)]
    if doubts := table.doubts():
        lines += ["", *(f"- {markdown(line)}" for line in doubts)]
    return "\n".join(lines).rstrip() + "\n"


def to_csv(table: Table) -> str:
    """One line a cell, with everything that is known of it; empty where nothing is."""
    lines: list[list[Any]] = [[
        "table", "group", "row", "column", "state", "mean", "std", "low", "high", "num_seeds",
        "scores", "missing", "target", "difference", "to_reference", "to_reference_low",
        "to_reference_high", "p", "p_corrected", "cells", "reason",
    ]]  # fmt: skip
    for row, column, cell in table.cells():
        title = column.title if column.group is None else f"{column.group} {column.title}"
        compared: list[float | None] = [None] * 5
        if (against := cell.against) is not None:
            compared = [
                against.mean, against.low, against.high, against.p_value, against.corrected,
            ]  # fmt: skip
        lines.append([
            table.name, row.group, row.title, title, cell.state,
            *map(_number, (cell.mean, cell.std, cell.low, cell.high)), len(cell.scores),
            _pairs(cell.scores, lambda score: f"{score:.4f}"), _pairs(cell.missing, str),
            *map(_number, (cell.target, cell.difference, *compared)), _pairs(cell.cells, str),
            cell.reason,
        ])  # fmt: skip
    return csv_text(lines)


def csv_text(lines: Iterable[Iterable[Any]]) -> str:
    """Lines of CSV that run nothing in a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    is_plain = _PLAIN.fullmatch
    writer.writerows(
        [harmless(v) if isinstance(v, str) and not is_plain(v) else v for v in line]
        for line in lines
    )
    return buffer.getvalue()


def to_latex(table: Table) -> str:
    """A `table` float for `\\usepackage{booktabs}`: bold best, ± and marks of significance."""
    columns = table.columns
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{latex(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\toprule",
        *_latex_groups(columns),
        _latex_row([latex(table.heading), *(latex(column.title) for column in columns)]),
        r"\midrule",
    ]
    for place, (group, rows) in enumerate(groupby(table.rows, key=lambda row: row.group)):
        if place:
            lines.append(r"\midrule")
        if group is not None:
            lines.append(
                rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\textit{{{latex(group)}}}}} \\"
            )
        for row in rows:
            shown = [_latex_cell(table, row, column) for column in columns]
            lines.append(_latex_row([latex(row.title), *shown]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par{{\footnotesize {latex(line)}}}" for line in table.remarks()]
    lines += [r"\end{table}"]
    return "\n".join(lines) + "\n"


def table_files(table: Table) -> dict[str, bytes]:
    """The table as files by name: Markdown, CSV and LaTeX."""
    texts = {"md": to_markdown(table), "csv": to_csv(table), "tex": to_latex(table)}
    return {f"{table.name}.{suffix}": text.encode() for suffix, text in texts.items()}


def to_json(table: Table) -> dict[str, Any]:
    """The table for programs; a NaN becomes null."""
    record: dict[str, Any] = _without_nan(asdict(table))
    record["remarks"] = list(table.remarks())
    record["gaps"] = list(table.gaps())
    record["best"] = {column.key: sorted(table.best(column)) for column in table.columns}
    return record


def harmless(value: Any) -> Any:
    """A value for a cell of CSV: text that a spreadsheet would take for a formula is quoted.

    It is one line: to some, what follows a carriage return is a cell of its own.
    """
    if not isinstance(value, str):
        return value
    line = re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", value)
    if line.lstrip().startswith(_FORMULA) and not _is_number(line):
        return f"'{line}"
    return line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def latex(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _latex_cell(table: Table, row: Row, column: Column) -> str:
    cell = row.cells.get(column.key)
    if cell is None:
        return latex(EMPTY)
    number = latex(figures(cell, column))
    if row.key in table.best(column):
        number = rf"\textbf{{{number}}}"
    significance = cell.against.mark if cell.against is not None and cell.mean is not None else ""
    if significance:
        number += rf"\textsuperscript{{{significance}}}"
    number += latex(marks(cell).removeprefix(significance))
    if cell.target is not None and cell.state != "published":
        number += rf" {{\scriptsize[{cell.target:.{column.digits}f}]}}"
    return number


def _latex_groups(columns: Sequence[Column]) -> list[str]:
    """The line of group headings and the rules under it; nothing where no column has a group."""
    if not any(column.group for column in columns):
        return []
    parts, rules, first = [""], [], 2
    for group, members in groupby(columns, key=lambda column: column.group):
        width = len(list(members))
        parts.append(rf"\multicolumn{{{width}}}{{c}}{{{latex(group or '')}}}")
        if group is not None:
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    return [_latex_row(parts), "".join(rules)]


def _latex_row(parts: Sequence[str]) -> str:
    return " & ".join(parts) + r" \\"


def _markdown_row(parts: Sequence[str]) -> str:
    return "| " + " | ".join(parts) + " |"


def markdown(text: str) -> str:
    """Text as Markdown shows it, in one line: no emphasis, no link, no picture and no HTML."""
    line = re.sub(r"[\x00-\x1f\x7f]+", " ", text).replace("\\", "\\\\")
    for sign, shown in _MARKDOWN.items():
        line = line.replace(sign, shown)
    return line


def _pairs(values: Any, shown: Callable[[Any], str]) -> str:
    return "; ".join(f"{key}: {shown(value)}" for key, value in values.items())


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
