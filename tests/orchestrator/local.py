"""Sweeps and studies driven in this process: real drivers and trainings, no Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from orchestrator.config.sweep import SweepConfig
from orchestrator.store.address import open_store
from orchestrator.store.cells import CellStore
from orchestrator.sweeps import driver
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.record.event_log import Proposed
from orchestrator.sweeps.trials.cell_run import CellRun
from shapca.config import RuntimeConfig


def run_trials(
    conductor: Conductor,
    sweep: SweepConfig,
    *,
    storage: str,
    runtime: RuntimeConfig,
    slots: int,
    on_change: Callable[[], None],
    check: Callable[[], None],
    training: str,
    delivery: object,
    lease: int,
) -> None:
    """One cell after the other."""
    assert delivery is None, "nothing is packaged for this very process"
    cells = CellStore(open_store(storage))
    while isinstance(following := conductor.next(), Proposed):
        check()
        number, report = following.number, None
        while report is None or report.state == "running":
            if report is None:
                run = CellRun(
                    cells,
                    following.cell,
                    test=following.test,
                    sweep=sweep.name,
                    runtime=runtime,
                    training=training,
                    lease=lease,
                )
            try:
                report = run.step()
            except Exception:  # as Tune does: a fresh process reads the verdict
                report = None
                continue
            if report.state == "running":
                conductor.report(number, report)
        conductor.complete(number, report)
        on_change()


@contextlib.contextmanager
def without_ray() -> Iterator[None]:
    """Within it drivers work in this process."""
    changes: dict[str, Any] = {
        "ray_session": lambda options: contextlib.nullcontext(),
        "node_resources": lambda: [{"CPU": 1.0}],
        "check_resources": lambda nodes, resources, wait: 1,
        "check_storage": lambda storage, store: None,
        "check_code": lambda: None,
        "deliver": lambda *arguments, **options: None,
        "watched": lambda **_: contextlib.nullcontext(),
        "run_trials": run_trials,
    }
    with contextlib.ExitStack() as stack:
        for name, replacement in changes.items():
            stack.enter_context(mock.patch.object(driver, name, replacement))
        yield
