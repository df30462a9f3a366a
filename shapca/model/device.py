"""Where a run computes, and how much memory it took there."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from shapca.config import RuntimeConfig
from shapca.errors import InputError


def set_up(runtime: RuntimeConfig) -> torch.device:
    """Set torch's CPU threads where the run-time settings fix them, and choose the device.

    Raises:
        InputError: no such device.
    """
    if runtime.num_threads is not None:
        torch.set_num_threads(runtime.num_threads)
    return choose_device(runtime.device)


def choose_device(name: str, key: str = "runtime.device") -> torch.device:
    """The device that a name means; `auto` is CUDA where present.

    Args:
        name: `auto`, `cpu`, `cuda:0` …
        key: What the name was given as, for messages.

    Raises:
        InputError: no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"{key}: {name!r} is no device here, expected auto, cpu or cuda:0")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"{key}: {name!r}, but this machine has {count} CUDA devices")
    return device


@contextmanager
def arithmetic(device: torch.device, precision: str) -> Iterator[None]:
    """Compute by a run's `optimisation.precision`, whatever torch or the environment would choose.

    Args:
        device: Where the model is.
        precision: `fp32`; `tf32`, for matrix products and convolutions of CUDA, and on a CPU the
            same as `fp32`; or `bf16`, by autocast.
    """
    matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        if device.type == "cuda":
            torch.set_float32_matmul_precision(matmul)
            torch.backends.cudnn.allow_tf32 = convolution


def device_name(device: torch.device) -> str:
    """A device as a record names it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory_mb(device: torch.device) -> float:
    """Highest memory use so far in MiB: of the device for CUDA, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
