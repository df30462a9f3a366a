"""A connection to Ray: joined or started, quiet, and ended as it began."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from orchestrator.cluster.watch import RayLostError
from orchestrator.tracking.client.addresses import redact
from shapca.errors import InputError
from shapca.storage.processes import num_cpus

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV and JSON files: records are in the store
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # nothing is ever restored from Tune's snapshots
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # errors are in the table of results
    "TUNE_WARN_THRESHOLD_S": "30",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without GPUs sees none
    "RAY_DEDUP_LOGS": "0",
}

# A local Ray would serve its metrics, which nobody reads here, on all interfaces and without its
# token; all else that it listens on asks for that. A port that is none leaves a server out.
UNSERVED = {
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
}


@dataclass(frozen=True)
class RayOptions:
    """How to reach Ray.

    Attributes:
        address: A cluster's address; None: `RAY_ADDRESS`, or a local Ray of its own.
        wait_for_resources: Wait for nodes that a request needs, instead of refusing it.
    """

    address: str | None = None
    wait_for_resources: bool = False

    @property
    def cluster(self) -> str | None:
        """Address of the cluster to join; None: a local Ray."""
        return self.address or os.environ.get("RAY_ADDRESS") or None


@contextlib.contextmanager
def ray_session(options: RayOptions) -> Iterator[None]:
    """A connection to Ray; a local Ray that was started for it is stopped at its end."""
    os.environ.update({key: os.environ.get(key, value) for key, value in ENVIRONMENT.items()})
    import ray

    if ray.is_initialized():
        yield
        return
    address = options.cluster
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        os.environ.update({key: os.environ.get(key, value) for key, value in UNSERVED.items()})
        # `local` never joins a cluster that happens to run here.
        settings |= {"address": "local", "include_dashboard": False, "num_cpus": num_cpus()}
    else:
        settings |= {"address": address}
    with _quiet():
        try:
            with _own_signals():
                ray.init(**settings)
        except (ConnectionError, ray.exceptions.AuthenticationError) as error:
            raise InputError(
                f"Ray at {address or 'this machine'} cannot be used: {first_line(error)}. Check "
                "the address (--address or RAY_ADDRESS); a cluster with token authentication needs "
                "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
            ) from error
        except Exception as error:
            # Ray raises a bare exception where a busy machine starts its helpers too slowly; what
            # was started by then ends with this process.
            if address is not None or "timed out" not in str(error):
                raise
            raise RayLostError(
                "Ray did not start in time: this machine is very busy. Try again when it has less "
                "to do"
            ) from error
        try:
            yield
        except RayLostError:
            raise  # saying goodbye to it would only wait for it again
        except BaseException:
            ray.shutdown()
            raise
        ray.shutdown()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handler of SIGTERM, which `ray.init` replaces by one that exits."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM interrupt at once: a trial's epochs are in the store already."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's own messages would drown the progress view; what matters is raised as an error."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.air", "ray.train")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or else its name; without credentials."""
    return redact(str(error).strip().partition("\n")[0] or type(error).__name__)
