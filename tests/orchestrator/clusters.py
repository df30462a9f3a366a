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

from tests.orchestrator.links import Machines
from tests.orchestrator.servers import free_port

TRIES = 3


class LocalCluster:
    """`ray start` once for a head without CPUs and once for each node, with token authentication.

    Args:
        folder: Of its own: logs, sockets, the nodes' caches. Its path must be short.
        nodes: Number of nodes beside the head.
        cpus: CPUs of each.
        gpus: Logical GPUs of each.
        environment: Additional environment variables of all its processes.
        machines: Where each node runs, head first, without a dashboard; None: all on loopback.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 2,
        cpus: int = 1,
        gpus: int = 1,
        environment: Mapping[str, str] = MappingProxyType({}),
        machines: Machines | None = None,
    ) -> None:
        self.folder = folder
        self.machines = machines
        self.port, self.dashboard_port = free_port(), free_port()
        self.address = f"{self._ip('head')}:{self.port}"
        self.job_server = f"http://127.0.0.1:{self.dashboard_port}"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_initial_delay_ms": "2000",
            "RAY_health_check_failure_threshold": "6",
            "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "120",
            "RAY_raylet_start_wait_time_s": "120",
            "RAY_agent_register_timeout_ms": "120000",
            "RAY_enable_metrics_collection": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            # One after the other: Ray gives up on a node whose helpers need more than 15 s.
            self._start(
                "head", "--head", f"--port={self.port}", "--num-cpus=0", "--num-gpus=0",
                f"--include-dashboard={machines is None}", "--dashboard-host=127.0.0.1",
                f"--dashboard-port={self.dashboard_port}",
                f"--ray-client-server-port={free_port()}",
            )  # fmt: skip
            for number in range(1, nodes + 1):
                self.add(f"node{number}", cpus, gpus)
        except BaseException:
            self.close()
            raise

    def add(self, node: str, cpus: int = 1, gpus: int = 1) -> None:
        """Start a further node and wait until it has joined."""
        self._start(node, f"--address={self.address}", f"--num-cpus={cpus}", f"--num-gpus={gpus}")

    def cache(self, node: str) -> Path:
        """Where a node keeps what it received."""
        return self.folder / f"cache-{node}"

    def pid(self, node: str) -> int:
        """The process that a node's other ones descend from."""
        return self._processes[node].pid

    def has_ended(self, node: str) -> bool:
        """Whether a node is gone, as one is that was declared dead and has heard of it."""
        return self._processes[node].poll() is not None

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
        """Start a node and wait until it has joined; on a busy machine not every try succeeds."""
        log = self.folder / f"{node}.log"
        for attempt in range(TRIES):
            process = self._launch(node, f"{node}-{attempt}", *arguments)
            deadline = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < deadline:
                _yield_to_agents(process.pid)
                has_started = b"will now block forever" in log.read_bytes()
                needs_server = node == "head" and self.machines is None
                if has_started and (not needs_server or self._job_server_answers()):
                    return
                time.sleep(0.1)
            self.kill(node)
        raise TimeoutError(f"{node}: {log.read_text()[-2000:]}")

    def _launch(self, node: str, place: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{node}.log").open("wb")
        command = [] if self.machines is None else self.machines.command(node)
        command += [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += [f"--node-ip-address={self._ip(node)}", "--object-store-memory=80000000"]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"]
        for name in ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent"):
            command += [f"--{name}-port={free_port()}"]
        command += [f"--metrics-export-port={free_port()}", f"--temp-dir={self.folder / place}"]
        process = subprocess.Popen(
            [*command, *arguments],
            env={**self.environment, "SHAPCA_CACHE": str(self.cache(node))},
            cwd=self.folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self._processes[node] = process
        return process

    def _ip(self, node: str) -> str:
        return "127.0.0.1" if self.machines is None else self.machines.address(node)

    def _job_server_answers(self) -> bool:
        request = urllib.request.Request(
            f"{self.job_server}/api/version",
            headers={"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


def _yield_to_agents(pid: int) -> None:
    """Let a head's dashboard, a dozen processes, start after what Ray waits for only 15 s."""
    for child in _descendants(pid):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"dashboard/dashboard.py" in command:
                os.setpriority(os.PRIO_PROCESS, child, 19)


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
