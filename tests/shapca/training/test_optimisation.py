"""Learning-rate schedule and optimizer steps."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from shapca.training.optimisation import Optimiser, warmup_cosine


def test_the_schedule_rises_then_falls_to_zero() -> None:
    factors = [warmup_cosine(step, 100, 0.05) for step in range(101)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5] == 1.0
    assert all(a > b for a, b in itertools.pairwise(factors[5:]))
    assert factors[5 + 19] == pytest.approx(0.5 * (1 + math.cos(math.pi * 19 / 95)))
    assert factors[100] == pytest.approx(0.0)
    assert warmup_cosine(500, 100, 0.05) == pytest.approx(0.0)


@pytest.mark.parametrize(("num_steps", "ratio"), [(1, 0.0), (1, 0.9), (2, 0.5), (3, 0.999)])
def test_short_runs_have_a_schedule_too(num_steps: int, ratio: float) -> None:
    factors = [warmup_cosine(step, num_steps, ratio) for step in range(num_steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1.0


def optimiser(module: nn.Module, clip_norm: float | None) -> Optimiser:
    groups = [{"params": list(module.parameters()), "lr": 0.1, "weight_decay": 0.0}]
    return Optimiser(groups, num_steps=10, warmup_ratio=0.5, clip_norm=clip_norm)


def test_a_step_follows_the_schedule_and_forgets_gradients() -> None:
    module = nn.Linear(2, 1, bias=False)
    before = module.weight.detach().clone()
    steps = optimiser(module, None)
    module.weight.grad = torch.tensor([[3.0, 4.0]])
    assert steps.step() == pytest.approx(5.0)
    # Adam's first step is the learning rate in each coordinate: 0.1 times 1/5 of the warm-up.
    assert torch.allclose(before - module.weight, torch.full((1, 2), 0.02), atol=1e-6)
    assert module.weight.grad is None
    assert steps.step_number == 1


@pytest.mark.parametrize(("clip_norm", "norm"), [(None, 5.0), (1.0, 1.0), (10.0, 5.0)])
def test_gradients_are_clipped_by_their_global_norm(clip_norm: float | None, norm: float) -> None:
    module = nn.Linear(2, 1, bias=False)
    module.weight.grad = torch.tensor([[3.0, 4.0]])
    steps = optimiser(module, clip_norm)
    seen: list[float] = []

    def look(*_: object) -> None:
        assert module.weight.grad is not None
        seen.append(float(module.weight.grad.norm()))

    steps.adamw.register_step_pre_hook(look)
    assert steps.step() == pytest.approx(5.0)
    assert seen == pytest.approx([norm])
