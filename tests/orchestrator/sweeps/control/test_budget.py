"""Budgets through the real conductor: what a sweep has used counts over all its drivers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.search.protocol import Signal
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.control.trial_report import Report
from orchestrator.sweeps.record.event_log import EventLog, Proposed
from orchestrator.sweeps.record.history import History
from shapca.storage import FolderStore
from tests.orchestrator.fakes import CODE, FakeFactory, execute, open_sweep, sweep_config


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(folder: Path, clock: Clock, **changes: Any) -> Conductor:
    """A sweep taken up by a driver at the clock's time."""
    sweep, store = sweep_config(scheduler={"kind": "none"}, **changes), FolderStore(folder)
    factory: Any = FakeFactory()
    history = History(sweep, EventLog.load(store, sweep.name), factory, clock)
    history.open("driver", CODE)
    conductor = Conductor(history, CellStore(store), code=CODE)
    conductor.documents.sweep_started(clock.now)
    return conductor


def say(epoch: int, seconds: float, state: Any = "running") -> Report:
    return Report(epoch, 50.0 + epoch, epoch, state, state != "running", None, epoch, seconds)


def start(conductor: Conductor) -> int:
    following = conductor.next()
    assert isinstance(following, Proposed)
    return following.number


def test_wall_time_stops_running_trials_and_counts_over_drivers(tmp_path: Path) -> None:
    clock, budget = Clock(), {"wall_hours": 2}
    first = opened(tmp_path, clock, budget=budget)
    number = start(first)
    clock.now += 3600
    assert not first.report(number, say(1, 3600))  # goes on
    first.complete(number, say(2, 3600, "finished"))
    # A second driver, much later: the hour that the first one worked counts, the pause does not.
    clock.now += 50 * 3600
    second = opened(tmp_path, clock, budget=budget)
    assert second.history.wall_seconds() == pytest.approx(3600, abs=1)
    number = start(second)
    clock.now += 1800
    assert not second.report(number, say(1, 1800))
    clock.now += 1801
    assert second.report(number, say(2, 3601))  # told to stop
    second.complete(number)
    assert second.halted == "its budget of 2 hours is used up"
    assert second.next() is Signal.DONE
    # It is not lost: more time, and it goes on with that very trial.
    third = opened(tmp_path, clock, budget={"wall_hours": 3})
    assert start(third) == number


def test_trying_failed_cells_again_does_not_count_the_pause_as_work(tmp_path: Path) -> None:
    clock, budget = Clock(), {"wall_hours": 2}
    first = opened(tmp_path, clock, budget=budget)
    number = start(first)
    clock.now += 3600
    first.complete(number, say(1, 3600, "failed"))
    clock.now += 50 * 3600
    cells, factory = CellStore(FolderStore(tmp_path)), FakeFactory()
    sweep = first.history.sweep
    history = History(sweep, EventLog.load(cells.store, sweep.name), cast("Any", factory), clock)
    assert history.retry_failed(cells) == 1  # before its driver opens
    second = opened(tmp_path, clock, budget=budget)
    assert second.history.wall_seconds() == pytest.approx(3600, abs=1)
    assert second.next() is not Signal.DONE


def test_gpu_hours_are_hours_times_gpus_of_running_and_ended_trials(tmp_path: Path) -> None:
    clock = Clock()
    sweep: dict[str, Any] = {"budget": {"gpu_hours": 1}, "resources": {"gpu": 0.5}}
    conductor = opened(tmp_path, clock, **sweep)
    first, second = start(conductor), start(conductor)
    conductor.complete(first, say(4, 3600, "finished"))  # half a GPU for an hour: 0.5
    assert not conductor.report(second, say(1, 3500))
    assert conductor.report(second, say(2, 3601))
    assert conductor.halted == "its budget of 1 GPU hour is used up"
    conductor.complete(second)
    assert conductor.next() is Signal.DONE


def test_gpu_hours_count_lost_processes_and_interrupted_drivers(tmp_path: Path) -> None:
    clock = Clock()
    sweep: dict[str, Any] = {"budget": {"gpu_hours": 3}, "resources": {"gpu": 1}}
    conductor = opened(tmp_path, clock, **sweep)
    number = start(conductor)
    assert not conductor.report(number, say(3, 3600))
    assert not conductor.report(number, say(1, 60))  # its process was lost: another began anew
    clock.now += 3660
    conductor.interrupt("interrupted")
    again = opened(tmp_path, clock, **sweep)
    assert again.history.trial_seconds() == 3660
    assert again.history.wall_seconds() == pytest.approx(3660)  # not only until the last proposal
    assert start(again) == number
    assert not again.report(number, say(4, 7139))
    assert again.report(number, say(5, 7140))
    again.complete(number, say(6, 7200, "finished"))
    assert again.history.ended[number].seconds == 7200
    assert again.history.trial_seconds() == 3660 + 7200


def test_gpu_hours_do_not_count_what_uses_no_gpu(tmp_path: Path) -> None:
    conductor = opened(tmp_path, Clock(), budget={"gpu_hours": 0.001})
    number = start(conductor)
    assert not conductor.report(number, say(1, 1e6))
    assert conductor.halted is None


def test_cells_count_those_running_and_not_those_found(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"scheduler": {"kind": "none"}, "keep_models": "all"}
    done = open_sweep(tmp_path, sweep_config(budget={"cells": 2}, **changes))
    execute(done, tmp_path)
    assert len(done.history.ended) == 2
    # Another sweep finds those two, and has three of its own.
    other = open_sweep(tmp_path, sweep_config(name="other", budget={"cells": 3}, **changes))
    numbers = [start(other) for _ in range(3)]
    assert [end.found for end in other.history.ended.values()] == [True, True]
    assert numbers == [3, 4, 5]
    assert other.next() is Signal.WAIT  # a running one may still fail: then it counts all the same
    assert other.halted == "its budget of 3 cells is used up"


def test_a_target_ends_the_search_and_is_confirmed(tmp_path: Path) -> None:
    conductor = opened(tmp_path, Clock(), budget={"target": 53.5})
    numbers = []
    for last in (52, 53, 54):
        number = start(conductor)
        numbers.append(number)
        conductor.report(number, replace(say(4, 1.0), value=float(last)))
        conductor.complete(number, replace(say(4, 1.0, "finished"), value=float(last)))
    start(conductor)
    phases = [event.phase for event in conductor.history.proposed.values()]
    assert phases[:3] == ["search"] * 3
    assert phases[3] != "search"  # not a fourth configuration, though six were asked for
    assert conductor.halted is None
