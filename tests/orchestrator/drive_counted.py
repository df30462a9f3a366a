"""A sweep of real training that notes each epoch in `trained/`, and takes its time.

`python -m tests.orchestrator.drive_counted SPACE STORAGE DATA TRACKING`
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from orchestrator.cli import run_driver
from orchestrator.cluster.session import RayOptions
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cells import Cell
from orchestrator.sweeps.driver import SweepOptions, run_sweep
from orchestrator.sweeps.trials import cell_run
from shapca.config import RuntimeConfig
from shapca.runs.epochs import EpochRecord
from shapca.storage import ObjectStore
from shapca.training import Training

SECONDS = 0.5


def open_training(cell: Cell, runtime: RuntimeConfig, store: ObjectStore) -> Training:
    training = cell_run.open_training(cell, runtime, store)
    train = training.epochs

    def epochs() -> Iterator[EpochRecord]:
        for record in train():
            store.put_new(f"trained/{record.epoch:04}-{time.time_ns()}", b"")
            yield record
            time.sleep(SECONDS)

    training.epochs = epochs  # type: ignore[method-assign]
    return training


def main(space: str, storage: str, data: str, tracking: str) -> None:
    options = SweepOptions(storage, tracking, Path(data), RayOptions(os.environ.get("RAY_ADDRESS")))
    run_sweep(
        SweepConfig.load(space), options, training="tests.orchestrator.drive_counted:open_training"
    )


if __name__ == "__main__":
    run_driver(lambda args=None: main(*sys.argv[1:]))  # type: ignore[arg-type]
