"""A study in a terminal."""

from __future__ import annotations

from rich.table import Table as RichTable
from rich.text import Text

from orchestrator.studies.run import StudyOutcome
from orchestrator.tables.formats import EMPTY, cell_text
from orchestrator.tables.table import Table
from shapca.commands.display.training_display import duration
from shapca.words import counted

_STYLES = {"published": "dim", "stale": "yellow", "running": "cyan", "missing": "red", "n/a": "dim"}


def table_view(table: Table) -> RichTable:
    """The table; best means bold, what is incomplete in colour."""
    view = RichTable(title=table.title, title_justify="left", caption_justify="left")
    view.add_column(table.heading, overflow="fold")
    for column in table.columns:
        title = column.title if column.group is None else f"{column.group}\n{column.title}"
        view.add_column(title, justify="right", overflow="fold")
    group = None
    for row in table.rows:
        if row.group != group and row.group is not None:
            view.add_section()
            view.add_row(Text(row.group, style="italic"))
        group = row.group
        cells = []
        for column in table.columns:
            cell = row.cells.get(column.key)
            if cell is None:
                cells.append(Text(EMPTY, style="dim"))
                continue
            style = "bold" if row.key in table.best(column) else _STYLES.get(cell.state, "")
            cells.append(Text(cell_text(cell, column), style=style))
        view.add_row(Text(row.title), *cells)
    return view


def study_lines(outcome: StudyOutcome, storage: str) -> list[Text]:
    """What the marks mean, what is missing and why, and where the files are."""
    lines = [Text(remark, style="dim") for remark in outcome.table.remarks()]
    lines += [Text(line) for line in outcome.table.doubts() if "p = " in line]
    lines += [Text(gap, style="red") for gap in outcome.table.gaps()]
    if outcome.reset:
        lines.append(
            Text(
                f"{counted(len(outcome.reset), 'cell')} trained again, since weights that another "
                f"data set is to be scored with were not kept: {', '.join(outcome.reset)}"
            )
        )
    if outcome.sweep is not None:
        counts = outcome.sweep.counts
        ends = ", ".join(f"{counts[end]} {end}" for end in sorted(counts) if counts[end])
        lines.append(Text(f"cells: {ends}; {duration(outcome.seconds)}"))
        if outcome.sweep.status != "finished":
            lines.append(Text("to resume, run the same command again", style="bold"))
    folder = next(iter(outcome.files.values())).rpartition("/")[0]
    lines.append(Text(f"tables and figures: {storage.rstrip('/')}/{folder}/"))
    return lines
