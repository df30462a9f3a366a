"""A sweep's search as another program's study gets it: one trial a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from orchestrator.search.optuna_study import ExportedTrial
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.event_log import Proposed
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.record.outcome import ConfigurationResult, SweepOutcome
from shapca.errors import InputError
from shapca.runs.epochs import SELECTION
from shapca.storage import digest


def origin_of(history: History) -> str:
    """What tells a sweep from any other of its name, wherever its storage lies."""
    return digest({"sweep": history.sweep.name, "began": history.log.events[0].at})


def exported_trials(
    history: History, cells: CellStore, outcome: SweepOutcome
) -> Iterator[ExportedTrial]:
    """Every configuration of a sweep's search, in the order in which they were proposed.

    Raises:
        InputError: Nothing was searched: configurations are listed, or none was proposed yet.
    """
    if history.sweep.configurations:
        raise InputError(f"{outcome.sweep} lists its configurations: there is no search to export")
    entries: dict[int, list[Proposed]] = {}
    for event in history.proposed.values():
        if event.phase == history.protocol.search_phase:
            entries.setdefault(event.entry, []).append(event)
    if not entries:
        raise InputError(f"sweep {outcome.sweep}: no trial was proposed yet; nothing to export")
    rows = {row.configuration: row for row in outcome.rows}
    reported = {
        row.configuration: (role, row)
        for role, row in (("baseline", outcome.baseline), ("winner", outcome.winner))
        if row is not None
    }
    for (_, events), tried in zip(sorted(entries.items()), history.protocol.history(), strict=True):
        first = events[0]
        ends = [history.ended[event.number] for event in events if event.number in history.ended]
        is_over = tried.state != "running"
        yield ExportedTrial(
            tried=tried,
            curve=_curve(history, cells, events),
            attributes=_attributes(first, rows, reported),
            began=first.at,
            ended=max(end.at for end in ends) if is_over else None,
        )


def study_attributes(history: History, outcome: SweepOutcome) -> dict[str, Any]:
    """What a study says of itself: the sweep, its protocol, and what is reported."""
    winner = outcome.winner
    found: dict[str, Any] = {
        "sweep": outcome.sweep,
        "protocol": history.sweep.protocol.model_dump(mode="json"),
        "storage": outcome.storage,
    }
    if winner is not None:
        found |= {"winner": winner.entry - 1, **_scores(winner)}
    return found


def _curve(history: History, cells: CellStore, events: list[Proposed]) -> dict[int, float]:
    """Validation F1 by epoch, the mean over the seeds; epochs that all seeds have."""
    curves = []
    for event in events:
        end = history.ended.get(event.number)
        records = cells.epochs(event.cell)
        if end is not None and end.status == "pruned":  # another sweep may have gone on with it
            records = records[: end.epoch]
        curves.append([record["metrics"].get(SELECTION) for record in records])
    means = {}
    for epoch, values in enumerate(zip(*curves, strict=False), start=1):
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            means[epoch] = fmean(known)
    return means


def _attributes(
    event: Proposed,
    rows: Mapping[str, ConfigurationResult],
    reported: Mapping[str, tuple[str, ConfigurationResult]],
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "setting": event.setting,
        "configuration": event.configuration,
        "cells": {event.seed: event.cell},
    }
    if (row := rows.get(event.configuration)) is not None:
        found |= {"phase": row.phase, "cells": dict(row.cells), **_scores(row)}
        if row.pruned:
            found["pruned_at"] = dict(row.pruned)
        if row.missing:
            found["missing"] = dict(row.missing)
    if event.configuration in reported:
        role, confirmed = reported[event.configuration]
        found |= {"reported_as": role, "reported_cells": dict(confirmed.cells)}
        found |= {f"reported_{name}": value for name, value in _scores(confirmed).items()}
    return found


def _scores(row: ConfigurationResult) -> dict[str, Any]:
    """F1 in percent by seed, with mean and sample standard deviation."""
    found = {
        "val_f1": dict(row.val),
        "val_f1_mean": row.val_mean,
        "val_f1_std": row.val_std,
        "test_f1": dict(row.test),
        "test_f1_mean": row.test_mean,
        "test_f1_std": row.test_std,
    }
    return {name: value for name, value in found.items() if value not in (None, {})}
