"""The Ray Tune trial of one cell: a thin shell around `CellRun`.

Processes are used for one cell after another, so that start-up, imports and data are paid for once.
A process in which training failed is given up: the cell's verdict is in the store by then, and the
fresh process that Tune starts in its place reports it and serves the cells that follow.
"""

from __future__ import annotations

import dataclasses
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from ray import tune

from orchestrator.cluster.parcels.delivery import Delivery
from orchestrator.store.address import open_store
from orchestrator.store.cells import Cell, CellStore
from orchestrator.sweeps.control.trial_report import Report
from orchestrator.sweeps.trials.cell_run import CellRun
from shapca.config import RuntimeConfig
from shapca.storage import ObjectStore

DONE = "done"
METRIC = "value"


class CellTrial(tune.Trainable):
    """Trains a cell, an epoch a step; reports metrics only, since checkpoints go to the store."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take up a cell. Nothing is read yet: what could fail must fail in a step."""
        self._begin(config)

    def _begin(self, config: dict[str, Any]) -> None:
        # Tune changes the working directory; relative paths mean the driver's.
        if Path(config["folder"]).is_dir():
            os.chdir(config["folder"])
        record = config["delivery"]
        self._run = CellRun(
            CellStore(_opened(config["storage"])),
            config["cell"],
            test=config["test"],
            sweep=config["sweep"],
            runtime=RuntimeConfig.model_validate(config["runtime"]),
            training=config["training"],
            delivery=None if record is None else Delivery.from_json(record),
            lease=config["lease"],
            cell=Cell.from_json(json.loads(config["record"])),
        )

    def step(self) -> dict[str, Any]:
        """One epoch, or the verdict."""
        report = self._run.step()
        return {**dataclasses.asdict(report), DONE: report.state != "running"}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Leave the last cell and take up another."""
        self._run.close()
        self._begin(new_config)
        return True

    def cleanup(self) -> None:
        """Free what the last cell held."""
        self._run.close()


@cache
def _opened(storage: str) -> ObjectStore:
    """The storage: a bucket is asked once a process whether it can be used."""
    return open_store(storage, make=False)


def report_of(result: dict[str, Any]) -> Report | None:
    """What a trial said, from Tune's result; None where it says nothing of a cell."""
    if "state" not in result:
        return None
    return Report(**{field.name: result[field.name] for field in dataclasses.fields(Report)})
