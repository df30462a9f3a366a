"""The commands themselves, on a tiny synthetic data set: train, train nothing, be killed, go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from shapca.storage import FolderStore, read_json
from tests.factories import tiny_config
from tests.paths import ROOT

ORCHESTRATOR = (sys.executable, "-m", "orchestrator")


@pytest.fixture
def space(tmp_path: Path) -> Path:
    experiment = tiny_config(**{"image.encoder": "none"}).model_dump(
        mode="json", exclude_defaults=True
    )
    tree = {
        "name": "tiny",
        "experiment": experiment,
        "space": {"optimisation.learning_rate": {"type": "choice", "values": [5e-3, 1e-3]}},
        "protocol": {
            "sampler": "grid",
            "trials": 2,
            "shortlist": 1,
            "confirm_seeds": [11, 12],
        },
        "scheduler": {"kind": "none"},
        "resources": {"max_concurrent": 1},
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def command(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*ORCHESTRATOR, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": "none"},
    )


def status(space: Path, storage: Path) -> dict[str, Any]:
    process = command("status", space, "--storage", storage, "--json")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    found: dict[str, Any] = json.loads(out)
    return found


def sweep(space: Path, storage: Path, data: Path) -> str:
    process = command("sweep", space, "--storage", storage, "--data-root", data)
    out, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    return out + error


def example(name: str, *arguments: object) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "MLFLOW_TRACKING_URI": "none", "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_example_trains_with_the_loss_alone() -> None:
    lines = example("loss_alone.py").splitlines()
    found = [int(line.partition(": ")[2].partition("%")[0]) for line in lines]
    assert found[0] < 40 < 60 < found[-1]


def test_a_sweep_is_the_same_whether_or_not_it_was_killed(
    space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    out = sweep(space, whole, tiny_root)
    assert "confirmed winner" in out
    assert "the trials have ended" in out
    assert "test F1" in out
    first = status(space, whole)
    assert first["state"] == "complete"
    assert len(first["winner"]["test_f1"]) == 2

    began = time.monotonic()
    again = sweep(space, whole, tiny_root)
    assert "confirmed winner" in again
    assert "the trials have ended" not in again
    assert time.monotonic() - began < 15  # nothing is trained, and no Ray started

    process = command("sweep", space, "--storage", killed, "--data-root", tiny_root)
    deadline = time.monotonic() + 100
    while not list(killed.glob("cells/*/epochs/0001.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert status(space, killed)["state"] == "stopped"
    sweep(space, killed, tiny_root)

    second = status(space, killed)
    assert second["configurations"] == first["configurations"]  # to the last bit
    assert second["winner"] == first["winner"]
    champion = FolderStore(killed / "cells" / second["champion"])
    weights = [name for name in champion.list("best/") if name.endswith(".safetensors")]
    (name,) = weights
    assert champion.get(name) == FolderStore(whole / "cells" / first["champion"]).get(name)
    assert read_json(champion, "result.json")["status"] == "finished"

    frame = example("sweep.py", space, whole, f"runtime.data_root={tiny_root}")
    assert frame.count("confirm") >= 2  # a row a seed; nothing is trained
    found = example("own_posts.py", whole / "cells" / first["champion"])
    assert "Tonight at Harbour Hall ->" in found


def test_bad_input_is_one_message_and_exit_code_2(
    space: Path, tiny_root: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    for arguments, message in (
        (("--set", "resources.cpu=999"), "999 CPUs and 0 GPUs, but the largest of 1 node has"),
        (("--set", "experiment.data.dataset=absent"), "'absent' is not under"),
        (("--set", "experiment.alignment.temperature=0.001"), "alignment.temperature"),
        (("--set", "experiment.data.contexts=other"), "available: captions, detailed"),
        (("--storage", "ftp://bucket"), "expected a folder, or a bucket: s3://"),
    ):
        process = command(
            "sweep", space, "--storage", storage, "--data-root", tiny_root, *arguments
        )
        _, error = process.communicate(timeout=100)
        assert process.returncode == 2, error
        assert error.startswith("error: ")
        assert message in error
        assert "Traceback" not in error
    assert not list(storage.glob("cells/*/epochs"))
