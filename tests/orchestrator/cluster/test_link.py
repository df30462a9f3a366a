"""A node that nobody reaches for half a minute: the sweep ends as if nothing had been."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.factories import tiny_config, tiny_data
from tests.orchestrator.clusters import LocalCluster
from tests.orchestrator.fakes import trained_epochs
from tests.orchestrator.links import Machines
from tests.orchestrator.publishing import tracked
from tests.paths import ROOT
from tests.soak.processes import command_of, descendants, mentioning
from tests.soak.test_soak import assert_equal

SECONDS_DOWN = 30.0
NUM_EPOCHS = 6
GIVEN_UP = {
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
}
WAITED_FOR = {"RAY_health_check_timeout_ms": "60000", "RAY_health_check_failure_threshold": "100"}


@pytest.fixture
def machines() -> Iterator[Machines]:
    found = Machines.joined("head", "node1", "node2")
    if found is None:
        pytest.skip("network namespaces need the rights to make them")
    yield found
    found.close()


def space_of(folder: Path) -> Path:
    experiment = tiny_config(
        **{"image.encoder": "none", "optimisation.epochs": NUM_EPOCHS, "optimisation.patience": 9}
    )
    tree = {
        "name": "link",
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "space": {
            "optimisation.learning_rate": {"type": "float", "low": 5e-4, "high": 5e-3, "log": True},
        },
        "protocol": {
            "trials": 5, "startup_trials": 3, "shortlist": 2, "shortlist_seeds": [2],
            "confirm_seeds": [11],
        },
        "scheduler": {"kind": "asha", "grace_period": 2, "reduction_factor": 2},
        "resources": {"max_concurrent": 1},
    }  # fmt: skip
    path = folder / "link.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def database(folder: Path, template: Path, name: str) -> str:
    return f"sqlite:///{shutil.copy(template, folder / f'{name}.db')}"


@pytest.mark.slow
@pytest.mark.parametrize("health", [GIVEN_UP, WAITED_FOR], ids=["given-up", "waited-for"])
def test_a_link_that_is_cut_for_half_a_minute_changes_nothing(
    health: dict[str, str], machines: Machines, tmp_path: Path, mlflow_template: Path
) -> None:
    data = tiny_data(tmp_path / "data").folder.parent
    space = space_of(tmp_path)
    whole, storage = tmp_path / "whole", tmp_path / "storage"
    drive = [sys.executable, "-m", "tests.orchestrator.drive_counted", str(space)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    undisturbed = database(tmp_path, mlflow_template, "undisturbed")
    subprocess.run([*drive, str(whole), str(data), undisturbed], env=environment, check=True)

    storage.mkdir()
    folder = Path(tempfile.mkdtemp(prefix="link-"))
    shown = database(tmp_path, mlflow_template, "shown")
    cluster = LocalCluster(folder, environment={"PYTHONPATH": str(ROOT), **health},
                           machines=machines)  # fmt: skip
    try:
        driver = subprocess.Popen(
            [*machines.command("head"), *drive, str(storage), str(data), shown],
            env={**cluster.environment, "RAY_ADDRESS": cluster.address}, cwd=folder,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        node = wait_for_training(cluster, storage, driver)
        machines.cut(node)
        time.sleep(SECONDS_DOWN)
        machines.mend(node)
        _, said = driver.communicate(timeout=300)
        assert driver.returncode == 0, said
        assert cluster.has_ended(node) == (health is GIVEN_UP)
    finally:
        cluster.close()
    # Only the epoch that a node was at when it was given up may have been trained once more.
    trained = Counter(trained_epochs(storage))
    assert set(trained) == set(trained_epochs(whole))
    again = {epoch for epoch, times in trained.items() if times > 1}
    assert len(again) <= (1 if health is GIVEN_UP else 0)
    assert not any(epoch == NUM_EPOCHS for _, epoch in again)
    assert_equal(storage, whole, "link")
    assert tracked(shown, "link") == tracked(undisturbed, "link")
    assert mentioning(str(folder)) == []
    shutil.rmtree(folder)


def wait_for_training(
    cluster: LocalCluster, storage: Path, driver: subprocess.Popen[str], seconds: float = 120
) -> str:
    """The node that is at work on the second cell."""
    deadline = time.monotonic() + seconds
    while len({cell for cell, _ in trained_epochs(storage)}) < 2:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (node,) = [name for name in ("node1", "node2") if is_at_work(cluster, name)]
    return node


def is_at_work(cluster: LocalCluster, node: str) -> bool:
    return any(
        command_of(child).startswith("ray::CellTrial") for child in descendants(cluster.pid(node))
    )
