"""The device of these tests: a GPU, or a CPU to try the tests themselves."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

DEVICE = torch.device(os.environ.get("SHAPCA_GPU_TEST_DEVICE", "cuda"))
IS_CUDA = DEVICE.type == "cuda"

needs_device = pytest.mark.skipif(
    IS_CUDA and not torch.cuda.is_available(), reason="no GPU; SHAPCA_GPU_TEST_DEVICE=cpu tries on"
)


def synchronise() -> None:
    """Wait until the device has done what it was given."""
    if IS_CUDA:
        torch.cuda.synchronize(DEVICE)


@contextlib.contextmanager
def waiting_is_an_error() -> Iterator[None]:
    """Raise where the host would wait for the device."""
    if not IS_CUDA:
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def milliseconds(step: Callable[[], Any], *, rounds: int = 10, warm_up: int = 3) -> float:
    """Mean time of a step when many are given to the device one after another."""
    for _ in range(warm_up):
        step()
    synchronise()
    started = time.perf_counter()
    for _ in range(rounds):
        step()
    synchronise()
    return 1e3 * (time.perf_counter() - started) / rounds


def num_kernels(step: Callable[[], Any]) -> int:
    """Kernels that a step launches, copies included; 0 where the profiler sees none."""
    return len(_kernels(step))


def kernel_milliseconds(step: Callable[[], Any]) -> float:
    """Time that the device is at work in a step; 0 where the profiler sees none."""
    return sum(event.device_time_total for event in _kernels(step)) / 1e3


def _kernels(step: Callable[[], Any]) -> list[Any]:
    if not IS_CUDA:
        return []
    step()
    synchronise()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        step()
        synchronise()
    of_device = torch.autograd.DeviceType.CUDA
    return [event for event in profile.events() if event.device_type == of_device]


def device_name() -> str:
    """The card, with the versions that its figures belong to."""
    card = torch.cuda.get_device_name(DEVICE) if IS_CUDA else "CPU"
    return f"{card}, torch {torch.__version__}"
