"""Residual blocks whose activations are computed once more in the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@torch.compiler.disable
def recomputed(block: nn.Module, features: Tensor, *, is_random: bool = False) -> Tensor:
    """What a block gives; of its activations the input alone is kept.

    Args:
        block: The block.
        features: Its input.
        is_random: Whether it draws numbers, as dropout does: the same ones are drawn again then.
    """
    result: Tensor = checkpoint(
        block,
        features,
        use_reentrant=False,
        preserve_rng_state=is_random,
        context_fn=lambda: (nullcontext(), _statistics_kept(block)),
    )
    return result


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Let batch norm see a batch a second time without counting it a second time."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    counts = [norm.num_batches_tracked for norm in norms]
    before = [
        (norm.momentum, None if count is None else count.clone())
        for norm, count in zip(norms, counts, strict=True)
    ]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, count, (momentum, value) in zip(norms, counts, before, strict=True):
            norm.momentum = momentum
            if count is not None and value is not None:
                count.copy_(value)
