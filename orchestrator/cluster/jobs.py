"""Sweeps as Ray jobs: submitted, found again, followed, stopped.

A job's submission id derives from the sweep's name and storage, so that the same sweep submitted
again is found: at work, or dead and to be taken up by a further attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cluster.session import first_line
from orchestrator.tracking.client.addresses import redact
from orchestrator.tracking.provenance import submitted_environment
from shapca.errors import InputError

ADDRESSES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
ALIVE = ("PENDING", "RUNNING")
OUR_KEY = "shap-ca/sweep"
STOP_SECONDS = 20
"""The driver needs some to give every run its status; Ray kills it after three by default."""
MAX_NAME = 60
CHATTY = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)


@dataclass(frozen=True)
class SubmittedJob:
    """One attempt at a sweep on a cluster.

    Attributes:
        id: Its submission id.
        attempt: From 1.
        status: As Ray says: `PENDING`, `RUNNING`, `SUCCEEDED`, `STOPPED`, `FAILED`.
        message: Ray's, without credentials.
        sweep: Name of the sweep.
        exit_code: Of the driver; None while it has none.
        started_at: Unix time in seconds, if it has started.
    """

    id: str
    attempt: int
    status: str
    message: str
    sweep: str
    exit_code: int | None
    started_at: float | None

    @property
    def is_alive(self) -> bool:
        """Whether it runs or waits to run."""
        return self.status in ALIVE


def submission_base(name: str, storage: str) -> str:
    """What the submission ids of a sweep begin with.

    Args:
        name: The sweep.
        storage: Absolute address of its storage.
    """
    digest = hashlib.sha256(f"{name}\n{storage.rstrip('/')}".encode()).hexdigest()[:8]
    return f"sweep-{name[:MAX_NAME]}-{digest}"


class Cluster:
    """A Ray cluster's job server.

    Args:
        address: `http://HOST:8265`, or the cluster's address; None: from the environment.

    Raises:
        InputError: there is none, it does not answer, or it refuses.
    """

    def __init__(self, address: str | None = None) -> None:
        address = address or next((os.environ[k] for k in ADDRESSES if os.environ.get(k)), None)
        if not address:
            raise InputError(
                "--address: expected the cluster's job server, e.g. http://127.0.0.1:8265 "
                "(or set RAY_API_SERVER_ADDRESS)"
            )
        self.address = address
        from ray.job_submission import JobSubmissionClient

        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        # Ray prefers the environment over what it is told.
        with _translated(address), _without(*ADDRESSES):
            self._client: Any = JobSubmissionClient(address)

    def jobs(self, base: str | None = None) -> list[SubmittedJob]:
        """The attempts at one sweep, or at all sweeps, the oldest first."""
        with _translated(self.address):
            details = self._client.list_jobs()
        ours = [detail for detail in details if OUR_KEY in (detail.metadata or {})]
        jobs = [_job(detail) for detail in ours if detail.submission_id is not None]
        if base is not None:
            pattern = re.compile(rf"{re.escape(base)}(-\d+)?")
            jobs = [job for job in jobs if pattern.fullmatch(job.id)]
        return sorted(jobs, key=lambda job: (job.started_at or 0.0, job.attempt))

    def job(self, submission: str) -> SubmittedJob:
        """One attempt.

        Raises:
            InputError: no such job.
        """
        found = [job for job in self.jobs() if job.id == submission]
        if not found:
            raise InputError(f"--submission {submission}: no such sweep on {redact(self.address)}")
        return found[0]

    def submit(self, base: str, name: str, entrypoint: Sequence[str], folder: Path) -> SubmittedJob:
        """Start a sweep, unless an attempt at it is alive.

        Args:
            base: What its submission ids begin with.
            name: The sweep.
            entrypoint: The command; it shows in Ray's dashboard.
            folder: What the job and its trials need of this project.

        Returns:
            The new attempt, or the one that is alive.
        """
        attempts = self.jobs(base)
        if attempts and attempts[-1].is_alive:
            return attempts[-1]
        attempt = max((job.attempt for job in attempts), default=0) + 1
        submission = base if attempt == 1 else f"{base}-{attempt}"
        with _translated(self.address):
            try:
                self._client.submit_job(
                    entrypoint=shlex.join(entrypoint),
                    submission_id=submission,
                    metadata={OUR_KEY: name, "attempt": str(attempt)},
                    runtime_env={
                        "working_dir": str(folder),
                        "env_vars": {
                            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
                            **submitted_environment(),
                        },
                    },
                )
            except RuntimeError as error:
                # Somebody else submitted the same sweep at the same moment.
                if "already exists" not in str(error) and "already taken" not in str(error):
                    raise
        return self.job(submission)

    def follow(self, submission: str, say: Callable[[str], None]) -> SubmittedJob:
        """Pass on a job's log until the job ends."""

        async def tail() -> None:
            async for lines in self._client.tail_job_logs(submission):
                say(redact(lines))

        with _translated(self.address):
            asyncio.run(tail())
        return self.job(submission)

    def stop(self, submission: str) -> None:
        """Ask a job to stop: the sweep ends as after Ctrl-C."""
        with _translated(self.address):
            self._client.stop_job(submission)


def _job(detail: Any) -> SubmittedJob:
    started = detail.start_time
    return SubmittedJob(
        id=detail.submission_id,
        attempt=int(detail.metadata.get("attempt", 1)),
        status=str(getattr(detail.status, "value", detail.status)),
        message=redact(detail.message or ""),
        sweep=detail.metadata[OUR_KEY],
        exit_code=detail.driver_exit_code,
        started_at=None if started is None else started / 1000,
    )


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextlib.contextmanager
def _translated(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into one message that says what to do."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    shown = redact(address)
    try:
        yield
    except InputError:
        raise
    except AuthenticationError as error:
        raise InputError(f"{shown}: {first_line(error)}. {TOKEN_HINT}") from None
    except (ConnectionError, requests.RequestException, aiohttp.ClientError, OSError) as error:
        if getattr(error, "status", None) in (401, 403):
            raise InputError(f"{shown}: {first_line(error)}. {TOKEN_HINT}") from None
        raise InputError(
            f"{shown}: no job server of Ray answers there ({first_line(error)}). Expected the "
            "head's dashboard, e.g. http://HEAD:8265; it needs ray[default] on the head, and from "
            "outside a tunnel: ray dashboard CLUSTER.yaml, or ssh -L 8265:127.0.0.1:8265 HEAD"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{shown}: {first_line(error)}") from None


TOKEN_HINT = (
    "The cluster uses token authentication: set RAY_AUTH_MODE=token, and the cluster's token as "
    "RAY_AUTH_TOKEN or in a file named by RAY_AUTH_TOKEN_PATH (by default ~/.ray/auth_token)"
)
