"""A real MLflow server on loopback that a test stops and starts."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from orchestrator.tracking.client.addresses import server_command


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`mlflow server` over a database, in a process group of its own."""

    def __init__(self, database_uri: str, port: int, artifacts: Path | None = None) -> None:
        self.database_uri = database_uri
        self.artifacts = artifacts
        self.port = port
        self.uri = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command, environment = server_command(self.database_uri, self.port)
        if self.artifacts is not None:
            environment["MLFLOW_ARTIFACTS_DESTINATION"] = str(self.artifacts)
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        self.kill()
        raise TimeoutError("mlflow server did not come up")

    def kill(self) -> None:
        """SIGKILL for the server and its workers."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
