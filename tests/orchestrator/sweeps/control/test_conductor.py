"""A sweep's decisions, executed in this process with a training that costs nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.protocol import Signal
from orchestrator.store.address import StorageLost
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.control.retention import Retention
from orchestrator.sweeps.control.reuse import StaleCellsError
from orchestrator.sweeps.record.declaration import remember
from orchestrator.sweeps.record.event_log import Ended, Proposed
from orchestrator.sweeps.record.outcome import _result
from orchestrator.sweeps.record.status import sweep_status
from orchestrator.sweeps.trials.cell_run import CellRun
from orchestrator.tracking.run_document import read_runs
from shapca.config import RuntimeConfig
from shapca.runs.epochs import EpochRecord
from shapca.storage import FolderStore, to_json
from tests.orchestrator.fakes import (
    CODE,
    DIVERGES,
    EXHAUSTS,
    PLACE,
    RAISES,
    epochs_trained,
    execute,
    open_sweep,
    results,
    sweep_config,
    trained_epochs,
)


def finished_sweep(folder: Path, **changes: Any) -> Conductor:
    conductor = open_sweep(folder, sweep_config(**changes))
    execute(conductor, folder)
    return conductor


def test_a_sweep_runs_to_its_confirmed_winner(tmp_path: Path) -> None:
    conductor = finished_sweep(tmp_path)
    protocol = conductor.history.protocol
    confirmation = protocol.confirmation()
    assert confirmation is not None
    assert set(confirmation.scores) == {11, 12}
    cells = CellStore(FolderStore(tmp_path))
    tested = {key for key in cells.statuses() if cells.evaluation(key, "test")}
    confirmed = {event.cell for event in conductor.history.proposed.values() if event.test}
    assert tested == confirmed  # searching never looks at the test split
    assert len(confirmed) == 2
    assert "pruned" in {end.status for end in conductor.history.ended.values()}


@pytest.mark.parametrize("scheduler", ["asha", "median", "none"])
def test_a_sweep_killed_at_any_step_ends_like_an_undisturbed_one(
    tmp_path: Path, scheduler: str
) -> None:
    changes = {"scheduler": {"kind": scheduler}, "protocol": {"trials": 8}}
    undisturbed = finished_sweep(tmp_path / "whole", **changes)
    whole = epochs_trained(tmp_path / "whole")

    folder, lives, generator = tmp_path / "killed", 0, random.Random(7)
    while True:
        conductor = open_sweep(folder, sweep_config(**changes))
        last = generator.randrange(1, 9)  # steps that repeat recorded epochs count as well
        execute(conductor, folder, stop=lambda steps, last=last: steps == last)
        lives += 1
        if conductor.history.is_complete():
            break
        assert lives < 100
    assert lives > 6
    assert results(conductor) == results(undisturbed)
    assert epochs_trained(folder) == whole  # no epoch was trained twice


def test_a_finished_sweep_needs_no_step(tmp_path: Path) -> None:
    first = finished_sweep(tmp_path)
    again = open_sweep(tmp_path, sweep_config())
    assert again.history.is_complete()
    assert again.next() is Signal.DONE
    assert results(again) == results(first)


def test_cells_of_another_sweep_are_used_not_trained(tmp_path: Path) -> None:
    first = finished_sweep(tmp_path, keep_models="all")
    trained = epochs_trained(tmp_path)
    second = finished_sweep(tmp_path, name="second", keep_models="all")
    assert epochs_trained(tmp_path) == trained
    assert results(second) == results(first)
    documents = read_runs(FolderStore(tmp_path), "second")
    finished = [d for d in documents.values() if d.kind == "cell" and d.status == "finished"]
    assert finished
    assert all(document.tags["reused_from"] == "small" for document in finished)
    assert second.history.cells_trained() == 0


def test_a_cell_pruned_by_one_sweep_is_continued_by_another(tmp_path: Path) -> None:
    first = finished_sweep(tmp_path, keep_models="all")
    pruned = {e.number for e in first.history.ended.values() if e.status == "pruned"}
    second = finished_sweep(tmp_path, name="second", scheduler={"kind": "none"})
    ended = second.history.ended
    assert all(ended[number].status == "finished" for number in pruned)
    trained = trained_epochs(tmp_path)
    assert len(trained) == len(set(trained))  # it went on where it had been pruned


def space_of_failures(*dropouts: float) -> dict[str, Any]:
    return {
        "space": {"head.dropout": {"type": "choice", "values": list(dropouts)}},
        "protocol": {"sampler": "grid", "trials": 9, "shortlist": 1},
        "scheduler": {"kind": "none"},
    }


def sweep_of_failures(folder: Path, *dropouts: float) -> Conductor:
    config = sweep_config().model_copy(
        update={
            name: getattr(
                type(sweep_config()).model_validate(
                    {"name": "x", "experiment": {"data": {"dataset": "fake"}}, **changes}
                ),
                name,
            )
            for changes in [space_of_failures(*dropouts)]
            for name in ("space", "protocol", "scheduler")
        }
    )
    conductor = open_sweep(folder, config)
    execute(conductor, folder)
    return conductor


def test_failures_by_kind(tmp_path: Path) -> None:
    conductor = sweep_of_failures(tmp_path, 0.1, RAISES, EXHAUSTS, DIVERGES)
    ends = [conductor.history.ended[number] for number in (1, 2, 3, 4)]
    assert [end.status for end in ends] == ["finished", "failed", "failed", "diverged"]
    assert ends[1].reason == "ValueError: this data makes no sense"
    assert ends[2].reason is not None
    assert "batch size 28" in ends[2].reason
    assert "peak 12 MiB" in ends[2].reason
    assert "lower optimisation.batch_size" in ends[2].reason
    assert ends[3].reason == "the loss is nan"
    assert [tried.state for tried in conductor.history.protocol.history()] == [
        "finished",
        "failed",
        "failed",
        "failed",
    ]
    documents = read_runs(FolderStore(tmp_path), "small")
    keys = [conductor.history.proposed[number].cell for number in (1, 2, 3, 4)]
    statuses = [documents[f"search-{key}"].status for key in keys]
    assert statuses == ["finished", "failed", "failed", "failed"]
    assert conductor.history.protocol.winner() is not None


def test_failed_cells_are_tried_again_only_on_request(tmp_path: Path) -> None:
    conductor = sweep_of_failures(tmp_path, 0.1, RAISES)
    again = open_sweep(tmp_path, conductor.history.sweep)
    assert again.history.is_complete()
    assert again.history.retry_failed(CellStore(FolderStore(tmp_path))) == 1
    retried = open_sweep(tmp_path, conductor.history.sweep)
    steps = execute(retried, tmp_path)
    assert steps == 3  # the recorded epoch, the error, its report
    assert retried.history.ended[2].status == "failed"


def test_a_seed_counts_in_both_means_or_in_none(tmp_path: Path) -> None:
    history = finished_sweep(tmp_path).history
    cells = CellStore(FolderStore(tmp_path))
    confirmed = history.protocol.confirmation()
    assert confirmed is not None
    first, *others = confirmed.scores
    assert others
    whole = _result(history, cells, confirmed, "confirm")
    assert set(whole.test) == {first, *others}
    # As of one whose process was lost again and again once its test was scored.
    part = replace(confirmed, scores={first: confirmed.scores[first]})
    assert set(_result(history, cells, part, "confirm").test) == {first}


def test_weights_of_a_cell_that_another_sweep_is_training_are_left_alone(tmp_path: Path) -> None:
    history = finished_sweep(tmp_path).history
    cells = CellStore(FolderStore(tmp_path))
    number = next(n for n, end in history.ended.items() if end.status == "pruned")
    pruned = history.proposed[number].cell
    place = f"cells/{pruned}/checkpoint/0001/state.json"

    def resumed() -> Retention:
        return Retention(cells, history)

    assert cells.claim(pruned, "a-study") == "a-study"
    cells.store.put(place, b"{}")
    resumed().apply()
    assert cells.store.get(place) == b"{}"
    cells.let_go(pruned)  # interrupted: it is still the study's, which will go on from there
    resumed().apply()
    assert cells.store.get(place) == b"{}"
    cells.release(pruned)
    resumed().apply()
    assert cells.store.get(place) is None


def test_weights_stay_of_confirmed_cells_only(tmp_path: Path) -> None:
    conductor = finished_sweep(tmp_path)
    cells = CellStore(FolderStore(tmp_path))
    kept = {path.parts[-3] for path in tmp_path.glob("cells/*/best/*.safetensors")}
    assert kept == {event.cell for event in conductor.history.proposed.values() if event.test}
    assert not list(tmp_path.glob("cells/*/checkpoint/*/*"))
    assert all(cells.epochs(event.cell) for event in conductor.history.proposed.values())


def test_weights_of_leaders_stay_on_request(tmp_path: Path) -> None:
    conductor = finished_sweep(tmp_path, keep_models="leaders")
    kept = {path.parts[-3] for path in tmp_path.glob("cells/*/best/*.safetensors")}
    shortlisted = {s.configuration for s in conductor.history.protocol.shortlist()}
    events = conductor.history.proposed.values()
    assert kept == {event.cell for event in events if event.configuration in shortlisted}


def test_a_confirmed_cell_whose_weights_were_dropped_is_trained_again(tmp_path: Path) -> None:
    finished_sweep(tmp_path, protocol={"kind": "single", "trials": 3})
    second = finished_sweep(
        tmp_path, name="second", protocol={"trials": 3, "seeds": [5], "confirm_seeds": [1]}
    )
    confirmation = second.history.protocol.confirmation()
    assert confirmation is not None
    assert set(confirmation.scores) == {1}
    cell = second.history.proposed[len(second.history.proposed)].cell
    assert CellStore(FolderStore(tmp_path)).evaluation(cell, "test") is not None


def test_replicated_winner_is_tested_from_the_weights_it_has(tmp_path: Path) -> None:
    protocol = {"kind": "replicate", "trials": 3, "seeds": [1, 2]}
    conductor = finished_sweep(tmp_path, protocol=protocol)
    assert epochs_trained(tmp_path) == 3 * 2 * 4
    winner = conductor.history.protocol.winner()
    assert winner is not None
    documents = read_runs(FolderStore(tmp_path), "small")
    average = documents[f"configuration-{winner.configuration}"].metrics
    assert average["num_seeds"] == 2
    assert average["val/f1_mean"] == winner.mean
    assert "test/f1_mean" in average
    others = [d for d in documents.values() if d.kind == "configuration"]
    assert sum("test/f1_mean" in d.metrics for d in others) == 1


def test_documents_tell_the_whole_sweep(tmp_path: Path) -> None:
    conductor = finished_sweep(tmp_path)
    conductor.documents.sweep_ended("finished", 5.0, "note")
    documents = read_runs(FolderStore(tmp_path), "small")
    assert all(document.status != "running" for document in documents.values())
    parent = documents["sweep"]
    confirmation = conductor.history.protocol.confirmation()
    assert confirmation is not None
    assert parent.metrics["val/f1_mean"] == confirmation.mean
    for document in documents.values():
        assert document.parent is None or document.parent in documents
    pruned = next(d for d in documents.values() if d.status == "killed")
    assert pruned.tags["pruned_at"] == str(pruned.last_epoch)
    confirmed = documents[f"configuration-{confirmation.configuration}"]
    assert confirmed.name == "winner"
    assert confirmed.tags["seeds"] == "11 12"


def test_a_duplicate_proposal_costs_nothing(tmp_path: Path) -> None:
    space = {"alignment.objective": {"type": "choice", "values": ["shapley"]}}
    config = sweep_config(protocol={"sampler": "random", "trials": 4, "shortlist": 1})
    config = config.model_copy(
        update={"space": type(config).model_validate({"name": "x", "space": space}).space}
    )
    conductor = open_sweep(tmp_path, config)
    execute(conductor, tmp_path)
    assert epochs_trained(tmp_path) == 4 + 2 * 4  # one cell of the search, two to confirm
    assert [end.status for end in conductor.history.ended.values()] == ["finished"] * 6


def test_two_slots_never_train_one_cell_at_once(tmp_path: Path) -> None:
    space = {"alignment.objective": {"type": "choice", "values": ["shapley"]}}
    config = sweep_config(protocol={"sampler": "random", "trials": 4})
    config = config.model_copy(
        update={"space": type(config).model_validate({"name": "x", "space": space}).space}
    )
    conductor = open_sweep(tmp_path, config)
    assert isinstance(conductor.next(), Proposed)
    assert conductor.next() is Signal.WAIT


def test_a_cell_that_another_living_sweep_trains_is_waited_for(tmp_path: Path) -> None:
    from orchestrator.store.lease import Lease

    store = FolderStore(tmp_path)
    first = open_sweep(tmp_path, sweep_config())
    second = open_sweep(tmp_path, sweep_config(name="second"))
    with Lease(store, "small"):
        assert isinstance(first.next(), Proposed)
        assert second.next() is Signal.WAIT
        assert second.message is not None
        assert "which sweep small trains" in second.message
    second._claim_checked = 0.0
    assert isinstance(second.next(), Proposed)  # the other driver is gone
    assert second.message is None


def test_results_of_other_code_are_never_mixed_in_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CODE", "old")
    old = open_sweep(tmp_path, sweep_config(), code="old")
    execute(old, tmp_path)
    monkeypatch.setenv("FAKE_CODE", CODE)
    trained = epochs_trained(tmp_path)

    fresh = open_sweep(tmp_path, sweep_config(name="second"))
    with pytest.raises(StaleCellsError, match="--accept-stale"):
        execute(fresh, tmp_path)
    accepting = open_sweep(tmp_path, sweep_config(name="third"), stale="accept")
    execute(accepting, tmp_path)

    assert len(old.history.stale(CODE)) == len(
        {event.cell for event in old.history.proposed.values()}
    )
    rerun = open_sweep(tmp_path, sweep_config(name="fourth"), stale="rerun")
    execute(rerun, tmp_path)
    assert rerun.history.stale(CODE) == []
    assert epochs_trained(tmp_path) >= trained


def test_a_stale_sweep_starts_over_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_CODE", "old")
    old = open_sweep(tmp_path, sweep_config(), code="old")
    execute(old, tmp_path)
    monkeypatch.setenv("FAKE_CODE", CODE)
    again = open_sweep(tmp_path, sweep_config())
    again.history.restart(CellStore(FolderStore(tmp_path)), again.history.stale(CODE))
    assert not again.history.proposed
    anew = open_sweep(tmp_path, sweep_config())
    execute(anew, tmp_path)
    assert anew.history.stale(CODE) == []
    assert results(anew) == results(old)


@pytest.mark.parametrize(
    ("budget", "ends"),
    [({"cells": 2}, 2), ({"wall_hours": 1e-9}, 0), ({"target": 0.0}, None)],
)
def test_budgets(tmp_path: Path, budget: dict[str, float], ends: int | None) -> None:
    conductor = open_sweep(tmp_path, sweep_config(budget=budget))
    execute(conductor, tmp_path)
    if ends is None:  # the first configuration reaches the target: it is confirmed
        assert conductor.halted is None
        assert [e.phase for e in conductor.history.proposed.values()] == [
            "search",
            "confirm",
            "confirm",
        ]
        return
    assert conductor.halted is not None
    assert "is used up" in conductor.halted
    assert len(conductor.history.ended) == ends
    more = open_sweep(tmp_path, sweep_config())
    execute(more, tmp_path)
    assert more.history.is_complete()


def test_gpu_hours_count_what_trials_occupied(tmp_path: Path) -> None:
    changes = {"budget": {"gpu_hours": 1e-9}, "resources": {"gpu": 0.5}}
    conductor = open_sweep(tmp_path, sweep_config(**changes))
    execute(conductor, tmp_path)
    assert conductor.halted is not None
    assert "GPU hours" in conductor.halted


def test_interrupted_trials_get_a_final_status_and_go_on(tmp_path: Path) -> None:
    conductor = open_sweep(tmp_path, sweep_config())
    execute(conductor, tmp_path, stop=lambda steps: steps == 2)
    conductor.interrupt("interrupted")
    documents = read_runs(FolderStore(tmp_path), "small")
    assert documents[f"search-{conductor.history.proposed[1].cell}"].status == "killed"
    again = open_sweep(tmp_path, sweep_config())
    execute(again, tmp_path)
    documents = read_runs(FolderStore(tmp_path), "small")
    assert documents[f"search-{conductor.history.proposed[1].cell}"].status == "finished"
    assert "interrupted" not in documents[f"search-{conductor.history.proposed[1].cell}"].tags


def test_an_end_is_recorded_once_its_documents_are_written(tmp_path: Path) -> None:
    conductor = finished_sweep(tmp_path)
    kinds = [type(event).__name__ for event in conductor.history.log.events]
    assert kinds[0] == "Opened"
    assert kinds.count("Proposed") == kinds.count("Ended")
    ended = next(e for e in conductor.history.log.events if isinstance(e, Ended))
    assert ended.codes == [CODE]


def test_a_process_whose_cell_was_given_away_leaves_it_alone(tmp_path: Path) -> None:
    conductor = open_sweep(tmp_path, sweep_config())
    given = conductor.next()
    assert isinstance(given, Proposed)

    def process() -> CellRun:
        return CellRun(
            CellStore(FolderStore(tmp_path)), given.cell, test=False, sweep="small",
            runtime=RuntimeConfig(), training=PLACE,
        )  # fmt: skip

    lost = process()  # its node is out of reach, and taken for lost
    lost.step()
    successor = process()
    assert successor.step().epoch == 1
    told = lost.step()  # not an error, which Tune would answer with another process
    assert told.state == "superseded"
    assert given.cell in str(told.reason)
    assert successor.step().epoch == 2
    assert CellStore(FolderStore(tmp_path)).status(given.cell) is None
    assert len(trained_epochs(tmp_path)) == 2


def test_a_proposal_that_is_no_experiment_fails_with_its_reason_and_the_sweep_goes_on(
    tmp_path: Path,
) -> None:
    # Its corners are valid. A file like this is refused, but not all of a space can be looked at.
    space = {"optimisation.batch_size": {"type": "float", "low": 4, "high": 6, "num": 4}}
    protocol = {"kind": "single", "trials": 4, "sampler": "grid"}
    tree = sweep_config(scheduler={"kind": "none"}).model_dump()
    sweep = SweepConfig.model_validate({**tree, "space": space, "protocol": protocol})
    stopped = open_sweep(tmp_path, sweep)
    assert execute(stopped, tmp_path, stop=lambda steps: steps == 1) == 1
    conductor = open_sweep(tmp_path, sweep)
    execute(conductor, tmp_path)
    ends = {number: end.status for number, end in conductor.history.ended.items()}
    assert ends == {1: "finished", 2: "failed", 3: "failed", 4: "finished"}
    reason = str(conductor.history.ended[2].reason)
    assert "batch_size: Input should be a valid integer" in reason
    cell = conductor.history.proposed[2].cell
    document = read_runs(FolderStore(tmp_path), "small")[f"search-{cell}"]
    assert document.status == "failed"
    assert document.tags["error"] == reason
    assert document.params == {"optimisation.batch_size": str(14 / 3), "seed": "1"}
    assert open_sweep(tmp_path, sweep).history.is_complete()
    remember(FolderStore(tmp_path), sweep)
    assert sweep_status(FolderStore(tmp_path), "small", "storage").state == "complete"


def test_a_trial_of_a_driver_that_was_replaced_touches_nothing(tmp_path: Path) -> None:
    conductor = open_sweep(tmp_path, sweep_config())
    given = conductor.next()
    assert isinstance(given, Proposed)
    store = FolderStore(tmp_path)
    for number in (4, 5):  # ours, then that of who took the sweep over while we were suspended
        store.put(f"sweeps/small/lease/{number:06}.json", b"{}")

    def trial(lease: int) -> CellRun:
        return CellRun(
            CellStore(store), given.cell, test=False, sweep="small",
            runtime=RuntimeConfig(), training=PLACE, lease=lease,
        )  # fmt: skip

    before = store.list()
    report = trial(4).step()
    assert report.state == "superseded"
    assert store.list() == before
    conductor.complete(given.number, report)
    assert CellStore(store).status(given.cell) is None
    assert trial(5).step().epoch == 1


def test_a_trial_without_a_storage_stops_the_sweep_and_gives_no_verdict(tmp_path: Path) -> None:
    conductor = open_sweep(tmp_path / "storage", sweep_config())
    given = conductor.next()
    assert isinstance(given, Proposed)
    store = FolderStore(tmp_path / "storage")
    run = CellRun(
        CellStore(store), given.cell, test=False, sweep="small",
        runtime=RuntimeConfig(), training=PLACE,
    )  # fmt: skip
    assert run.step().state == "running"
    (tmp_path / "storage").rename(tmp_path / "elsewhere")
    report = run.step()
    assert report.state == "stopped"
    assert f"{tmp_path}/storage: the storage is gone" in str(report.reason)
    with pytest.raises(StorageLost, match="the storage is gone"):
        conductor.complete(given.number, report)
    assert not (tmp_path / "storage").exists()
    assert CellStore(FolderStore(tmp_path / "elsewhere")).status(given.cell) is None


def test_a_cell_that_ran_the_machine_out_of_memory_says_how(tmp_path: Path) -> None:
    conductor = open_sweep(tmp_path, sweep_config())
    given = conductor.next()
    assert isinstance(given, Proposed)
    cells = CellStore(FolderStore(tmp_path))
    metrics = {"val/f1": 1.0, "peak_memory_mb": 1234.4}
    record = EpochRecord(1, metrics, is_best=True, seconds=1.0, finished_at=1.0).to_json()
    cells.store.put(f"cells/{given.cell}/epochs/0001.json", to_json(record))
    conductor.lost_for_memory(given.number)
    reason = (cells.summary(given.cell) or {})["reason"]
    assert reason.startswith("out of memory in epoch 2: batch size 28, peak 1,234 MiB before")
