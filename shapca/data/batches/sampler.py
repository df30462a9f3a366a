"""The order of an epoch: batches of like lengths, in which no image appears twice.

N posts of a split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

BATCHES_SORTED_TOGETHER = 16
"""Posts are sorted by length within this many batches: more pads less and mixes less."""


def epoch_batches(
    lengths: Sequence[int] | NDArray[np.integer],
    image_ids: Sequence[int] | NDArray[np.integer],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    shuffle: bool = True,
) -> list[list[int]]:
    """Batches of one epoch, a pure function of the arguments, so that resuming needs no state.

    Posts are shuffled, sorted by length within groups of 16 batches, and cut into batches, whose
    order is shuffled. A post whose image is already in its batch then changes places with a post
    of the nearest batch that takes it; where none does, it stays. Without `shuffle` posts are
    sorted by length alone, for evaluation, where the company of a post does not matter.

    Args:
        lengths: (N,) sub-words of each post.
        image_ids: (N,) equal numbers for posts that share an image, -1 for none.
        batch_size: Posts of a batch; one batch holds the rest, if any.
        seed: Seed of the run.
        epoch: Number of the epoch; another epoch gives another order.
        shuffle: Training order (true) or evaluation order.

    Returns:
        ceil(N / batch_size) lists of row numbers; each row appears once.
    """
    lengths = np.asarray(lengths)
    if not shuffle:
        order = np.argsort(lengths, kind="stable")
        return _cut(order, batch_size)
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch, 0)))
    order = generator.permutation(len(lengths))
    batches: list[list[int]] = []
    group = batch_size * BATCHES_SORTED_TOGETHER
    for start in range(0, len(order), group):
        rows = order[start : start + group]
        batches += _cut(rows[np.argsort(lengths[rows], kind="stable")], batch_size)
    _keep_images_apart(batches, np.asarray(image_ids).tolist())
    return [batches[index] for index in generator.permutation(len(batches))]


def _cut(order: NDArray[np.integer], batch_size: int) -> list[list[int]]:
    return [order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)]


def _keep_images_apart(batches: list[list[int]], image_ids: list[int]) -> None:
    """Swap posts between batches, in place, until no image appears twice where that can be."""
    held = [Counter(image_ids[row] for row in batch) for batch in batches]
    for number, batch in enumerate(batches):
        seen: set[int] = set()
        for place, row in enumerate(batch):
            image = image_ids[row]
            if image >= 0 and image in seen:
                _swap_out(batches, held, image_ids, number, place)
            seen.add(image_ids[batch[place]])


def _swap_out(
    batches: list[list[int]],
    held: list[Counter[int]],
    image_ids: list[int],
    number: int,
    place: int,
) -> None:
    """Exchange one post with one of the nearest batch, if any, in which neither is a repeat."""
    row = batches[number][place]
    image = image_ids[row]
    for other in _outwards(number, len(batches)):
        if held[other][image]:
            continue
        for other_place, other_row in enumerate(batches[other]):
            other_image = image_ids[other_row]
            if other_image < 0 or not held[number][other_image]:
                batches[number][place], batches[other][other_place] = other_row, row
                held[number].subtract([image])
                held[number].update([other_image])
                held[other].subtract([other_image])
                held[other].update([image])
                return


def _outwards(start: int, stop: int) -> Iterator[int]:
    """Numbers of 0 … stop - 1 by their distance from `start`, which is left out."""
    for distance in range(1, max(start + 1, stop - start)):
        if start - distance >= 0:
            yield start - distance
        if start + distance < stop:
            yield start + distance
