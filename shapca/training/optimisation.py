"""The optimizer of a run: AdamW with two learning rates, warm-up and cosine decay, clipping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def warmup_cosine(step: int, num_steps: int, warmup_ratio: float) -> float:
    r"""Share of the peak learning rate at a step: a linear rise, then half a cosine to zero.

    .. math:: f(n) = \min\left(\frac{n + 1}{w}, 1\right) \text{ for } n < w, \quad
              \tfrac12 \left(1 + \cos \pi \frac{n - w}{N - w}\right) \text{ else}

    Args:
        step: n, the number of steps already taken.
        num_steps: N, all steps planned.
        warmup_ratio: w / N, rounded up to whole steps.

    Returns:
        A factor in [0, 1].
    """
    num_warmup = math.ceil(num_steps * warmup_ratio)
    if step < num_warmup:
        return (step + 1) / num_warmup
    progress = (step - num_warmup) / max(1, num_steps - num_warmup)
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


class Optimiser:
    """AdamW whose learning rates follow `warmup_cosine`; the schedule's state is `step` alone.

    Args:
        groups: Parameter groups with `lr` (the peak) and `weight_decay`.
        num_steps: Steps planned over the whole run.
        warmup_ratio: Share of them in which the learning rates rise.
        clip_norm: Global norm that gradients are clipped to; None: not at all.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        *,
        num_steps: int,
        warmup_ratio: float,
        clip_norm: float | None,
    ) -> None:
        self.adamw = torch.optim.AdamW(list(groups), fused=True)
        self.step_number = 0
        self.num_steps = num_steps
        self._warmup_ratio = warmup_ratio
        self._clip_norm = clip_norm
        self._peaks = [group["lr"] for group in self.adamw.param_groups]
        self._parameters = [p for group in self.adamw.param_groups for p in group["params"]]

    def step(self) -> Tensor:
        """Update the parameters and forget their gradients.

        Returns:
            Global norm of the gradients before clipping, a scalar.
        """
        factor = warmup_cosine(self.step_number, self.num_steps, self._warmup_ratio)
        for group, peak in zip(self.adamw.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self._clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self._clip_norm, norm)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        self.step_number += 1
        return norm
