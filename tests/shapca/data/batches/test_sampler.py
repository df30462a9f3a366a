from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shapca.data.batches.sampler import epoch_batches
from shapca.data.preparation.readers import READERS


def repeats(batches: list[list[int]], image_ids: list[int]) -> int:
    """Posts whose image another post of the batch has, too."""
    shown = [[image_ids[row] for row in batch if image_ids[row] >= 0] for batch in batches]
    return sum(len(images) - len(set(images)) for images in shown)


posts = st.lists(st.tuples(st.integers(1, 40), st.integers(-1, 12)), min_size=1, max_size=80)


@given(posts, st.integers(1, 9), st.integers(0, 3), st.booleans())
def test_each_epoch_holds_each_row_once_in_as_many_batches(
    posts: list[tuple[int, int]], batch_size: int, seed: int, shuffle: bool
) -> None:
    lengths, image_ids = zip(*posts, strict=True)
    for epoch in (1, 2):
        batches = epoch_batches(
            lengths, image_ids, batch_size, seed=seed, epoch=epoch, shuffle=shuffle
        )
        assert sorted(row for batch in batches for row in batch) == list(range(len(posts)))
        sizes = sorted(map(len, batches))
        assert len(sizes) == -(-len(posts) // batch_size)
        assert all(size == batch_size for size in sizes[1:])


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    lengths, image_ids = np.arange(100) % 17, np.arange(100) // 2
    first = epoch_batches(lengths, image_ids, 8, seed=1, epoch=1)
    np.random.seed(99)
    assert epoch_batches(lengths.tolist(), image_ids.tolist(), 8, seed=1, epoch=1) == first
    assert epoch_batches(lengths, image_ids, 8, seed=1, epoch=2) != first
    assert epoch_batches(lengths, image_ids, 8, seed=2, epoch=1) != first


def test_batches_hold_posts_of_like_lengths() -> None:
    lengths = np.random.default_rng(0).integers(5, 120, 2000)
    image_ids = np.arange(2000)
    sampled = epoch_batches(lengths, image_ids, 28, seed=0, epoch=1)
    sorted_ = epoch_batches(lengths, image_ids, 28, seed=0, epoch=1, shuffle=False)
    padded = [sum(len(b) * lengths[b].max() for b in batches) for batches in (sampled, sorted_)]
    assert padded[0] < 1.12 * lengths.sum()
    assert padded[1] < 1.03 * lengths.sum()
    longest = [lengths[batch].max() for batch in sampled]
    assert longest != sorted(longest), "the order of the batches is not shuffled"


def test_posts_that_share_an_image_are_kept_apart() -> None:
    """As in MNRE: a quarter of the rows share tweet and image with others, hence the length."""
    generator = np.random.default_rng(0)
    image_ids = np.concatenate([np.arange(3000), generator.integers(0, 900, 1000)])
    lengths = 10 + image_ids % 50
    for epoch in range(1, 4):
        batches = epoch_batches(lengths, image_ids, 28, seed=0, epoch=epoch)
        assert repeats(batches, image_ids.tolist()) == 0


def test_images_that_cannot_be_kept_apart_stay() -> None:
    image_ids = [0] * 6 + [1, 2]
    batches = epoch_batches([5] * 8, image_ids, 2, seed=0, epoch=1)
    assert repeats(batches, image_ids) == 2


def test_missing_images_are_no_repeats() -> None:
    lengths, image_ids = np.arange(64), np.full(64, -1)
    assert epoch_batches(lengths, image_ids, 8, seed=0, epoch=1) == epoch_batches(
        lengths, np.arange(64), 8, seed=0, epoch=1
    )


@pytest.mark.real_data
def test_no_batch_of_mnre_shows_an_image_twice(real_data: Path) -> None:
    examples = READERS["mnre"](real_data / "mnre").splits["train"]
    numbers: dict[str | None, int] = {}
    image_ids = [numbers.setdefault(example.image, len(numbers)) for example in examples]
    lengths = [len(example.words) for example in examples]
    assert repeats([list(range(len(examples)))], image_ids) > 2000
    batches = epoch_batches(lengths, image_ids, 28, seed=0, epoch=1)
    assert repeats(batches, image_ids) == 0
