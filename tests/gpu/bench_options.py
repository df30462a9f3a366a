"""What options are worth on a real GPU: precision, compiling, pictures' layout, and not waiting.

The models are those of `bench_cuda`. `-s` shows the figures.
"""

from __future__ import annotations

import time
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from shapca.alignment.health import AlignmentHealth
from shapca.config import Task
from shapca.data.prepared import PreparedData
from shapca.model.device import arithmetic
from shapca.training.learning import _compile
from tests.gpu.bench_cuda import BATCH, batch_of, full_size, training_step
from tests.gpu.device import (
    DEVICE,
    IS_CUDA,
    device_name,
    kernel_milliseconds,
    milliseconds,
    needs_device,
    num_kernels,
    synchronise,
)

pytestmark = needs_device

Datasets = dict[Task, PreparedData]
PRECISIONS = ["fp32", "tf32", "bf16"] if IS_CUDA else ["bf16"]


def as_it_lies(tensor: Tensor, memory_format: torch.memory_format | None = None) -> Tensor:
    """`contiguous` but for pictures, which stay row by row."""
    return tensor if memory_format else tensor.clone(memory_format=torch.contiguous_format)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_the_device_has_to_do_in_a_step(tiny_datasets: Datasets, precision: str) -> None:
    _, step = training_step(tiny_datasets, full_size("mner"), precision)
    whole = milliseconds(step)
    busy = kernel_milliseconds(step)

    def waiting() -> None:
        synchronise()
        step()

    waited = milliseconds(waiting)
    with mock.patch.object(Tensor, "contiguous", as_it_lies):
        as_they_come = milliseconds(step)
    print(
        f"\n{device_name()}: mner, {precision}: {whole:.1f} ms a step, kernels {busy:.1f} ms of "
        f"it; with a wait before each step {waited:.1f} ms; pictures not laid out channels last "
        f"{as_they_come:.1f} ms"
    )
    assert waited > 0


@pytest.mark.parametrize("precision", ["tf32", "bf16"] if IS_CUDA else [])
def test_a_compiled_step(tiny_datasets: Datasets, precision: str) -> None:
    model, step = training_step(tiny_datasets, full_size("mner"), precision)
    plain, many = milliseconds(step), num_kernels(step)
    _compile(model, "inductor")
    started = time.perf_counter()
    step()
    synchronise()
    compiling = time.perf_counter() - started
    compiled, few = milliseconds(step), num_kernels(step)
    print(
        f"\n{device_name()}: mner, {precision}: {plain:.1f} ms and {many} kernels a step, compiled "
        f"{compiled:.1f} ms and {few} kernels, after {compiling:.0f} s of compiling"
    )
    assert compiled > 0


@pytest.mark.parametrize("task", ["mner", "mjere"])
def test_predictions_of_each_precision(tiny_datasets: Datasets, task: Task) -> None:
    config = full_size(task)
    model, _ = training_step(tiny_datasets, config, "fp32")
    model.eval()
    batch = batch_of(tiny_datasets[task], config)
    batch = batch.pin_memory() if IS_CUDA else batch

    def predict(precision: str) -> Any:
        with torch.inference_mode(), arithmetic(DEVICE, precision):
            return model.predict(batch.to(DEVICE), AlignmentHealth(read_together=False))

    for precision in PRECISIONS:
        taken = milliseconds(lambda: predict(precision))  # noqa: B023
        print(
            f"\n{device_name()}: {task}, {precision}: {1e3 * BATCH / taken:.0f} posts a second are "
            "predicted"
        )
        assert taken > 0
