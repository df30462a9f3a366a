import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch

from shapca.data.batches.batch import Batch
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.batches.loader import BATCHES_AHEAD, load_batches, on_device
from shapca.data.batches.sampler import epoch_batches
from shapca.data.prepared import PreparedData
from shapca.model.inputs import encode_split
from tests.factories import tiny_config
from tests.fake_cuda import DEVICE, Recorder, fake_cuda


@pytest.mark.parametrize(("num_workers", "pinned"), [(0, False), (2, False), (0, True)])
def test_workers_and_threads_change_neither_batches_nor_random_states(
    tiny_mre: PreparedData, num_workers: int, pinned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Batch, "pin_memory", lambda self: self)  # needs a CUDA device
    split = encode_split(tiny_config("mre"), tiny_mre, "train")
    order = epoch_batches(split.lengths, split.image_ids, 7, seed=0, epoch=1)
    augmentation = split.augmentation(seed=0, epoch=1)
    state = torch.get_rng_state()
    loaded = list(
        load_batches(
            split,
            order,
            augmentation=augmentation,
            num_workers=num_workers,
            pin_memory=pinned,
        )
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert [batch.rows.tolist() for batch in loaded] == order
    for batch, rows in zip(loaded, order, strict=True):
        expected = split.collate(rows, augmentation)
        for field in dataclasses.fields(batch):
            got, wanted = getattr(batch, field.name), getattr(expected, field.name)
            assert (got is None) == (wanted is None)
            assert got is None or torch.equal(*map(torch.as_tensor, (got, wanted)))


class SlowSplit:
    """Counts the batches that were collated, and by which threads."""

    def __init__(self, fails_at: int = -1) -> None:
        self.collated: list[list[int]] = []
        self.threads: set[int] = set()
        self.fails_at = fails_at

    def collate(self, rows: list[int], augmentation: Any) -> Any:
        if len(self.collated) == self.fails_at:
            raise ValueError("a broken batch")
        self.collated.append(rows)
        self.threads.add(threading.get_ident())
        return self

    def pin_memory(self) -> Any:
        return self.collated[-1]


def ahead(split: SlowSplit, count: int) -> Any:
    pretended: EncodedSplit = split  # type: ignore[assignment]
    return load_batches(pretended, [[n] for n in range(count)], pin_memory=True)


def test_batches_for_a_device_are_collated_ahead_of_use_but_not_far() -> None:
    split = SlowSplit()
    batches = ahead(split, 20)
    next(batches)
    deadline = time.monotonic() + 10
    while len(split.collated) < 1 + BATCHES_AHEAD and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.01)
    assert len(split.collated) == 1 + BATCHES_AHEAD
    assert threading.get_ident() not in split.threads
    num_threads = threading.active_count()
    batches.close()
    assert threading.active_count() < num_threads


def test_an_error_of_the_thread_arrives() -> None:
    batches = ahead(SlowSplit(fails_at=1), 5)
    assert next(batches) == [0]
    with pytest.raises(ValueError, match="a broken batch"):
        next(batches)


def test_on_a_cpu_batches_are_on_the_device_already(tiny_mner: PreparedData) -> None:
    split = encode_split(tiny_config(), tiny_mner, "train")
    batches = [split.collate(rows) for rows in ([0, 1], [2])]
    placed = list(on_device(batches, torch.device("cpu")))
    for batch, there in zip(batches, placed, strict=True):
        assert all(value is vars(there)[name] for name, value in vars(batch).items())


def test_on_a_gpu_batches_are_copied_beside_what_computes(tiny_mner: PreparedData) -> None:
    """Each is copied only when it is asked for, in a stream that the computing one waits for."""
    split = encode_split(tiny_config(), tiny_mner, "train")
    batches = [split.collate(rows) for rows in ([0, 1], [2, 3], [4])]
    taken: list[Batch] = []
    recorded: list[Any] = []
    streams = mock.MagicMock()

    def asked_for(given: list[Batch]) -> Iterator[Batch]:
        for batch in given:
            taken.append(batch)
            yield batch

    with (
        fake_cuda() as mode,
        mock.patch("torch.cuda.Stream", streams.new),
        mock.patch("torch.cuda.stream", streams.within),
        mock.patch("torch.cuda.current_stream", streams.current),
        mock.patch.object(torch.Tensor, "record_stream", lambda *call: recorded.append(call)),
    ):
        fake = [batch._map(mode.from_tensor) for batch in batches]
        with Recorder() as recorder:
            for number, there in enumerate(on_device(asked_for(fake), DEVICE), start=1):
                assert len(taken) == number
                assert streams.current.return_value.wait_stream.call_count == number
                held = [v for v in vars(there).values() if isinstance(v, torch.Tensor)]
                assert {tensor.device for tensor in held} == {DEVICE}
                assert list(map(id, held)) == [id(tensor) for tensor, _ in recorded]
                assert all(stream is streams.current.return_value for _, stream in recorded)
                recorded.clear()
    assert recorder.waits == recorder.to_host == []
    assert streams.within.call_args_list == [mock.call(streams.new.return_value)] * 3
    streams.current.return_value.wait_stream.assert_called_with(streams.new.return_value)
