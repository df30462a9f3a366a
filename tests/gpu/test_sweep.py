"""A sweep of Ray's whose trials share a real GPU; one of them is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.gpu.device import DEVICE, IS_CUDA, needs_device
from tests.soak.processes import kill, of_kind

pytestmark = [needs_device, pytest.mark.skipif(not IS_CUDA, reason="asks Ray for a GPU")]

SWEEP = [sys.executable, "-m", "orchestrator", "sweep", "search_spaces/demo.yaml"]
SETTINGS = {"resources.gpu": "auto", "protocol.trials": "8", "protocol.shortlist": "1",
            "scheduler.kind": "none"}  # fmt: skip
PATIENCE = 140.0


def test_trials_share_the_card_and_a_killed_one_is_taken_up_again(tmp_path: Path) -> None:
    command = [
        *SWEEP,
        "--storage",
        str(tmp_path / "storage"),
        "--data-root",
        str(tmp_path / "data"),
    ]
    for key, value in SETTINGS.items():
        command += ["--set", f"{key}={value}"]
    started = time.monotonic()
    with (tmp_path / "out").open("w") as out:
        driver = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        killed, most = 0, 0
        while driver.poll() is None and time.monotonic() - started < PATIENCE:
            trials = of_kind(driver.pid, "worker")
            most = max(most, len(trials))
            begun = list((tmp_path / "storage/cells").glob("*/epochs/*"))
            if not killed and trials and begun:
                killed = kill(trials[0])
            time.sleep(0.2)
        driver.kill()
    said = (tmp_path / "out").read_text()
    print(f"\n{said}\n{time.monotonic() - started:.0f} s, at most {most} trials at once")
    assert driver.returncode == 0
    assert killed
    assert most > 1
    assert "note: resources.gpu=0." in said
    cells = list((tmp_path / "storage/cells").iterdir())
    assert len(cells) >= 8 + 3
    for cell in cells:
        run = json.loads((cell / "run.json").read_text())
        assert [place["device"] for place in run["environments"]] == [
            torch.cuda.get_device_name(DEVICE)
        ]
        assert json.loads((cell / "result.json").read_text())["status"] == "finished"
