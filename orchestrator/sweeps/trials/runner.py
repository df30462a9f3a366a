"""Executes a sweep on Ray: connects, checks the resources, and runs one Tune run to its end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.cluster.parcels.delivery import Delivery
from orchestrator.cluster.scratch import scratch_folder
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.address import is_remote
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.trials.cell_run import TRAINING
from shapca.config import RuntimeConfig

EPOCHS_A_CHECKPOINT = 5
"""In a bucket, where each request takes its time; a file is cheap."""
RETRIES = 3
"""New processes that a cell gets when one is lost; preemptions do not count."""


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
    lease: int | None = None,
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
        lease: Number of the lease under which the sweep runs, if it does: a trial that is begun
            under another one touches nothing.

    Raises:
        KeyboardInterrupt: The user interrupted it; trials are not waited for.
    """
    from ray import tune

    from orchestrator.sweeps.trials.adapters import Bridge, SweepScheduler, SweepSearcher
    from orchestrator.sweeps.trials.trainable import METRIC, CellTrial

    bridge = Bridge(conductor, on_change, check)
    threads = runtime.num_threads or max(1, int(sweep.resources.cpu))
    every = runtime.checkpoint_every or (EPOCHS_A_CHECKPOINT if is_remote(storage) else 1)
    settings = {"num_threads": threads, "checkpoint_every": every}
    config = {
        "storage": storage,
        "sweep": sweep.name,
        "runtime": runtime.model_copy(update=settings).model_dump(mode="json"),
        "training": training,
        "folder": str(Path.cwd()),
        "delivery": None if delivery is None else delivery.to_json(),
        "lease": lease,
    }
    with scratch_folder() as folder:
        tune.run(
            CellTrial,
            name=sweep.name,
            metric=METRIC,
            mode="max",
            config=config,
            num_samples=-1,
            search_alg=SweepSearcher(bridge),
            scheduler=SweepScheduler(bridge),
            callbacks=[bridge],
            max_concurrent_trials=slots,
            resources_per_trial={"cpu": sweep.resources.cpu, "gpu": sweep.resources.gpus},
            reuse_actors=True,
            max_failures=RETRIES,
            raise_on_failed_trial=False,
            storage_path=str(folder),
            verbose=0,
        )
    if bridge.error is not None:
        raise bridge.error
