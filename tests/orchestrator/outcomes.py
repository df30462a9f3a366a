"""Outcomes of sweeps, read from a storage or made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.outcome import ConfigurationResult, SweepOutcome, outcome_of
from orchestrator.tracking.state import TrackingState
from shapca.storage import FolderStore
from tests.orchestrator.fakes import open_sweep, sweep_config


def an_outcome(folder: Path, **changes: Any) -> SweepOutcome:
    conductor = open_sweep(folder, sweep_config())
    options: dict[str, Any] = {
        "status": "finished", "reason": None, "seconds": 75.0, "storage": str(folder),
        "tracking": TrackingState("current", f"sqlite:///{folder}/mlflow.db"),
    }  # fmt: skip
    return outcome_of(conductor.history, CellStore(FolderStore(folder)), **{**options, **changes})


def unconfirmed(val: dict[int, float], missing: dict[int, str]) -> SweepOutcome:
    """A sweep whose search finished and whose confirm seeds failed, all or some."""
    row = ConfigurationResult("lr=1e-4", "search", "k", {}, {1: 50.0}, {}, {}, {1: "c1"})
    winner = ConfigurationResult("lr=1e-4", "confirm", "k", {}, val, {}, missing, {11: "c2"})
    return SweepOutcome("s", "finished", None, (row,), winner, None, None, {}, 1.0, "/s")
