"""A training that costs nothing but keeps to the contract, and an executor without Ray.

What a fake training does is chosen by `head.dropout`, so that a search space can ask for it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.protocol import Signal
from orchestrator.store.cells import Cell, CellStore
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.record.declaration import remember
from orchestrator.sweeps.record.event_log import Ended, EventLog, Proposed
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.trials.cell_run import CellRun
from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.errors import InputError
from shapca.runs.epochs import EpochRecord, FitResult
from shapca.storage import FolderStore, ObjectStore, read_json, to_json

PLACE = "tests.orchestrator.fakes:open_training"
RAISES, EXHAUSTS, DIVERGES, DIES, ALWAYS_DIES = 0.31, 0.32, 0.33, 0.34, 0.35
CODE = "code-1"


class FakeFactory:
    """Makes cells without data."""

    def cell(self, config: ExperimentConfig, seed: int) -> Cell:
        return Cell(config, seed, {"text": "0"}, {})

    def data(self, config: ExperimentConfig) -> Any:
        raise InputError("fakes read no data set")


class FakeTraining:
    """Keeps its records like a real one; every trained epoch is noted in `trained.log`."""

    def __init__(self, cell: Cell, store: ObjectStore) -> None:
        self.cell = cell
        self.store = store
        self.codes = (code := os.environ.get("FAKE_CODE", CODE),)
        config = cell.config.model_dump(mode="json")
        store.put_new("run.json", to_json({"config": config, "environments": [{"code": code}]}))
        self.result = read_json(store, "result.json")
        self.history: list[EpochRecord] = []
        states = [name for name in store.list("checkpoint/") if name.endswith("state.json")]
        last = self.result["epochs_run"] if self.result else 0
        last = max([last, *(int(name.split("/")[1]) for name in states)])
        for epoch in range(1, last + 1):
            self.history.append(EpochRecord.from_json(read_json(store, f"epochs/{epoch:04}.json")))

    @property
    def num_committed(self) -> int:
        return len(self.history)

    @property
    def is_complete(self) -> bool:
        return self.result is not None or (
            len(self.history) >= self.cell.config.optimisation.epochs
        )

    def epochs(self) -> Iterator[EpochRecord]:
        dropout = self.cell.config.head.dropout
        while not self.is_complete:
            epoch = len(self.history) + 1
            time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
            if epoch == 2 and dropout == RAISES:
                raise ValueError("this data makes no sense")
            if epoch == 2 and dropout == EXHAUSTS:
                error = MemoryError()
                error.add_note("out of memory in epoch 2: batch size 28, peak 12 MiB")
                raise error
            if epoch == 2 and dropout == DIVERGES:
                self._close("diverged", "the loss is nan")
                return
            if epoch == 2 and (dropout == ALWAYS_DIES or self._dies_once()):
                os._exit(1)
            yield self._epoch(epoch)

    def _dies_once(self) -> bool:
        return self.cell.config.head.dropout == DIES and self.store.put_new("died.json", b"{}")

    def _epoch(self, epoch: int) -> EpochRecord:
        value = score(self.cell, epoch)
        is_best = all(value > record.metrics["val/f1"] for record in self.history)
        record = EpochRecord(epoch, {"val/f1": value, "train/loss": 1 / epoch}, is_best, 0.5, 1.0)
        self.history.append(record)
        folder = f"checkpoint/{epoch:04}"
        self.store.put(f"{folder}/model.safetensors", b"weights")
        if is_best:
            self.store.delete(*self.store.list("best/"))
            self.store.put(f"best/{epoch:04}.safetensors", b"weights")
        self.store.put(f"{folder}/state.json", to_json({}))
        self.store.put_new(f"epochs/{epoch:04}.json", to_json(record.to_json()))
        self.store.put_new(f"trained/{epoch:04}-{time.time_ns()}", b"")
        self.store.put(f"processes/{os.getpid()}", b"")
        return record

    def _close(self, status: str, reason: str) -> None:
        if self.history:
            self.store.put("evaluations/valid.json", to_json({"metrics": {}, "per_example": {}}))
        result = self._result(status, reason).to_json()
        self.store.put("result.json", to_json(result))
        for name in self.store.list("checkpoint/"):
            self.store.delete(name)
        self.result = result

    def finish(self, *, test: bool) -> FitResult:
        if not self.is_complete:
            return self._result("stopped", "stopped")
        if self.result is None:
            self._close("finished", "all epochs trained")
        assert self.result is not None
        if test and self.result["status"] == "finished":
            assert self.store.list("best/"), "no weights to test"
            metrics = {"f1": score(self.cell, 99) - 1}
            counts = [[(self.cell.seed + n) % 2, 1, 1] for n in range(10)]
            record = {"metrics": metrics, "per_example": {"main": counts}}
            assert self.store.put_new("evaluations/test.json", to_json(record)) or (
                self.store.get("evaluations/test.json") is not None
            )
        return self._result(self.result["status"], self.result["reason"])

    def _result(self, status: Any, reason: str) -> FitResult:
        best = max(self.history, key=lambda record: record.metrics["val/f1"], default=None)
        return FitResult(
            status,
            reason,
            None if best is None else best.epoch,
            {} if best is None else best.metrics,
            len(self.history),
            alignment="collapsed" if self.cell.config.alignment.negatives == "sum" else "aligned",
        )

    def close(self) -> None:
        pass


def open_training(cell: Cell, runtime: RuntimeConfig, store: ObjectStore) -> FakeTraining:
    return FakeTraining(cell, store)


def score(cell: Cell, epoch: int) -> float:
    """Best at a learning rate of 1e-3, rising with the epochs, a little different by seed."""
    distance = abs(math.log10(cell.config.optimisation.learning_rate) + 3)
    seed = math.sin(cell.seed * 12.9898) * 0.5
    return 80 - 20 * distance - 30 / (epoch + 1) + seed


def sweep_config(**changes: Any) -> SweepConfig:
    """A small sweep of the fake training."""
    tree: dict[str, Any] = {
        "name": "small",
        "experiment": {
            "data": {"dataset": "fake"},
            "optimisation": {"epochs": 4},
        },
        "space": {
            "optimisation.learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
            "alignment.alpha": {"type": "float", "low": 0.0, "high": 1.0},
        },
        "protocol": {
            "trials": 6,
            "startup_trials": 3,
            "shortlist": 2,
            "shortlist_seeds": [2],
            "confirm_seeds": [11, 12],
        },
        "scheduler": {"kind": "asha", "grace_period": 1, "reduction_factor": 2},
    }
    for name, value in changes.items():
        before = tree.get(name)
        tree[name] = {**before, **value} if isinstance(before, dict) else value
    return SweepConfig.model_validate(tree)


def open_sweep(folder: Path, sweep: SweepConfig, **options: Any) -> Conductor:
    """The conductor of a sweep, made from what is in the store."""
    store = FolderStore(folder)
    history = History(sweep, EventLog.load(store, sweep.name), FakeFactory())  # type: ignore[arg-type]
    history.open("driver", CODE)
    conductor = Conductor(history, CellStore(store), **{"code": CODE, **options})
    conductor.documents.sweep_started(0.0)
    return conductor


def execute(
    conductor: Conductor, folder: Path, stop: Callable[[int], bool] = lambda steps: False
) -> int:
    """Work with one slot until nothing is left, or drop everything where `stop` says so.

    Returns:
        How many steps trials made.
    """
    cells, steps = CellStore(FolderStore(folder)), 0
    while isinstance(following := conductor.next(), Proposed):
        run = CellRun(
            cells,
            following.cell,
            test=following.test,
            sweep=conductor.history.sweep.name,
            runtime=RuntimeConfig(),
            training=PLACE,
        )
        while True:
            if stop(steps):
                return steps
            steps += 1
            try:
                report = run.step()
            except Exception:
                run = CellRun(  # as Tune does: a fresh process that reads the verdict
                    cells,
                    following.cell,
                    test=following.test,
                    sweep=conductor.history.sweep.name,
                    runtime=RuntimeConfig(),
                    training=PLACE,
                )
                continue
            if report.state != "running":
                conductor.complete(following.number, report)
                break
            if conductor.report(following.number, report):
                conductor.complete(following.number, report)
                break
    assert following is Signal.DONE or conductor.halted
    return steps


def record_failed_confirmation(folder: Path) -> None:
    """The storage of the small sweep, complete, whose confirm seeds have all failed."""
    sweep = sweep_config()
    history = open_sweep(folder, sweep).history
    while isinstance(event := history.propose(), Proposed):
        if event.phase == "confirm":
            end = Ended("failed", number=event.number, at=2.0, reason="out of memory")
        else:
            value = 50.0 - event.number
            end = Ended("finished", value, 1, number=event.number, at=2.0)
        history.end(end, lambda: None)
    remember(FolderStore(folder), sweep)


def trained_epochs(folder: Path) -> list[tuple[str, int]]:
    """Cell and number of every epoch that was trained, repeated ones each time.

    A trial killed right after it committed an epoch leaves no note of it.
    """
    notes = folder.glob("cells/*/trained/[0-9]*")
    return sorted((note.parts[-3], int(note.name.partition("-")[0])) for note in notes)


def epochs_trained(folder: Path) -> int:
    """Epochs that were trained in all, repeated ones counted each time."""
    return len(trained_epochs(folder))


def results(conductor: Conductor) -> list[tuple[Any, ...]]:
    """What a sweep found, times aside."""
    history = conductor.history
    return [
        (
            number,
            event.phase,
            event.cell,
            history.ended[number].status,
            history.ended[number].epoch,
            history.ended[number].value,
        )
        for number, event in history.proposed.items()
    ]
