"""A report's trials as CSV, for whoever wants to compute on."""

from __future__ import annotations

import csv
import io

from orchestrator.report.content import Content

_FIELDS = (
    "number", "phase", "state", "stale", "seed", "val_f1", "test_f1", "best_epoch", "epoch",
    "epochs", "trained_epochs", "seconds", "found", "configuration", "cell", "reason",
)  # fmt: skip


def trials_csv(content: Content) -> bytes:
    """One line a trial: how it ended, its scores in percent, its setting by dotted key.

    Test scores stand with the reported winner's confirmed seeds alone.
    """
    buffer = io.StringIO()
    keys = list(content.sweep.space)
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_FIELDS, *keys])
    winner = content.winner
    for trial in content.trials:
        is_reported = winner is not None and winner.cells.get(trial.seed) == trial.cell
        test = winner.test.get(trial.seed) if winner is not None and is_reported else None
        row = [
            trial.number, trial.phase, trial.state, int(trial.is_stale), trial.seed, trial.value,
            test, trial.best_epoch, trial.epoch, trial.epochs, trial.trained,
            round(trial.seconds, 3), int(trial.found), trial.configuration, trial.cell,
            trial.reason,
        ]  # fmt: skip
        writer.writerow([_harmless(value) for value in (*row, *(trial.values[k] for k in keys))])
    return buffer.getvalue().encode()


def _harmless(value: object) -> object:
    """Text that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    is_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@")
    return f"'{value}" if is_formula else value
