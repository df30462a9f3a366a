"""The trials of a report, with the epochs of those whose curves are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from heapq import nsmallest
from typing import Any, Literal

from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.record.outcome import ConfigurationResult
from orchestrator.sweeps.record.trial_view import TrialView, trial_fields

MOST_CURVES = 60
"""Trials whose epoch records are read for their curves: the best ones, and all of the winner."""
ReportState = Literal["running", "complete", "stopped"]
TrialState = Literal["done", "pruned", "failed", "diverged", "running", "missing"]


@dataclass(frozen=True, kw_only=True)
class Trial(TrialView):
    """One trial of the sweep, as a report shows it.

    Attributes:
        state: `done`, how else it ended, `running` under a driver, or `missing`: begun, and left.
        is_stale: Made by other code than that which the report compares with.
        scores: Validation F1 after each epoch, where they were read.
        losses: Training loss of each epoch, where they were read.
        alignment: How the alignment does on the validation split after each epoch, by name
            (`shapca.alignment.health`), where it was read.
    """

    state: TrialState
    is_stale: bool = False
    scores: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    alignment: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """What it is called, in every table and chart: `#4 · seed 1`."""
        return f"#{self.entry} · seed {self.seed}"


def read_trials(
    history: History,
    cells: CellStore,
    winner: ConfigurationResult | None,
    state: ReportState,
    stale: set[str],
) -> list[Trial]:
    """Every trial that was begun, in order.

    Args:
        history: The sweep's record.
        cells: The storage.
        winner: Whose curves are read in any case.
        state: How the sweep stands.
        stale: Keys of its cells that other code made.
    """
    trials = [_trial(history, number, state, stale) for number in history.proposed]
    curved = _with_curves(trials, winner)
    return [_curved(cells, trial) if trial.number in curved else trial for trial in trials]


_NOT_READ: dict[str, Any] = {
    field.name: field.default if field.default is not MISSING else {}
    for field in fields(Trial)
    if field.default is not MISSING or field.default_factory is not MISSING
}
"""What a trial is where nothing is known of it."""


def _trial(history: History, number: int, state: ReportState, stale: set[str]) -> Trial:
    event, end = history.proposed[number], history.ended.get(number)
    shown: TrialState
    if end is None:
        shown = "running" if state == "running" else "missing"
    else:
        shown = "done" if end.status == "finished" else end.status
    trial = Trial.__new__(Trial)  # a frozen dataclass of so many fields takes long to fill
    vars(trial).update(
        _NOT_READ,
        **trial_fields(history, event, end),
        state=shown,
        is_stale=end is not None and event.cell in stale,
    )
    return trial


def _with_curves(trials: list[Trial], winner: ConfigurationResult | None) -> set[int]:
    """Numbers of the trials whose epochs are read."""
    own = {t.number for t in trials if winner and t.configuration == winner.configuration}
    open_ = {trial.number for trial in trials if trial.state in ("running", "missing")}
    best = nsmallest(
        MOST_CURVES, trials, key=lambda t: (t.value is None, -(t.value or 0.0), t.number)
    )
    return own | open_ | {trial.number for trial in best}


def _curved(cells: CellStore, trial: Trial) -> Trial:
    records = cells.epochs(trial.cell)
    if trial.state not in ("running", "missing"):
        records = records[: trial.epoch]  # another sweep may have resumed the cell
    metrics = [record["metrics"] for record in records]
    scores = tuple(m["val/f1"] for m in metrics if "val/f1" in m)
    return replace(
        trial,
        epoch=trial.epoch or len(records),
        value=max(scores, default=None) if trial.value is None else trial.value,
        scores=scores,
        losses=tuple(m["train/loss"] for m in metrics if "train/loss" in m),
        alignment={
            name.removeprefix("val/"): tuple(m.get(name, math.nan) for m in metrics)
            for name in (metrics[-1] if metrics else {})
            if name.startswith(("val/alignment_gap_", "val/alignment_r1_"))
        },
    )
