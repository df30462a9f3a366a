"""A connection to Ray: joined or started, quiet, and ended as it began."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import signal
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from orchestrator.cluster.scratch import scratch_folder
from orchestrator.cluster.watch import RayLostError
from orchestrator.tracking.client.addresses import redact
from shapca.errors import InputError
from shapca.storage.processes import num_cpus

# What is relied upon, whatever the user's environment says.
ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV and JSON files: records are in the store
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # nothing is ever restored from Tune's snapshots
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # errors are in the table of results
    # Asked again for its resources, a head that is gone would stop every thread of the driver.
    "TUNE_STATE_REFRESH_PERIOD": "1000000000",
    "TUNE_WARN_THRESHOLD_S": "30",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a trial without GPUs sees none
    "RAY_DEDUP_LOGS": "0",
}

# What else is set for Tune, which is ours, and for Ray's storage would stop it or change it.
NOT_READ = ("TUNE_", "RAY_AIR_", "RAY_STORAGE")

# A local Ray is its owner's alone: it listens on loopback, as it does where it knows no clusters,
# and answers who knows a token that is in the memory of its processes only. Its metrics, which it
# would serve without the token and which nobody reads, are off: a port that is none leaves a
# server out.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
PRIVATE = {
    LOOPBACK: "0",
    "RAY_AUTH_MODE": "token",
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
}
TOKEN = "RAY_AUTH_TOKEN"


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
        """Address of the cluster to join; None: a local Ray, as `local` in any spelling says."""
        address = (self.address or os.environ.get("RAY_ADDRESS") or "local").strip()
        return None if address.lower() == "local" else address


@contextlib.contextmanager
def ray_session(options: RayOptions) -> Iterator[None]:
    """A connection to Ray; a local Ray that was started for it is stopped at its end.

    Raises:
        InputError: the cluster cannot be joined, or this machine cannot run Ray.
        RayLostError: this machine is too busy to start Ray.
    """
    for name in [name for name in os.environ if name.startswith(NOT_READ)]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    import ray

    if ray.is_initialized():
        yield
        return
    address = options.cluster
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _quiet(), contextlib.ExitStack() as until_the_end:
        if address is None:
            folder = until_the_end.enter_context(scratch_folder(for_sockets=True))
            until_the_end.enter_context(_private())
            # `local` never joins a cluster that happens to run here. Ray opens its own folder to
            # everyone, so it lies in one that is closed.
            settings |= {"address": "local", "include_dashboard": False, "num_cpus": num_cpus()}
            settings |= {"_temp_dir": str(folder / "ray")}
        else:
            settings |= {"address": address}
        _start(address, settings)
        try:
            yield
        except RayLostError:
            raise  # saying goodbye to it would only wait for it again
        except BaseException:
            ray.shutdown()
            raise
        ray.shutdown()


def _start(address: str | None, settings: dict[str, Any]) -> None:
    import ray

    try:
        with _own_signals():
            ray.init(**settings)
    except SystemExit:  # what Ray makes of SIGTERM while it starts
        raise KeyboardInterrupt from None
    except (InputError, OSError) as error:
        if isinstance(error, ConnectionError):
            raise _not_reached(address, error) from error
        raise
    except Exception as error:
        if address is not None:
            raise _not_reached(address, error) from error
        # Ray raises a bare exception where a busy machine starts its helpers too slowly.
        if "timed out" in str(error):
            raise RayLostError(
                "Ray did not start in time: this machine is very busy. Try again when it has less "
                "to do"
            ) from error
        raise InputError(f"Ray does not start on this machine: {first_line(error)}") from error


def _not_reached(address: str | None, error: Exception) -> InputError:
    return InputError(
        f"Ray at {redact(address or 'this machine')} cannot be used: {first_line(error)}. Check "
        "the address (--address or RAY_ADDRESS), e.g. HEAD:6379; a cluster with token "
        "authentication needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
    )


@contextlib.contextmanager
def _private() -> Iterator[None]:
    """Let a Ray that is started meanwhile be this process's alone, by a token of its own."""
    changes = {**PRIVATE, TOKEN: secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    _read_again(is_cluster=False)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _read_again(is_cluster=os.environ.get(LOOPBACK, "1") != "0")


def _read_again(*, is_cluster: bool) -> None:
    """Ray reads its environment when it is imported, which may be long ago."""
    from ray._private import ray_constants

    core: Any = importlib.import_module("ray._raylet")
    ray_constants.ENABLE_RAY_CLUSTER = is_cluster
    core.Config.initialize("")
    core.AuthenticationTokenLoader.instance().reset_cache()


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
    """SIGINT, SIGTERM and SIGHUP interrupt at once: a trial's epochs are in the store already.

    A hang-up that is ignored, as `nohup` does, goes on to be.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
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
