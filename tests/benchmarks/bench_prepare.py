"""`orchestrator prepare` on a cluster of two nodes against `shapca data prepare` alone.

2,000 drawn posts with a JPEG file each, or $SHAPCA_PREPARE_POSTS. The nodes are two `ray start` of
one core each on this machine, so that both ways have the same two cores; CPU time is told too,
for others may use them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from shapca.data.manifest import MANIFEST
from tests.benchmarks.prepare_many import draw
from tests.orchestrator.clusters import LocalCluster
from tests.paths import ROOT
from tests.soak.processes import command_of, descendants

pytestmark = pytest.mark.bench

NUM_POSTS = int(os.environ.get("SHAPCA_PREPARE_POSTS", "2000"))


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Attributes:
        wall: Seconds.
        cpu: Seconds of all cores.
        peak: The most memory it held at a time, MiB, shared memory and mapped files included.
    """

    wall: float
    cpu: float
    peak: float

    def __str__(self) -> str:
        return f"{self.wall:.0f} s, CPU {self.cpu:.0f} s, at most {self.peak:.0f} MiB"


def run(*command: object, environment: Mapping[str, str]) -> Usage:
    """Run a command of one of the two programs to its end."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", *map(str, command)], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    cpu = usage.ru_utime + usage.ru_stime
    return Usage(time.monotonic() - began, cpu, usage.ru_maxrss / 1024)


class NodesWatch(threading.Thread):
    """Looks at the processes of a cluster's nodes once a second.

    Attributes:
        worker_peak: The most memory of its own that a process with tasks held, MiB.
        store_peak: The most that all object stores together took, MiB.
    """

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__(daemon=True)
        self.worker_peak = self.store_peak = 0.0
        self._roots = [cluster.pid(node) for node in ("head", "node1", "node2")]
        self._seconds: dict[int, float] = {}
        self._before: dict[int, float] = {}
        self._ended = threading.Event()

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the nodes have taken since this began to look."""
        return sum(seconds - self._before.get(pid, 0.0) for pid, seconds in self._seconds.items())

    def __enter__(self) -> NodesWatch:
        self._look()
        self._before = dict(self._seconds)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
        self._look()

    def run(self) -> None:
        while not self._ended.wait(1.0):
            self._look()

    def _look(self) -> None:
        stores = 0.0
        for pid in {pid for root in self._roots for pid in (root, *descendants(root))}:
            try:
                stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
                status = Path(f"/proc/{pid}/status").read_text(errors="replace")
                command = command_of(pid)
                if "raylet/raylet" in command:
                    stores += store_mebibytes(pid)
            except OSError:  # it has just ended
                continue
            self._seconds[pid] = sum(map(int, stat.split()[11:13])) / os.sysconf("SC_CLK_TCK")
            (own,) = re.findall(r"RssAnon:\s*(\d+) kB", status) or ["0"]
            if command.startswith("ray::"):
                self.worker_peak = max(self.worker_peak, int(own) / 1024)
        self.store_peak = max(self.store_peak, stores)


def store_mebibytes(raylet: int) -> float:
    """What a node's object store has taken: pages of its shared file are never given back."""
    files = Path(f"/proc/{raylet}/fd").iterdir()
    stores = {file.stat().st_ino: file.stat() for file in files if "/shm/" in os.readlink(file)}
    return sum(store.st_blocks * 512 for store in stores.values()) / 2**20


def compare(folder: Path) -> tuple[Usage, Usage, NodesWatch]:
    """Prepare the posts of a folder alone, and over two nodes: alone, the driver, the nodes."""
    place = Path(tempfile.mkdtemp(prefix="cluster-"))  # sockets need a short path
    source = ["twitter2017", "--source", folder / "text", "--images", folder / "pictures", "--out"]
    alone = run("shapca", "data", "prepare", *source, folder / "alone", environment=os.environ)
    print(f"\nalone: {alone}", flush=True)
    cluster = LocalCluster(place, environment={"PYTHONPATH": str(ROOT)})
    try:
        with NodesWatch(cluster) as nodes:
            driver = run(
                "orchestrator", "prepare", *source, folder / "spread", "--address", cluster.address,
                environment=cluster.environment,
            )  # fmt: skip
    finally:
        cluster.close()
        shutil.rmtree(place, ignore_errors=True)
    print(
        f"spread: {driver}; the nodes CPU {nodes.cpu:.0f} s, a process with tasks at most "
        f"{nodes.worker_peak:.0f} MiB, the object stores {nodes.store_peak:.0f} MiB",
        flush=True,
    )
    manifests = [(folder / name / MANIFEST).read_bytes() for name in ("alone", "spread")]
    assert manifests[0] == manifests[1]  # with a hash of each part
    return alone, driver, nodes


def test_two_nodes_write_what_one_machine_does(tmp_path: Path) -> None:
    draw(tmp_path, NUM_POSTS)
    alone, driver, nodes = compare(tmp_path)
    print(
        f"{NUM_POSTS:,} posts: {(driver.cpu + nodes.cpu) / alone.cpu:.2f} times the CPU time of "
        f"alone, of which the driver {driver.cpu / alone.cpu:.2f}"
    )
    assert driver.peak < alone.peak + 200
