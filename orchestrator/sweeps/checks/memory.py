"""How much memory the trials of a sweep take at most, and how many of them a GPU has room for."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cluster.nodes import ask_nodes
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import prepared_folder
from orchestrator.sweeps.checks.doctor import Finding
from shapca.config import ExperimentConfig
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.words import counted

if TYPE_CHECKING:
    from shapca.training.memory import StepMemory  # torch: imported where a forecast is made

CUDA_ITSELF = int(0.8 * 2**30)
"""What CUDA and its libraries take in each process beside tensors: 0.76 GiB on an H100."""
USABLE = 0.9
"""The part of a GPU's memory that is counted on: the allocator's holes took up to a tenth."""

_parts = attrgetter(
    "task", "data.dataset", "data.contexts", "text", "image", "fusion", "head",
    "alignment.objective", "alignment.estimator", "alignment.features",
    "optimisation.batch_size", "optimisation.precision",
)  # fmt: skip


Locate = Callable[[ExperimentConfig], ExperimentConfig]
"""Gives a configuration whose local weights lie on this machine."""


def memory_of(
    sweep: SweepConfig, data_root: Path, *, on_cuda: bool, locate: Locate | None = None
) -> StepMemory:
    """The memory of the largest of a sweep's configurations; nothing is trained.

    Args:
        sweep: The sweep's file.
        data_root: Folder of the prepared data sets.
        on_cuda: Whether trials would train on a CUDA device; none is needed for this.
        locate: Finds weights that were sent here; None: they lie where the file says.

    Raises:
        InputError: A data set is not here (none is drawn), or a model's configuration.
    """
    from shapca.training.memory import memory_of_training

    seed = sweep.protocol.seeds[0]

    def measured(config: ExperimentConfig) -> StepMemory:
        data = PreparedData.load(data_root / config.data.dataset)
        config = config if locate is None else locate(config)
        return memory_of_training(config, data, seed=seed, on_cuda=on_cuda)

    distinct = {str(_parts(config)): config for config in sweep.experiments()}
    return max(map(measured, distinct.values()), key=attrgetter("peak"))


def room_for(memory: StepMemory, gpu_bytes: int) -> int:
    """How many trials a GPU has room for at once."""
    return math.floor(USABLE * gpu_bytes / (memory.peak + CUDA_ITSELF))


def with_gpu_share(
    sweep: SweepConfig, data_root: Path, locate: Locate | None = None
) -> SweepConfig:
    """The sweep with the share of a GPU that a trial's memory allows in place of `auto`.

    Within a Ray session: the smallest GPU of the nodes that it has by now counts.

    Args:
        sweep: The sweep's file.
        data_root: Folder of the prepared data sets.
        locate: As for `memory_of`.

    Raises:
        InputError: No node has a GPU, or not even one trial fits.
    """
    sizes = ask_nodes(_smallest_gpu_of_node, max_calls=1)
    gpu_bytes = min(filter(None, sizes.values()), default=None)
    if gpu_bytes is None:
        raise InputError("resources.gpu: auto: no node has a GPU; --set resources.gpu=0")
    for config in sweep.experiments():
        prepared_folder(data_root, config)  # draws a synthetic one
    memory = memory_of(sweep, data_root, on_cuda=True, locate=locate)
    num = room_for(memory, gpu_bytes)
    if num == 0:
        raise InputError(f"resources.gpu: auto: {_too_large(memory, gpu_bytes)}")
    sweep = sharing(sweep, num)
    share = sweep.resources.gpus
    print(f"note: resources.gpu={share:g}, by the forecast of memory", file=sys.stderr)
    return sweep


def sharing(sweep: SweepConfig, num: int) -> SweepConfig:
    """The sweep where so many of its trials share a GPU."""
    share = math.floor(1e4 / num) / 1e4  # Ray's precision
    resources = sweep.resources.model_copy(update={"gpu": share})
    return sweep.model_copy(update={"resources": resources})


def examine_memory(sweep: SweepConfig, data_root: Path, gpu_bytes: int | None) -> Iterator[Finding]:
    """Whether the trials that share a GPU fit on it; without one, what a trial takes.

    Nothing is said where data sets or models are not here: others say that.

    Args:
        sweep: The sweep's file.
        data_root: Folder of the prepared data sets.
        gpu_bytes: Memory of the smallest GPU; None: there is none.
    """
    from shapca.training.memory import NoForecast

    try:
        memory = memory_of(sweep, data_root, on_cuda=True)
    except NoForecast as error:
        yield Finding("warn", "memory", str(error))
        return
    except InputError:
        return
    shown = f"{gib(memory.peak)} of tensors at a trial's peak on a GPU, forecast"
    if gpu_bytes is None:
        yield Finding("ok", "memory", shown)
        return
    num = room_for(memory, gpu_bytes)
    shown = f"{shown}; a GPU of {gib(gpu_bytes)} has room for {counted(num, 'trial')}"
    together = 1 if sweep.resources.gpu == "auto" else math.floor(1 / min(1, sweep.resources.gpus))
    if num == 0:
        yield Finding("fail", "memory", _too_large(memory, gpu_bytes), _remedy(sweep))
    elif together > num:
        share = math.ceil(100 / num) / 100
        remedy = f"--set resources.gpu={share:g}, or auto"
        yield Finding("fail", "memory", f"{shown}, resources.gpu puts {together} on it", remedy)
    else:
        yield Finding("ok", "memory", shown)


def smallest_gpu() -> int | None:
    """Bytes of the smallest GPU that torch can use here; None where there is none."""
    import torch

    gpus = range(torch.cuda.device_count())
    return min((torch.cuda.get_device_properties(one).total_memory for one in gpus), default=None)


def _smallest_gpu_of_node() -> int | None:
    import os

    # The task itself occupies none; its process ends with it, so that no other sees them all.
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    return smallest_gpu()


def parse_size(text: str) -> int:
    """Bytes of `24GiB`, `80 GB` or `24` (GiB).

    Raises:
        InputError: another form.
    """
    units = {"GIB": 2**30, "GB": 10**9, "MIB": 2**20, "MB": 10**6, "": 2**30}
    number = text.strip().rstrip("GMIBgmib ")
    unit = text.strip()[len(number) :].strip().upper()
    try:
        size = float(number) * units[unit]
    except (KeyError, ValueError):
        size = 0.0
    if not 0 < size < math.inf:
        raise InputError(f"--gpu-memory: expected a size such as 24GiB or 80GB, got {text!r}")
    return int(size)


def gib(size: int) -> str:
    """Bytes as people read them: `3.9 GiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**28 else f"{size / 2**20:.0f} MiB"


def _too_large(memory: StepMemory, gpu_bytes: int) -> str:
    return (
        f"a trial takes {gib(memory.peak)} at its peak and {gib(CUDA_ITSELF)} for CUDA itself, a "
        f"GPU has {gib(gpu_bytes)}"
    )


def _remedy(sweep: SweepConfig) -> str:
    size = max(config.optimisation.batch_size for config in sweep.experiments())
    half = max(1, size // 2)
    return (
        f"--set experiment.optimisation.batch_size={half} with optimisation.accumulation=2, "
        "optimisation.precision=bf16, or text.gradient_checkpointing=true"
    )
