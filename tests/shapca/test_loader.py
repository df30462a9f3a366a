import dataclasses

import pytest
import torch

from shapca.data.loader import load_batches
from shapca.data.prepared import PreparedData
from shapca.data.sampler import epoch_batches
from shapca.inputs import encode_split
from tests.factories import tiny_config


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_change_neither_batches_nor_random_states(
    tiny_mre: PreparedData, num_workers: int
) -> None:
    split = encode_split(tiny_config("mre"), tiny_mre, "train")
    order = epoch_batches(split.lengths, split.image_ids, 7, seed=0, epoch=1)
    augmentation = split.augmentation(seed=0, epoch=1)
    state = torch.get_rng_state()
    loaded = list(load_batches(split, order, augmentation=augmentation, num_workers=num_workers))
    assert torch.equal(torch.get_rng_state(), state)
    assert [batch.rows.tolist() for batch in loaded] == order
    for batch, rows in zip(loaded, order, strict=True):
        expected = split.collate(rows, augmentation)
        for field in dataclasses.fields(batch):
            got, wanted = getattr(batch, field.name), getattr(expected, field.name)
            assert (got is None) == (wanted is None)
            assert got is None or torch.equal(got, wanted)
