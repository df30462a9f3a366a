"""One real epoch of a sweep's middle configuration, in a storage that is thrown away."""

from __future__ import annotations

import time
from dataclasses import dataclass

from orchestrator.cluster.scratch import scratch_folder
from orchestrator.config.conditions import present
from orchestrator.config.dimensions import ChoiceDimension, Scalar
from orchestrator.config.sweep import LISTED, SweepConfig
from shapca.config import RuntimeConfig
from shapca.runs.layout import BEST, CHECKPOINT
from shapca.storage import FolderStore
from shapca.words import counted


@dataclass(frozen=True)
class EpochCost:
    """What an epoch costs.

    Attributes:
        seconds: Training, validation and checkpoint of one epoch.
        checkpoint_bytes: Size of a checkpoint.
        best_bytes: Size of the best weights.
        source: How that is known.
        start_seconds: Time before the first epoch of a fresh process; 0 where not measured.
    """

    seconds: float
    checkpoint_bytes: int
    best_bytes: int
    source: str
    start_seconds: float = 0.0


def middle(sweep: SweepConfig) -> dict[str, Scalar]:
    """The setting in the middle of every dimension: of a choice or list, the one in its middle.

    Of conditional dimensions those that are there.
    """
    if sweep.configurations:
        names = list(sweep.configurations)
        return {LISTED: names[len(names) // 2]}
    values: dict[str, Scalar] = {}
    for key, dimension in sweep.space.items():
        if isinstance(dimension, ChoiceDimension):
            values[key] = dimension.values[len(dimension.values) // 2]
            continue
        low, high = dimension.low, dimension.high
        centre = (low * high) ** 0.5 if dimension.log else (low + high) / 2
        values[key] = round(centre) if dimension.type == "int" else centre
    return present(sweep.space, values)


def probe(sweep: SweepConfig, runtime: RuntimeConfig) -> EpochCost:
    """Train one epoch and measure it.

    Args:
        sweep: The sweep's file.
        runtime: Device, threads and data root, as a trial would have them.

    Raises:
        InputError: Data set or weights are missing.
    """
    from orchestrator.store.cell_factory import prepared_folder
    from shapca.data.prepared import PreparedData
    from shapca.model.device import choose_device, device_name
    from shapca.training import Training

    began = time.monotonic()
    config = sweep.resolve(middle(sweep))
    data = PreparedData.load(prepared_folder(runtime.data_root, config))
    with scratch_folder() as folder:
        store = FolderStore(folder)
        seed = sweep.protocol.seeds[0]
        training = Training(config, data, seed=seed, runtime=runtime, store=store)
        record = next(training.epochs())
        whole = time.monotonic() - began
        training.close()
        sizes = {
            part: sum(path.stat().st_size for path in (folder / part).rglob("*") if path.is_file())
            for part in (CHECKPOINT, BEST)
        }
    device = device_name(choose_device(runtime.device))
    threads = (
        f", {counted(runtime.num_threads, 'thread')}"
        if device == "cpu" and runtime.num_threads
        else ""
    )
    return EpochCost(
        seconds=record.seconds,
        checkpoint_bytes=sizes[CHECKPOINT],
        best_bytes=sizes[BEST],
        source=f"one epoch on {device}{threads}",
        start_seconds=max(0.0, whole - record.seconds),
    )
