"""Executes a sweep on Ray: connects, checks the resources, and runs one Tune run to its end."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from orchestrator.cell_run import TRAINING
from orchestrator.cluster.delivery import Delivery
from orchestrator.conductor import Conductor
from orchestrator.ray_watch import RayLostError
from orchestrator.space import ResourceConfig, SweepConfig
from orchestrator.tracking_uri import redact
from shapca.config import RuntimeConfig
from shapca.errors import InputError

RETRIES = 3
"""New processes that a cell gets when one is lost; preemptions do not count."""
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


@dataclass(frozen=True)
class RayOptions:
    """How to reach Ray.

    Attributes:
        address: A cluster's address; none: `RAY_ADDRESS`, or a local Ray of its own.
        wait_for_resources: Wait for nodes that a request needs, instead of refusing it.
    """

    address: str | None = None
    wait_for_resources: bool = False

    @property
    def cluster(self) -> str | None:
        """Address of the cluster to join; none: a local Ray."""
        return self.address or os.environ.get("RAY_ADDRESS") or None


def slots_of(nodes: list[dict[str, float]], resources: ResourceConfig) -> int:
    """Trials that fit on the nodes at once.

    Args:
        nodes: Resources of each node.
        resources: What one trial occupies.
    """
    slots = 0
    for node in nodes:
        fits = [math.floor(node.get("CPU", 0.0) / resources.cpu + 1e-9)]
        if resources.gpu:
            fits.append(math.floor(node.get("GPU", 0.0) / resources.gpu + 1e-9))
        slots += min(fits)
    return slots


def check_resources(
    nodes: list[dict[str, float]], resources: ResourceConfig, *, wait: bool = False
) -> int:
    """How many trials run at once.

    Raises:
        InputError: no node can meet what one trial asks for.
    """
    slots = slots_of(nodes, resources)
    if slots == 0 and not wait:
        largest = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
        gpus = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
        raise InputError(
            f"resources: a trial asks for {resources.cpu:g} CPUs and {resources.gpu:g} GPUs, but "
            f"the largest of {len(nodes)} nodes has {largest:g} CPUs and {gpus:g} GPUs. Lower "
            "resources.cpu or resources.gpu (--set resources.gpu=0), or pass "
            "--wait-for-resources where nodes are still to come"
        )
    if resources.max_concurrent is not None:
        return resources.max_concurrent if wait else min(slots, resources.max_concurrent)
    return max(1, slots)


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
        # Ray would serve its metrics, which nobody reads here, on all interfaces and without its
        # token; all else that it listens on asks for that.
        os.environ.setdefault("RAY_enable_metrics_collection", "0")
        # `local` never joins a cluster that happens to run here.
        settings |= {"address": "local", "include_dashboard": False, "num_cpus": num_cpus()}
    else:
        settings |= {"address": address}
    with _quiet():
        try:
            with _own_signals():
                ray.init(**settings)
        except (ConnectionError, ray.exceptions.AuthenticationError) as error:
            raise InputError(_not_reachable(address, error)) from error
        except Exception as error:
            # Ray raises a bare exception where a busy machine starts its helpers too slowly; what
            # was started by then ends with this process.
            if address is not None or "timed out" not in str(error):
                raise
            raise RayLostError(
                "Ray did not start in time: this machine is very busy, try again when it has less "
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


def num_cpus() -> int:
    """CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def this_machine() -> dict[str, float]:
    """What a local Ray would offer; nothing is started for it."""
    import torch

    return {"CPU": float(num_cpus()), "GPU": float(torch.cuda.device_count())}


def node_resources() -> list[dict[str, float]]:
    """Resources of each living node."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def run_trials(
    conductor: Conductor,
    sweep: SweepConfig,
    *,
    storage: str,
    runtime: RuntimeConfig,
    slots: int,
    on_change: Callable[[], None],
    check: Callable[[], None],
    training: str = TRAINING,
    delivery: Delivery | None = None,
) -> None:
    """Work on a sweep until its conductor has nothing more, as one Tune run.

    Args:
        conductor: Decides.
        sweep: The sweep's file.
        storage: Absolute address of the storage.
        runtime: Device, threads and workers of the trials.
        slots: Trials at once.
        on_change: Called whenever something has happened, and some ten times a second.
        check: Raises where the sweep must not go on.
        training: `module:function` that opens a cell's training.
        delivery: What was packaged for nodes that lack the data.

    Raises:
        KeyboardInterrupt: the user interrupted it; trials are not waited for.
    """
    from ray import tune

    from orchestrator.adapters import Bridge, SweepCallback, SweepScheduler, SweepSearcher
    from orchestrator.trial import METRIC, CellTrial

    bridge = Bridge(conductor, on_change, check)
    threads = runtime.num_threads or max(1, int(sweep.resources.cpu))
    config = {
        "storage": storage,
        "sweep": sweep.name,
        "runtime": runtime.model_copy(update={"num_threads": threads}).model_dump(mode="json"),
        "training": training,
        "folder": str(Path.cwd()),
        "delivery": None if delivery is None else delivery.to_json(),
    }
    with tempfile.TemporaryDirectory(prefix="orchestrator-", ignore_cleanup_errors=True) as folder:
        tune.run(
            CellTrial,
            name=sweep.name,
            metric=METRIC,
            mode="max",
            config=config,
            num_samples=-1,
            search_alg=SweepSearcher(bridge),
            scheduler=SweepScheduler(bridge),
            callbacks=[SweepCallback(bridge)],
            max_concurrent_trials=slots,
            resources_per_trial={"cpu": sweep.resources.cpu, "gpu": sweep.resources.gpu},
            reuse_actors=True,
            max_failures=RETRIES,
            raise_on_failed_trial=False,
            storage_path=folder,
            verbose=0,
        )
    if bridge.error is not None:
        raise bridge.error


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def first_line(error: Exception) -> str:
    """The first line of what an error says, without credentials."""
    return redact(str(error).strip().partition("\n")[0])


def _not_reachable(address: str | None, error: Exception) -> str:
    return (
        f"Ray at {address or 'this machine'} cannot be used: {first_line(error)}. Check the "
        "address (--address or RAY_ADDRESS); a cluster with token authentication needs "
        "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
    )
