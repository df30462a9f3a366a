"""A sweep's configurations as a table of results, for Markdown, CSV and LaTeX."""

from __future__ import annotations

from itertools import chain

from orchestrator.reports.content import Content
from orchestrator.sweeps.record.outcome import ConfigurationResult
from orchestrator.tables.formats import csv_text
from orchestrator.tables.table import CellState, Column, Row, Table, TableCell

MOST_ROWS = 25


def configuration_table(content: Content) -> Table | None:
    """The best configurations with their seeds; the winner's fresh seeds come first.

    Returns:
        None where no configuration has a score.
    """
    winner = content.winner
    if winner is None:
        return None
    rows = []
    if content.is_confirmed:
        rows.append(_row(content, winner, "winner", group="winner on fresh seeds"))
    baseline = content.outcome.baseline
    if baseline is not None and baseline.configuration != winner.configuration:
        rows.append(_row(content, baseline, "baseline", group="baseline on the same seeds"))
    for row in content.outcome.rows[:MOST_ROWS]:
        if row.val:
            is_reported = not content.is_confirmed and row.configuration == winner.configuration
            key = "winner" if is_reported else row.configuration
            rows.append(_row(content, row, key, group="selection"))
    notes = [
        f"Validation F1 chose; test F1 (%) is that of the winner and the baseline alone. Sweep "
        f"{content.name}, {content.state}."
    ]
    if (hidden := len(content.outcome.rows) - MOST_ROWS) > 0:
        notes.append(f"{hidden} more configurations are in trials.csv.")
    return Table(
        name="configurations",
        title=f"{content.name}: configurations, F1 in percent",
        columns=(Column("val", "val F1"), Column("test", "test F1", better=None)),
        rows=tuple(rows),
        heading="Configuration",
        notes=tuple(notes),
        scored_on="on the validation split, and on the test split where that was scored",
    )


def _row(content: Content, row: ConfigurationResult, key: str, group: str) -> Row:
    state: CellState = "missing" if row.missing else "done"
    if any(trial.is_stale for trial in content.of(row)):
        state = "stale"
    cells = dict(row.cells)
    shown = {"val": TableCell.measured(state, row.val, missing=row.missing, cells=cells)}
    shown["test"] = TableCell("n/a")
    if key in ("winner", "baseline"):
        missing = {s: "not tested" for s in row.val if s not in row.test} | dict(row.missing)
        if row.test or content.is_confirmed:
            test_state: CellState = "missing" if missing and state == "done" else state
            shown["test"] = TableCell.measured(test_state, row.test, missing=missing, cells=cells)
    return Row(key, row.name, shown, group)


_FIELDS = (
    "trial", "phase", "state", "stale", "seed", "val_f1", "test_f1", "best_epoch", "epoch",
    "epochs", "trained_epochs", "seconds", "found", "configuration", "cell", "reason",
)  # fmt: skip


def trials_csv(content: Content) -> bytes:
    """One line a trial: how it ended, its scores in percent, its setting by dotted key.

    A trial is known by its number, which is its configuration's, and its seed. Test scores stand
    with the confirmed seeds of what is reported alone.
    """
    keys = list(content.sweep.space)
    rows = [row for row in (content.winner, content.outcome.baseline) if row is not None]
    tested = {row.cells[seed]: score for row in rows for seed, score in row.test.items()}
    lines = (
        [
            trial.entry, trial.phase, trial.state, int(trial.is_stale), trial.seed, trial.value,
            tested.get(trial.cell), trial.best_epoch, trial.epoch, trial.epochs, trial.trained,
            round(trial.seconds, 3), int(trial.found), trial.configuration, trial.cell,
            trial.reason, *[trial.values.get(key) for key in keys],
        ]
        for trial in content.trials
    )  # fmt: skip
    return csv_text(chain([[*_FIELDS, *keys]], lines)).encode()
