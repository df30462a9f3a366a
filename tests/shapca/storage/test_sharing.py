"""What is prepared is made once, mapped into memory, and shared by all processes that read it."""

from __future__ import annotations

import multiprocessing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import PIL.Image
import pytest

import shapca.data.batches.dataset
from shapca.config import RuntimeConfig
from shapca.data import pos
from shapca.data.manifest import IMAGES
from shapca.data.prepared import PreparedData
from shapca.model.inputs import _kept
from shapca.training import fit
from tests.factories import tiny_config
from tests.stores import MemoryStore

SMAPS = Path("/proc/self/smaps")


def mapped_bytes(file: Path) -> dict[str, int]:
    """What the kernel says of this process's mapping of a file, in bytes."""
    found: dict[str, int] = {}
    inside = False
    for line in SMAPS.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            if inside:
                found[name] = found.get(name, 0) + 1024 * int(value.split()[0])
        elif " " in line.strip() and "-" in line.split()[0]:
            inside = line.endswith(str(file.resolve()))
    return found


def read_pictures(folder: Path, barrier: Barrier, results: Queue[dict[str, int]]) -> None:
    store = PreparedData.load(folder).image_store()
    assert store is not None
    store.array.sum()  # touches every page
    barrier.wait(60)
    results.put(mapped_bytes(store.array_file))
    barrier.wait(60)


@pytest.mark.skipif(not SMAPS.exists(), reason="the kernel does not tell what is shared")
def test_processes_share_the_memory_of_the_pictures(tiny_mner: PreparedData) -> None:
    fork = multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(2), fork.Queue()
    processes = [
        fork.Process(target=read_pictures, args=(tiny_mner.folder, barrier, results))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    size = (tiny_mner.folder / IMAGES).stat().st_size
    for mapping in found:
        assert mapping["Rss"] >= size
        assert mapping["Pss"] <= 0.6 * mapping["Rss"]  # each is charged with half of it
        assert mapping["Private_Dirty"] == mapping["Anonymous"] == 0


def test_tokens_parts_of_speech_and_pictures_are_made_once(
    tiny_mner: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs of two epochs and a test tokenise each split once and read no picture's file."""
    tokenised: list[int] = []
    encode_sequences = shapca.data.batches.dataset.encode_sequences

    def counted(posts, *args, **kwargs):  # type: ignore[no-untyped-def]
        tokenised.append(len(posts))
        return encode_sequences(posts, *args, **kwargs)

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("prepared data was prepared again")

    monkeypatch.setattr(shapca.data.batches.dataset, "encode_sequences", counted)
    monkeypatch.setattr(pos, "tag_words", never)
    monkeypatch.setattr(PIL.Image, "open", never)
    _kept.clear()
    for learning_rate in (1e-3, 2e-3):
        config = tiny_config(**{"optimisation.learning_rate": learning_rate})
        runtime = RuntimeConfig(device="cpu", num_threads=1)
        fit(config, tiny_mner, seed=1, runtime=runtime, store=MemoryStore())
    sizes = [len(tiny_mner.splits[split]) for split in ("train", "valid")]
    assert tokenised == sizes
