"""A Ray cluster of several nodes on loopback, each node a process tree that a test can kill."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.orchestrator.servers import free_port

ROOT = Path(__file__).parents[2]


class LocalCluster:
    """`ray start` once for a head without CPUs and once for each node, with token authentication.

    Args:
        folder: Of its own: logs, sockets, the nodes' caches. Its path must be short.
        nodes: Number of nodes beside the head.
        cpus: CPUs of each.
        gpus: Logical GPUs of each.
        environment: Additional environment variables of all its processes.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 2,
        cpus: int = 1,
        gpus: int = 1,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.port, self.dashboard_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.job_server = f"http://127.0.0.1:{self.dashboard_port}"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_initial_delay_ms": "2000",
            "RAY_health_check_failure_threshold": "6",
            "RAY_raylet_start_wait_time_s": "120",
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self._start(
                "head", "--head", f"--port={self.port}", "--num-cpus=0", "--num-gpus=0",
                "--include-dashboard=true",
                "--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard_port}",
                f"--ray-client-server-port={free_port()}",
                f"--dashboard-agent-listen-port={free_port()}",
            )  # fmt: skip
            self._wait_for_job_server()
            for number in range(1, nodes + 1):
                self._start(
                    f"node{number}", f"--address={self.address}", f"--num-cpus={cpus}",
                    f"--num-gpus={gpus}", f"--resources={{\"node{number}\": 1}}",
                    f"--dashboard-agent-listen-port={free_port()}",
                )  # fmt: skip
        except BaseException:
            self.close()
            raise

    def cache(self, node: str) -> Path:
        """Where a node keeps what it received."""
        return self.folder / f"cache-{node}"

    def kill(self, node: str) -> None:
        """SIGKILL for all processes of a node, as a power cut would."""
        process = self._processes.pop(node)
        for pid in [process.pid, *_descendants(process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        """Kill every node, the head last."""
        for node in reversed(list(self._processes)):
            self.kill(node)

    def _start(self, node: str, *arguments: str) -> None:
        log = (self.folder / f"{node}.log").open("wb")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000"]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"]
        # Nodes that start at the same moment would choose the same names for their sockets.
        command += [f"--temp-dir={self.folder}/{node}"]
        self._processes[node] = subprocess.Popen(
            [*command, *arguments],
            env={**self.environment, "SHAPCA_CACHE": str(self.cache(node))},
            cwd=self.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _wait_for_job_server(self) -> None:
        deadline = time.monotonic() + 120
        request = urllib.request.Request(
            f"{self.job_server}/api/version",
            headers={"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"},
        )
        while self._processes["head"].poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(request, timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise TimeoutError((self.folder / "head.log").read_text()[-2000:])


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found: list[int] = []
    queue = [pid]
    while queue:
        queue += (new := children.get(queue.pop(), []))
        found += new
    return found
