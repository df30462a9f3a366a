"""1,000 trials at once: how long the driver thinks about each, with trainings that cost nothing.

All are begun, report three epochs in turn, and end. The storage is one in memory, so that the
driver's own time is measured: proposals, early stopping, documents, the view, the record.
"""

from __future__ import annotations

import time

import pytest

from orchestrator.store.cells import CellStore
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.control.trial_report import Report, State
from orchestrator.sweeps.record.event_log import EventLog, Proposed
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.views.snapshot import Snapshots
from orchestrator.tracking.state import TrackingState
from shapca.runs.epochs import FitResult
from shapca.storage import to_json
from tests.orchestrator.fakes import CODE, FakeFactory, sweep_config
from tests.stores import MemoryStore

pytestmark = pytest.mark.bench

NUM_TRIALS, NUM_EPOCHS = 1000, 3
LIMIT_SECONDS = 0.5


def report(epoch: int, value: float, state: State = "running") -> Report:
    is_last = epoch == NUM_EPOCHS
    return Report(epoch, value, epoch, state, is_last, None, epoch, float(epoch))


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_a_thousand_trials_keep_one_driver_busy_for_little(sampler: str) -> None:
    sweep = sweep_config(
        protocol={"kind": "single", "trials": NUM_TRIALS, "sampler": sampler},
        experiment={"optimisation": {"epochs": NUM_EPOCHS}},
        **({"space": {
            key: {"type": "float", "low": 1e-4, "high": 1.0, "num": 40}
            for key in ("optimisation.learning_rate", "alignment.alpha")
        }} if sampler == "grid" else {}),
    )  # fmt: skip
    store = MemoryStore()
    cells = CellStore(store)
    history = History(sweep, EventLog.load(store, sweep.name), FakeFactory())  # type: ignore[arg-type]
    spent: dict[str, float] = {}

    def timed(what: str, began: float) -> None:
        spent[what] = spent.get(what, 0.0) + time.process_time() - began

    history.open("driver", CODE)
    conductor = Conductor(history, cells, CODE)
    conductor.documents.sweep_started(0.0)
    snapshots = Snapshots(conductor, NUM_TRIALS)
    trials: list[Proposed] = []
    for _ in range(NUM_TRIALS):
        began = time.process_time()
        trial = conductor.next()
        timed("next", began)
        assert isinstance(trial, Proposed)
        trials.append(trial)
    going = {trial.number: trial for trial in trials}
    for epoch in range(1, NUM_EPOCHS + 1):
        for trial in list(going.values()):
            value = 20.0 + trial.number * 7919 % 997 / 20 + epoch
            began = time.process_time()
            stop = conductor.report(trial.number, report(epoch, value))
            timed("report", began)
            if not stop and epoch < NUM_EPOCHS:
                continue
            if not stop:
                result = FitResult("finished", "", epoch, {"val/f1": value}, epoch).to_json()
                run = cells.run_store(trial.cell)
                run.put("result.json", to_json(result))
                summary = {"value": value, "best_epoch": epoch, "epochs": epoch, "codes": [CODE]}
                cells.settle(trial.cell, "finished", {**summary, "sweep": sweep.name})
            began = time.process_time()
            conductor.complete(trial.number, None if stop else report(epoch, value, "finished"))
            timed("end", began)
            began = time.process_time()
            snapshots.take(TrackingState("off"))
            timed("view", began)
            del going[trial.number]
    assert len(history.ended) == NUM_TRIALS
    each = {what: seconds / NUM_TRIALS for what, seconds in spent.items()}
    print(
        f"\n{NUM_TRIALS:,} trials at once ({sampler}), {NUM_EPOCHS} epochs: "
        f"{sum(each.values()):.3f} s of CPU of the driver a trial ("
        + ", ".join(f"{what} {1000 * seconds:.0f} ms" for what, seconds in each.items())
        + ")"
    )
    assert sum(each.values()) < LIMIT_SECONDS
