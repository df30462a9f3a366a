"""Training steps on the device, and what is expected of them."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor

from shapca.data.batches.batch import Batch
from shapca.model.device import arithmetic
from shapca.model.network import ModelOutput, ShapCA
from shapca.training.optimisation import Optimiser
from tests.gpu.device import DEVICE, IS_CUDA, waiting_is_an_error

NUM_STEPS = 3


def optimiser_of(model: ShapCA) -> Optimiser:
    groups = model.parameter_groups(0.01, 1e-3, 1e-4)
    return Optimiser(groups, num_steps=NUM_STEPS + 1, warmup_ratio=0.0, clip_norm=1.0)


def backward(model: ShapCA, batch: Batch, precision: str) -> ModelOutput:
    """A forward and a backward pass, as training computes them."""
    device = batch.rows.device
    with arithmetic(device, precision):
        output: ModelOutput = model(batch, Generator().manual_seed(0))
        with torch.autocast(device.type, enabled=False):
            output.loss.backward()
    return output


def train(model: ShapCA, batch: Batch, precision: str) -> tuple[Tensor, Tensor]:
    """Losses and norms of gradients of a few steps, without dropout."""
    model.eval()
    optimiser = optimiser_of(model)
    losses, norms = [], []
    for _ in range(NUM_STEPS):
        output = backward(model, batch, precision)
        losses.append(output.loss.detach())
        norms.append(optimiser.step())
    return torch.stack(losses).float().cpu(), torch.stack(norms).float().cpu()


def assert_trains_as_on_the_cpu(model: ShapCA, batch: Batch, precision: str) -> None:
    """A few steps of a model of the CPU on the device."""
    there = copy.deepcopy(model).to(DEVICE)
    losses, norms = train(model, batch, precision)
    found, found_norms = train(there, batch.to(DEVICE), precision)
    # Adam steps by the sign of a gradient, however small: later steps drift a little apart.
    first, later = (1e-4, 2e-2) if precision == "fp32" else (3e-2, 6e-2)
    torch.testing.assert_close(found[0], losses[0], rtol=first, atol=1e-5)
    torch.testing.assert_close(found_norms[0], norms[0], rtol=max(30 * first, 1e-3), atol=1e-5)
    torch.testing.assert_close(found, losses, rtol=later, atol=1e-4)
    assert losses[-1] != losses[0]


def assert_waits_for_nothing(model: ShapCA, batch: Batch, precision: str) -> None:
    """A training step gives the device its work and goes on."""
    model = model.to(DEVICE).train()
    optimiser = optimiser_of(model)
    if IS_CUDA:
        batch = batch.pin_memory()

    def step() -> Tensor:
        backward(model, batch.to(DEVICE), precision)
        return optimiser.step()

    step()  # libraries set themselves up at their first call, and wait then
    with waiting_is_an_error():
        norm = step()
    assert norm.isfinite()
