"""Batches of an epoch, collated here, by a thread that runs ahead, or by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset

from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.batches.parallel import in_order
from shapca.data.batches.pictures import Augmentation

BATCHES_AHEAD = 2
"""Batches that are ready while a CUDA device is busy with another."""


class _Batches(Dataset[Batch]):
    """A split seen as its batches; worker processes map its pictures instead of copying them."""

    def __init__(
        self,
        split: EncodedSplit,
        batches: Sequence[Sequence[int]],
        augmentation: Augmentation | None,
    ) -> None:
        self.split, self.batches, self.augmentation = split, batches, augmentation

    def __getitem__(self, index: int) -> Batch:
        return self.split.collate(self.batches[index], self.augmentation)

    def __len__(self) -> int:
        return len(self.batches)


def load_batches(
    split: EncodedSplit,
    batches: Sequence[Sequence[int]],
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
        num_workers: Worker processes; 0 collates in this one.
        pin_memory: For a CUDA device: batches lie in page-locked memory, from which they are copied
            while it computes, and are collated ahead by a thread. A CPU computes and collates with
            the same cores, so there nothing is gained by it.
    """
    dataset = _Batches(split, batches, augmentation)
    if num_workers == 0 and pin_memory:
        yield from in_order(
            lambda index: dataset[index].pin_memory(),
            range(len(dataset)),
            num_threads=1,
            ahead=BATCHES_AHEAD,
        )
    elif num_workers == 0:
        yield from map(dataset.__getitem__, range(len(dataset)))
    else:
        yield from DataLoader(
            dataset,
            batch_size=None,
            shuffle=False,
            num_workers=min(num_workers, len(dataset)),
            pin_memory=pin_memory,
            generator=torch.Generator(),  # its own, so that torch's global one is left alone
        )
