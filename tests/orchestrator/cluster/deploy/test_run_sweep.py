"""The script that `ray submit` runs on a cluster's head ends as `orchestrator sweep` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from orchestrator.cluster import deploy
from orchestrator.store.lease import Lease
from shapca.data.prepared import PreparedData
from shapca.storage import FolderStore
from tests.factories import tiny_config
from tests.paths import ROOT

SCRIPT = Path(deploy.__file__).with_name("run_sweep.py")
# Reaching Ray fails in the process that the script becomes.
FAILING = """
import sys
if "orchestrator" in sys.orig_argv:
    from orchestrator.cluster.watch import RayLostError
    from orchestrator.store.lease import LeaseLost
    from orchestrator.sweeps import driver

    def fail(options):
        raise {error}

    driver.ray_session = fail
"""


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
            "SHAPCA_PROJECT": str(folder / "none"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


@pytest.fixture
def arguments(tmp_path: Path, tiny_mner: PreparedData) -> list[object]:
    """A sweep of one cell, as the script gets it."""
    experiment = tiny_config(**{"image.encoder": "none", "optimisation.epochs": 1})
    tree = {
        "name": "small",
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "space": {"alignment.alpha": {"type": "choice", "values": [0.5]}},
        "protocol": {"kind": "single", "sampler": "grid", "trials": 1},
    }
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(tree), encoding="utf-8")
    options = ["--storage", tmp_path / "storage", "--data-root", tiny_mner.folder.parent]
    return [space, *options, "--tracking-uri", "none"]


def test_it_asks_for_a_space(tmp_path: Path) -> None:
    done = run(tmp_path, "--storage", "x")
    assert done.returncode == 1
    assert "expected the sweep's file first" in done.stderr


def test_a_lease_that_another_driver_holds(tmp_path: Path, arguments: list[object]) -> None:
    with Lease(FolderStore(tmp_path / "storage"), "small"):
        done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: sweep small: process {os.getpid()} on ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "RayLostError('the head of Ray has not answered for 20 s')",
            "error: the head of Ray has not answered for 20 s. Nothing that was trained is lost",
        ),
        (
            "LeaseLost('sweep small: another driver has taken it over')",
            "error: sweep small: another driver has taken it over",
        ),
    ],
)
def test_what_it_works_on_is_lost(
    error: str, message: str, tmp_path: Path, arguments: list[object]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAILING.format(error=error))
    done = run(tmp_path, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
