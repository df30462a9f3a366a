"""A driver whose data folder no other process sees, and that loses it once it is packaged.

`python -m tests.orchestrator.drive_hidden SPACE STORAGE DATA`: `DATA` is a folder of prepared data
sets. First a sweep is tried whose storage the nodes do not see. Prints what was found as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from orchestrator.cluster import nodes
from orchestrator.cluster.session import RayOptions
from orchestrator.config.sweep import SweepConfig
from orchestrator.sweeps import driver
from orchestrator.sweeps.views.summary import outcome_json
from shapca.errors import InputError


def hidden(folder: Path) -> str:
    """A path to the folder that means nothing in any other process."""
    return f"/proc/self/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}"


def main(space: str, storage: str, data: str) -> None:
    sweep = SweepConfig.load(space)
    ray = RayOptions(os.environ["RAY_ADDRESS"])
    found: dict[str, Any] = {}
    unseen = Path(data).parent / "unseen"
    unseen.mkdir()
    options = driver.SweepOptions(hidden(unseen), "none", Path(data), ray)
    try:
        driver.run_sweep(sweep, options)
    except InputError as error:
        found["refused"] = str(error)
        found["cells"] = len(list(unseen.glob("cells/*/epochs/*")))

    root, packages = Path(hidden(Path(data))), []

    def deliver_and_lose(*arguments: Any, **named: Any) -> Any:
        delivery = nodes.deliver(*arguments, **named)
        packages.append(delivery is not None)
        shutil.rmtree(data)
        return delivery

    with mock.patch.object(driver, "deliver", deliver_and_lose):
        outcome = driver.run_sweep(sweep, driver.SweepOptions(storage, "none", root, ray))
    found |= {"outcome": outcome_json(outcome), "packaged": packages}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
