"""Batches of an epoch, collated here, by a thread that runs ahead, or by worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch
from torch.utils.data import DataLoader

from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.batches.parallel import in_order
from shapca.data.batches.pictures import Augmentation

BATCHES_AHEAD = 2
"""Batches that are ready while a CUDA device is busy with another."""


def load_batches(
    split: EncodedSplit,
    batches: Sequence[list[int]],
    *,
    augmentation: Augmentation | None = None,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Collate batches in the given order; the result does not depend on the number of workers.

    Args:
        split: The encoded split.
        batches: Row numbers of each batch (`epoch_batches`).
        augmentation: Crops and flips of the epoch (`EncodedSplit.augmentation`).
        num_workers: Worker processes, which map the split's pictures instead of copying them; 0
            collates in this one.
        pin_memory: For a CUDA device: batches lie in page-locked memory, from which they are copied
            while it computes, and are collated ahead by a thread. A CPU computes and collates with
            the same cores, so there nothing is gained by it.
    """
    collate = partial(split.collate, augmentation=augmentation)
    if num_workers > 0:
        yield from DataLoader(
            range(len(split)),  # type: ignore[arg-type]
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=min(num_workers, len(batches)),
            pin_memory=pin_memory,
            generator=torch.Generator(),  # its own, so that torch's global one is left alone
        )
    elif pin_memory:
        yield from in_order(
            lambda rows: collate(rows).pin_memory(), batches, num_threads=1, ahead=BATCHES_AHEAD
        )
    else:
        yield from map(collate, batches)


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches on a device.

    On a CUDA device they are copied in a stream of their own, so that a batch in page-locked memory
    arrives while the one before is computed with; neither host nor copy waits for that.
    """
    if device.type != "cuda":
        yield from (batch.to(device) for batch in batches)
        return
    copying = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(copying):
            there = batch.to(device)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        there.record_stream(computing)
        yield there
