"""A driver of the fake sweep as a process of its own: `python -m tests.orchestrator.drive STORAGE`.

Prints what was found as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from unittest import mock

from orchestrator import sweep as driver
from orchestrator.ray_watch import RayLostError
from orchestrator.results import outcome_json
from shapca.cli import run_application
from tests.orchestrator.fakes import CODE, PLACE, FakeFactory, sweep_config


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("storage")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--tracking-uri", default="none")
    arguments = parser.parse_args()
    config = sweep_config(
        protocol={"trials": arguments.trials}, resources={"max_concurrent": arguments.slots}
    )
    options = driver.SweepOptions(storage=arguments.storage, tracking_uri=arguments.tracking_uri)
    with (
        mock.patch.object(driver, "CellFactory", return_value=FakeFactory()),
        mock.patch.object(driver, "code_fingerprint", return_value=CODE),
    ):
        try:
            outcome = driver.run_sweep(config, options, training=PLACE)
        except RayLostError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    print(json.dumps({**outcome_json(outcome), "modules": sorted(sys.modules)}))
    sys.exit(130 if outcome.status == "interrupted" else 0)


if __name__ == "__main__":
    run_application(lambda args=None: main())  # type: ignore[arg-type]
