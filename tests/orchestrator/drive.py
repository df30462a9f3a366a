"""A driver of the fake sweep as a process of its own: `python -m tests.orchestrator.drive STORAGE`.

Prints what was found as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from typing import Any
from unittest import mock

from orchestrator.cli import run_driver
from orchestrator.reports.make import report_at_the_end
from orchestrator.sweeps import driver
from orchestrator.sweeps.views.summary import outcome_json
from tests.orchestrator.fakes import CODE, PLACE, FakeFactory, sweep_config


def note_connections(file: str) -> None:
    """Write down every connection that this process makes: which thread, and where to."""
    notes = open(file, "a", buffering=1, encoding="utf-8")  # noqa: SIM115

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            notes.write(f"{threading.current_thread().name} {arguments[1][1]}\n")

    sys.addaudithook(hook)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("storage")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--tracking-uri", default="none")
    parser.add_argument("--connections")
    arguments = parser.parse_args()
    if arguments.connections:
        note_connections(arguments.connections)
    config = sweep_config(
        protocol={"trials": arguments.trials}, resources={"max_concurrent": arguments.slots}
    )
    options = driver.SweepOptions(storage=arguments.storage, tracking_uri=arguments.tracking_uri)
    with (
        mock.patch.object(driver, "CellFactory", return_value=FakeFactory()),
        mock.patch.object(driver, "code_fingerprint", return_value=CODE),
    ):
        outcome = driver.run_sweep(config, options, report=report_at_the_end, training=PLACE)
    print(json.dumps({**outcome_json(outcome), "modules": sorted(sys.modules)}))
    sys.exit(130 if outcome.status == "interrupted" else 0)


if __name__ == "__main__":
    run_driver(lambda args=None: main())  # type: ignore[arg-type]
