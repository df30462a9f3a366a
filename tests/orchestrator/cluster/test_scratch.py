"""Private folders that go with their process, or with the next one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.cluster.scratch import scratch_folder
from orchestrator.cluster.session import RayOptions
from shapca.storage.processes import this_process
from tests.paths import ROOT

KILLED = """
import os, subprocess, sys
from orchestrator.cluster.scratch import scratch_folder
with scratch_folder() as folder:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)", f"{folder}/x"]
    child = subprocess.Popen(sleep, stdout=subprocess.DEVNULL)
    print(folder, child.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


def left_by_a_killed_process(place: Path) -> tuple[Path, int]:
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place)},
        stdout=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == -9
    folder, child = done.stdout.split()
    return Path(folder), int(child)


def is_running(pid: int) -> bool:
    """Whether more than its remains, which nobody waits for, is there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_a_killed_process_left_is_removed_with_what_runs_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, child = left_by_a_killed_process(tmp_path)
    assert left.is_dir()
    os.kill(child, 0)
    unnamed = tmp_path / "orchestrator-unnamed"
    unnamed.mkdir()
    living = tmp_path / "orchestrator-living"
    living.mkdir()
    (living / "owner").write_text(this_process())
    linked = tmp_path / "orchestrator-linked"
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "owner").write_text("0.0.0")
    linked.symlink_to(tmp_path / "target")
    with scratch_folder() as folder:
        assert not left.exists()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        deadline = time.monotonic() + 30  # a killed process takes a moment to go
        while is_running(child):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {unnamed.name, living.name, linked.name, "target"}


@pytest.mark.parametrize("address", ["local", "LOCAL", " local ", ""])
def test_every_spelling_of_local_is_a_ray_of_our_own(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert RayOptions(address).cluster == (None if address else "10.0.0.1:6379")
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert RayOptions().cluster is None


@pytest.mark.parametrize(("ignored", "code"), [(False, 7), (True, 0)])
def test_a_hang_up_interrupts_unless_it_is_ignored(ignored: bool, code: int) -> None:
    script = (
        "import os, signal, sys\n"
        "from orchestrator.cluster.session import interruptible\n"
        f"signal.signal(signal.SIGHUP, signal.SIG_IGN if {ignored} else signal.SIG_DFL)\n"
        "try:\n"
        "    with interruptible():\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60
    )
    assert done.returncode == code
