"""What a trial asks of a bucket, and that it may be killed between any two requests."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore.store
import pytest

import shapca.training.run
from orchestrator.config.sweep import SweepConfig
from orchestrator.search.protocol import Signal
from orchestrator.store.bucket import BucketStore
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.record.event_log import EventLog, Proposed
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.trials.cell_run import CellRun
from orchestrator.sweeps.trials.runner import EPOCHS_A_CHECKPOINT
from shapca.config import RuntimeConfig
from shapca.runs.code import code_fingerprint
from shapca.storage import ObjectStore
from tests.factories import tiny_config
from tests.orchestrator.fakes import results
from tests.shapca.training.test_resume import outcome
from tests.stores import CountingStore, DyingStore, Killed, MemoryStore

MOST_REQUESTS = 25


def sweep_of(num_trials: int, num_epochs: int) -> SweepConfig:
    config = tiny_config(
        **{
            "image.encoder": "none",
            "alignment.objective": "none",
            "optimisation.epochs": num_epochs,
            "optimisation.patience": num_epochs,
        }
    )
    rates = {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}
    return SweepConfig.model_validate(
        {
            "name": "s",
            "experiment": config.model_dump(mode="json"),
            "space": {"optimisation.learning_rate": rates},
            "protocol": {"kind": "single", "trials": num_trials, "sampler": "random"},
            "scheduler": {"kind": "none"},
        }
    )


def conduct(
    store: ObjectStore,
    sweep: SweepConfig,
    root: Path,
    every: int,
    between: Callable[[], None] = lambda: None,
) -> Conductor:
    """Work on a sweep as its driver and a trial's process do, one trial after another.

    Args:
        store: The storage.
        sweep: The sweep.
        root: Data root.
        every: Epochs from one checkpoint to the next.
        between: Called before each trial.
    """
    cells = CellStore(store)
    history = History(sweep, EventLog.load(store, sweep.name), CellFactory(root), lambda: 1.0)
    if not history.is_complete():
        history.open("driver", code_fingerprint())
    conductor = Conductor(history, cells, code=code_fingerprint())
    conductor.documents.sweep_started(0.0)
    runtime = RuntimeConfig(data_root=root, device="cpu", num_threads=1, checkpoint_every=every)
    while True:
        between()
        event = conductor.next()
        if not isinstance(event, Proposed):
            assert event is Signal.DONE
            return conductor
        trial = CellRun(
            cells, event.cell, test=event.test, sweep=sweep.name, runtime=runtime, lease=0,
            cell=conductor.cell_of(event),
        )  # fmt: skip
        report = trial.step()
        while report.state == "running" and not conductor.report(event.number, report):
            report = trial.step()
        conductor.complete(event.number, report)
        trial.close()


def with_rising_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every epoch be the best so far, so that as much as possible is written and removed."""
    original, scores = shapca.training.run.score, itertools.count(1)

    def score(*args: Any, **kwargs: Any) -> Any:
        evaluation = original(*args, **kwargs)
        evaluation.metrics["f1"] = float(next(scores))
        return evaluation

    monkeypatch.setattr(shapca.training.run, "score", score)


