"""A study's tables on the page: measured cells with what was published and the difference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from orchestrator.reports.markup import Child, Html, element, join
from orchestrator.tables.formats import EMPTY, figures, marks
from orchestrator.tables.table import Column, Row, Table, TableCell


def result_tables(tables: Sequence[Table]) -> Html:
    """Tables one below the other, each with its caption and remarks."""
    return join([_table(table) for table in tables])


def _table(table: Table) -> Html:
    body: list[Html] = []
    for group, rows in groupby(table.rows, key=lambda row: row.group):
        if group is not None:
            width = len(table.columns) + 1
            heading = element("th", group, colspan=width, scope="colgroup", class_="group")
            body.append(element("tr", heading))
        body += [_row(table, row) for row in rows]
    head = [element("th", table.heading, scope="col")]
    for column in table.columns:
        parts: list[Child] = [column.title]
        if column.group is not None:
            parts = [element("span", column.group, class_="soft"), element("br"), column.title]
        head.append(element("th", parts, class_="n", scope="col"))
    grid = element(
        "table", element("thead", element("tr", head)), element("tbody", body), class_="results"
    )
    return element(
        "div",
        element("h3", table.title),
        element("div", grid, class_="scroll", tabindex=0),
        element("ul", [element("li", line) for line in table.remarks()], class_="soft small"),
    )


def _row(table: Table, row: Row) -> Html:
    cells = [element("th", row.title, scope="row", class_="name")]
    for column in table.columns:
        cell = row.cells.get(column.key)
        is_best = row.key in table.best(column)
        cells.append(element("td", _cell(cell, column, is_best=is_best), class_="n"))
    return element("tr", cells)


def _cell(cell: TableCell | None, column: Column, *, is_best: bool) -> Child:
    if cell is None:
        return element("span", EMPTY, class_="soft")
    if cell.mean is None:
        chip = "na" if cell.state == "n/a" else cell.state
        state = element("span", cell.state, class_=f"state {chip}", title=cell.reason)
        return state if cell.target is None else [state, _beside(cell, column)]
    number = figures(cell, column)
    parts: list[Child] = [element("b", number) if is_best else number, marks(cell)]
    if cell.state == "published":
        return element("span", parts, class_="soft")
    if cell.state in ("running", "stale", "missing"):
        parts.append(
            element(
                "div", element("span", cell.state, class_=f"state {cell.state}"), class_="small"
            )
        )
    if cell.target is not None:
        parts.append(_beside(cell, column))
    return parts


def _beside(cell: TableCell, column: Column) -> Html:
    """What was published, and measured minus published."""
    published = f"published {cell.target:.{column.digits}f}"
    difference = cell.difference
    if difference is None:
        return element("div", published, class_="small soft")
    sign = "plus" if difference >= 0 else "minus"
    shown = f"{difference:+.{column.digits}f}".replace("-", "−")
    return element("div", f"{published} ", element("span", shown, class_=sign), class_="small soft")
