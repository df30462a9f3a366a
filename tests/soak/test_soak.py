"""Sweeps under random blows end like undisturbed ones: a short form, and the long one on request.

    make soak

`SOAK_SEED`, `SOAK_BLOWS` and `SOAK_PATIENCE` (a factor on time limits) may be set.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import yaml

from orchestrator.sweeps.record.event_log import Ended, EventLog, Proposed
from orchestrator.tracking.run_document import read_runs
from shapca.storage import FolderStore
from tests.factories import tiny_config, tiny_data
from tests.orchestrator.fakes import trained_epochs
from tests.orchestrator.publishing import MEASURED, snapshot, tracked
from tests.orchestrator.servers import Server, free_port
from tests.paths import ROOT
from tests.soak.harness import Blow, Disk, Soak, contents, draw, leftovers, names
from tests.soak.processes import mentioning

PATIENCE = float(os.environ.get("SOAK_PATIENCE", "1"))
OF_TORCH = "torchinductor_"
"""One cache a user, which torch keeps among temporary files."""
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def decisions(storage: Path, sweep: str) -> list[tuple[Any, ...]]:
    """What was proposed and how it ended, in order; times aside."""
    events = EventLog.load(FolderStore(storage), sweep).events
    ended = [event.number for event in events if isinstance(event, Ended)]
    assert len(ended) == len(set(ended)), "a trial ended twice"
    ends = {event.number: event for event in events if isinstance(event, Ended)}
    return [
        (
            event.number, event.phase, event.values, event.seed, event.cell, end.status, end.epoch,
            end.value, end.best_epoch, end.reason, list(end.curve),
        )
        for event in events
        if isinstance(event, Proposed) and (end := ends[event.number])
    ]  # fmt: skip


def epochs(storage: Path) -> dict[str, dict[str, float]]:
    """Metrics of every epoch of every cell; times aside."""
    return {
        path.relative_to(storage).as_posix(): {
            name: value
            for name, value in json.loads(path.read_text())["metrics"].items()
            if not name.endswith(MEASURED)
        }
        for path in storage.glob("cells/*/epochs/*.json")
    }


def assert_equal(storage: Path, whole: Path, sweep: str) -> None:
    """Nothing tells the sweep under blows from the undisturbed one, and nothing is left over."""
    assert decisions(storage, sweep) == decisions(whole, sweep)
    assert epochs(storage) == epochs(whole)
    assert contents(storage) == contents(whole)
    assert names(storage) == names(whole)
    assert leftovers(storage) == []
    for path in storage.rglob("*.json"):
        json.loads(path.read_text())
    for path in storage.rglob("*.safetensors"):
        if path.read_bytes() != b"weights":  # what the fake training keeps
            safetensors.torch.load_file(path)
    assert {document.status for document in read_runs(FolderStore(storage), sweep).values()} <= {
        "finished",
        "killed",
        "failed",
    }
    assert mentioning(str(storage)) == []


def test_a_sweep_under_three_blows_ends_like_an_undisturbed_one(
    tmp_path: Path, mlflow_uri: str
) -> None:
    whole, storage = tmp_path / "whole", tmp_path / "storage"
    command = [sys.executable, "-m", "tests.orchestrator.drive"]
    environment = {**ENVIRONMENT, "FAKE_SECONDS": "0.15"}
    undisturbed = subprocess.run(
        [*command, str(whole)], env={**os.environ, **ENVIRONMENT}, stdout=subprocess.DEVNULL
    )
    assert undisturbed.returncode == 0
    soak = Soak(
        [*command, str(storage), "--tracking-uri", mlflow_uri],
        storage,
        environment,
        tmp_path / "log",
        patience=max(PATIENCE, 4),
    )
    soak.run([Blow("worker", 0.6), Blow("driver", 0.3), Blow("interrupt", 0.5)])
    assert soak.dealt.total() == 3
    assert_equal(storage, whole, "small")
    trained = trained_epochs(storage)
    assert len(trained) == len(set(trained))  # no epoch was trained twice
    shown = snapshot(mlflow_uri, "small")  # it fails where a run is there twice
    assert shown.keys() == read_runs(FolderStore(storage), "small").keys()
    assert {run["status"] for run in shown.values()} == {"FINISHED", "KILLED"}


@pytest.fixture
def space(tmp_path: Path) -> Callable[[], list[str]]:
    """A sweep of real training that lasts a minute or two; its command line."""
    tiny_data(tmp_path / "data", num_train=48, num_valid=16, num_test=16)
    experiment = tiny_config(**{"optimisation.epochs": 8, "optimisation.patience": 8})
    tree = {
        "name": "soak",
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "space": {
            "optimisation.learning_rate": {"type": "float", "low": 5e-4, "high": 5e-3, "log": True},
            "alignment.alpha": {"type": "float", "low": 0.0, "high": 1.0},
        },
        "protocol": {
            "trials": int(os.environ.get("SOAK_TRIALS", "10")),
            "startup_trials": 4,
            "shortlist": 2,
            "shortlist_seeds": [2],
            "confirm_seeds": [11, 12],
        },
        "scheduler": {"kind": "asha", "grace_period": 2, "reduction_factor": 2},
        "resources": {"max_concurrent": 1},
        "keep_models": "leaders",
    }
    path = tmp_path / "soak.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    sweep = [sys.executable, "-m", "orchestrator", "sweep", str(path)]
    return lambda: [*sweep, "--data-root", str(tmp_path / "data")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk | None]:
    """A file system of its own at `tmp_path / "disk"`; None where this user may mount none."""
    mounted = Disk.mounted(tmp_path / "disk")
    yield mounted
    if mounted is not None:
        mounted.unmount()


@pytest.mark.soak
@pytest.mark.timeout(3 * 3600)
def test_a_sweep_under_many_blows_ends_like_an_undisturbed_one(
    space: Callable[[], list[str]],
    disk: Disk | None,
    tmp_path: Path,
    mlflow_uri: str,
    mlflow_template: Path,
) -> None:
    number = int(os.environ.get("SOAK_BLOWS", "32"))
    seed = int(os.environ.get("SOAK_SEED", "0"))
    whole, storage = tmp_path / "whole", tmp_path / "disk" / "storage"
    began = time.monotonic()
    other = mlflow_template.parent / "whole.db"
    other.write_bytes(mlflow_template.read_bytes())
    subprocess.run(
        [*space(), "--storage", str(whole), "--tracking-uri", f"sqlite:///{other}"],
        check=True,
        env={**os.environ, **ENVIRONMENT},
    )
    seconds_whole = time.monotonic() - began

    server = Server(mlflow_uri, free_port())
    server.start()
    weights = {"driver": 7, "worker": 7, "server": 4, "interrupt": 3, "terminate": 2, "hangup": 2,
               "suspend": 2, "raylet": 2, "gcs": 2, "takeover": 1, "disk": 2}  # fmt: skip
    if disk is None:  # only who may mount one can fill it without harm
        del weights["disk"]
    place = Path(tempfile.mkdtemp(dir="/tmp", prefix="k-"))  # short enough for Ray's sockets
    # A worker is lost for good after four losses in one driver's life: drivers die often enough.
    # On a fast machine blows come faster, too, so that the sweep is not over before the last.
    blows = draw(seed, number, weights, longest=seconds_whole / 40)
    soak = Soak(
        [*space(), "--storage", str(storage), "--tracking-uri", server.uri],
        storage,
        {**ENVIRONMENT, "TMPDIR": str(place)},
        tmp_path / "log",
        server=server,
        disk=disk,
        patience=PATIENCE,
    )
    began = time.monotonic()
    try:
        soak.run(blows)
        seconds = time.monotonic() - began
        assert soak.dealt.total() == number
        assert_equal(storage, whole, "soak")
        assert [name for name in os.listdir(place) if not name.startswith(OF_TORCH)] == []
        assert mentioning(str(place)) == []
        assert "Traceback" not in soak.log.read_text()
        shown, expected = tracked(server.uri, "soak"), tracked(f"sqlite:///{other}", "soak")
        assert shown == expected
        assert "RUNNING" not in {run["status"] for run in shown.values()}
        again = subprocess.run([*soak.command], env={**os.environ, **ENVIRONMENT}, check=True,
                               capture_output=True, text=True)  # fmt: skip
        assert "confirmed winner" in again.stdout
        assert tracked(server.uri, "soak") == expected
        dealt = ", ".join(f"{kind} {count}" for kind, count in sorted(soak.dealt.items()))
        print(
            f"\nsoak, seed {seed}: {number} blows ({dealt}), {soak.num_drivers} drivers, "
            f"{len(decisions(storage, 'soak'))} trials, {len(epochs(storage))} epochs; undisturbed "
            f"{seconds_whole:.0f} s, under blows {seconds:.0f} s; slowest Ctrl-C or SIGTERM "
            f"{soak.slowest_interrupt:.1f} s; decisions, scores, epochs, weights and MLflow equal; "
            "no process or file left"
        )
    finally:
        server.kill()
        shutil.rmtree(place)
        print(soak.log.read_text()[-20_000:])
        print(f"\nsoak, seed {seed}: {dict(soak.dealt)}")