def test_a_trial_of_ten_epochs_is_few_requests(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third one: the first pays for what a sweep needs once, the next replaces its weights."""
    with_rising_scores(monkeypatch)
    store, starts = CountingStore(), []
    conduct(
        store, sweep_of(3, 10), tiny_root, EPOCHS_A_CHECKPOINT,
        lambda: starts.append(len(store.requests)),
    )  # fmt: skip
    requests = store.requests[starts[2] : starts[3]]
    print(f"\na trial of ten epochs: {len(requests)} requests")
    print("\n".join(" ".join(request) for request in requests))
    assert len(requests) <= MOST_REQUESTS
    assert any(kind == "delete" and "/best/" in names[0] for kind, *names in requests)


def left(store: MemoryStore) -> dict[str, Any]:
    """What a sweep leaves of its cells and verdicts."""
    found = {name: value for name, value in outcome(store).items() if name.startswith("cells/")}
    return {**found, "verdicts": store.list("status/")}


def test_killed_after_any_request_a_trial_ends_as_if_undisturbed(tiny_root: Path) -> None:
    """By a driver and a trial's process at once; whoever comes next finds what they left."""
    sweep, undisturbed = sweep_of(1, 4), MemoryStore()
    counting = DyingStore(undisturbed)
    wanted = results(conduct(counting, sweep, tiny_root, every=2))
    assert counting.num_changes < MOST_REQUESTS
    for dies_at in range(1, counting.num_changes + 1):
        store = MemoryStore()
        with pytest.raises(Killed):
            conduct(DyingStore(store, dies_at), sweep, tiny_root, every=2)
        assert results(conduct(store, sweep, tiny_root, every=2)) == wanted, dies_at
        assert left(store) == left(undisturbed), dies_at


def test_a_pruned_trial_leaves_its_epochs(tiny_root: Path) -> None:
    """Those that its process had not committed are written by the driver."""
    sweep, store = sweep_of(1, 10), MemoryStore()
    stop_at = 4

    class Pruner:
        def observe(self, number: int, epoch: int, value: float) -> bool:
            return epoch == stop_at

        def end(self, number: int) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.sweeps.control.reuse.Reuse.pruner", Pruner())
        conductor = conduct(store, sweep, tiny_root, every=3)
    (event,) = conductor.history.proposed.values()
    assert conductor.history.ended[event.number].status == "pruned"
    cells = CellStore(store)
    assert [record["epoch"] for record in cells.epochs(event.cell)] == [1, 2, 3, 4]
    assert cells.num_epochs(event.cell) == 4
    assert json.loads(store.objects[f"cells/{event.cell}/epochs/0004.json"])["epoch"] == 4
    assert store.list(f"cells/{event.cell}/checkpoint/") == [
        f"cells/{event.cell}/checkpoint/0003.safetensors"
    ]


RATE = "optimisation.learning_rate"


def searching(name: str) -> SweepConfig:
    """Two configurations, of which the weights of one are kept."""
    tree = sweep_of(2, 2).model_dump(mode="json")
    tree["protocol"] |= {"seeds": [1], "first": [{RATE: 0.001}, {RATE: 0.003}]}
    return SweepConfig.model_validate({**tree, "name": name})


def confirming(rate: float) -> SweepConfig:
    """One configuration, whose test score is wanted with the seed of `searching`."""
    tree = sweep_of(1, 2).model_dump(mode="json")
    protocol = {
        "kind": "confirm", "trials": 1, "sampler": "random", "first": [{RATE: rate}],
        "seeds": [5], "shortlist": 1, "shortlist_seeds": [], "confirm_seeds": [1],
    }  # fmt: skip
    return SweepConfig.model_validate({**tree, "name": "confirming", "protocol": protocol})


@pytest.fixture(scope="module")
def searched(tiny_root: Path) -> tuple[MemoryStore, Proposed]:
    """A storage with a search, and the proposal whose weights were dropped."""
    store = MemoryStore()
    conductor = conduct(store, searching("search"), tiny_root, every=1)
    cells = CellStore(store)
    (lost,) = [p for p in conductor.history.proposed.values() if not cells.has_weights(p.cell)]
    return store, lost


def copy_of(store: MemoryStore) -> MemoryStore:
    copied = MemoryStore()
    copied.objects = dict(store.objects)
    return copied


def test_a_bucket_gives_what_another_sweep_found(
    searched: tuple[MemoryStore, Proposed], tiny_root: Path
) -> None:
    bucket = BucketStore.__new__(BucketStore)
    bucket.uri, bucket._objects = "s3://bucket", obstore.store.MemoryStore()
    for name, content in searched[0].objects.items():
        bucket.put(name, content)
    ended = conduct(bucket, searching("again"), tiny_root, every=1).history.ended
    assert [(end.found, end.trained) for end in ended.values()] == [(True, 0), (True, 0)]


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4, 5])
def test_a_cell_whose_reset_was_cut_off_is_trained_again(
    dies_at: int, searched: tuple[MemoryStore, Proposed], tiny_root: Path
) -> None:
    """Its weights were dropped, and now its test score is wanted."""
    store, lost = copy_of(searched[0]), searched[1]
    with contextlib.suppress(Killed):
        CellStore(DyingStore(store, dies_at)).reset(lost.cell)
    ended = conduct(store, confirming(lost.values[RATE]), tiny_root, every=1).history.ended
    assert [end.status for end in ended.values()] == ["finished", "finished"]
    assert CellStore(store).evaluation(lost.cell, "test") is not None


def test_a_failure_of_which_nothing_is_left_is_tried_again(
    searched: tuple[MemoryStore, Proposed], tiny_root: Path
) -> None:
    """Someone removed the cell's folder, to begin anew."""
    store, lost = copy_of(searched[0]), searched[1]
    store.delete(*store.list(f"cells/{lost.cell}/"), f"status/{lost.cell}.finished")
    cells = CellStore(store)
    cells.settle(lost.cell, "failed", {"reason": "old", "sweep": "z"})
    conduct(store, searching("again"), tiny_root, every=1)
    assert store.list(f"status/{lost.cell}") == [f"status/{lost.cell}.finished"]


def test_a_process_that_was_replaced_in_its_first_epoch_writes_nothing(
    searched: tuple[MemoryStore, Proposed], tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, lost = copy_of(searched[0]), searched[1]
    cells = CellStore(store)
    cells.reset(lost.cell)
    original = shapca.training.run.score

    def score(*args: Any, **kwargs: Any) -> Any:
        cells.begin_attempt(lost.cell)  # another process, while this one trained for long
        return original(*args, **kwargs)

    monkeypatch.setattr(shapca.training.run, "score", score)
    monkeypatch.setattr("orchestrator.sweeps.trials.cell_run.CERTAIN_SECONDS", 0.0)
    runtime = RuntimeConfig(data_root=tiny_root, device="cpu", num_threads=1)
    trial = CellRun(cells, lost.cell, test=False, sweep="again", runtime=runtime)
    assert trial.step().state == "superseded"
    written = [name.split("/")[2] for name in store.list(f"cells/{lost.cell}/")]
    assert sorted(set(written)) == ["attempt.json", "cell.json", "run.json"]
