"""Batches and channels that the tests of heads share.

B batch, W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from shapca.data.batches.batch import Batch
from shapca.model.heads.channels import Channels


def prefix_mask(lengths: Sequence[int]) -> Tensor:
    """(B, W) true on the first words of each post."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def head_batch(word_mask: Tensor, **gold: Any) -> Batch:
    """A batch with what heads read; what encoders read is empty."""
    empty = torch.zeros(len(word_mask), 0, dtype=torch.long)
    return Batch(
        rows=torch.arange(len(word_mask)),
        input_ids=empty,
        attention_mask=empty.bool(),
        token_type_ids=empty,
        text_mask=empty.bool(),
        word_starts=torch.zeros_like(word_mask, dtype=torch.long),
        word_mask=word_mask,
        context_positions=empty,
        context_mask=empty.bool(),
        pos=word_mask.long(),
        image_mask=torch.zeros(len(word_mask), dtype=torch.bool),
        image_ids=torch.full((len(word_mask),), -1),
        **gold,
    )


def random_channels(
    word_mask: Tensor, width: int, channel_width: int | None, *, seed: int = 0, scale: float = 1.0
) -> Channels:
    """Normal features in float64; the text channel alone where `channel_width` is none."""
    generator = torch.Generator().manual_seed(seed)
    widths = [width] if channel_width is None else [width, channel_width, channel_width]
    text, *others = (
        scale * torch.randn(*word_mask.shape, size, generator=generator, dtype=torch.float64)
        for size in widths
    )
    return Channels(text, word_mask, *others)
