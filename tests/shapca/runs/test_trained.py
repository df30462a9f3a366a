"""A run's folder may come from anywhere: its model is built only if its weights are there."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from shapca.config import RuntimeConfig
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.runs import trained
from shapca.runs.tensors import pack, unpack
from shapca.runs.trained import TrainedModel
from shapca.storage import FolderStore, SubStore, to_json
from shapca.training import fit
from tests.factories import tiny_config
from tests.stores import MemoryStore

CPU = torch.device("cpu")
WEIGHTS = "best/0001.safetensors"


@pytest.fixture(scope="module")
def finished(tiny_mner: PreparedData) -> dict[str, bytes]:
    store = MemoryStore()
    config = tiny_config(**{"image.encoder": "none", "optimisation.epochs": 1})
    fit(config, tiny_mner, seed=1, runtime=RuntimeConfig(device="cpu"), store=store)
    return store.objects


@pytest.fixture
def store(finished: dict[str, bytes]) -> MemoryStore:
    copy = MemoryStore()
    copy.objects |= finished
    return copy


def change(store: MemoryStore, name: str, use: Callable[[Any], object]) -> None:
    record = json.loads(store.objects[name])
    use(record)
    store.objects[name] = to_json(record)


def refused(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(trained, "build_model", lambda *_, **__: pytest.fail("a model was built"))
    with pytest.raises(InputError) as caught:
        TrainedModel.load(store, CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_run_itself_is_read(store: MemoryStore) -> None:
    model = TrainedModel.load(store, CPU).model
    assert not model.training
    assert all(
        torch.equal(value, model.state_dict()[k]) for k, value in unpack(store, WEIGHTS).items()
    )


def test_no_memory_is_taken_for_what_a_run_claims_to_be(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grow(record: Any) -> None:
        for config in (record["config"], record["identity"]["config"]):
            config.setdefault("head", {})["hidden"] = 4096

    change(store, "run.json", grow)
    said = refused(store, monkeypatch)
    assert "its weights do not fit its configuration: 'head." in said
    assert "4096" in said


@pytest.mark.parametrize("size", [10**6, 0, -1, 1.5, "40", True])
def test_stored_squares_have_a_largest_side(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, size: Any
) -> None:
    change(store, "run.json", lambda record: record["reading"].update(image_size=size))
    assert "run.json is damaged: reading.image_size" in refused(store, monkeypatch)


def test_weights_are_looked_at_first(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = unpack(store, WEIGHTS)
    name = next(name for name, value in sound.items() if value.dim() == 2)
    bad = {**sound, name: torch.full_like(sound[name], float("nan"))}
    store.objects[WEIGHTS] = pack(bad)
    assert f"its weights are damaged: {name!r} holds what is no number" in refused(
        store, monkeypatch
    )
    store.objects[WEIGHTS] = pack({**sound, "another": torch.zeros(2)})
    assert "'another': expected nothing, found (2,) of torch.float32" in refused(store, monkeypatch)
    store.objects[WEIGHTS] = pack({k: v for k, v in sound.items() if k != name})
    assert f"{name!r}: expected {tuple(sound[name].shape)} of torch.float32, found nothing" in (
        refused(store, monkeypatch)
    )


def header(tree: Any) -> bytes:
    text = json.dumps(tree).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        struct.pack("<Q", 2**63) + b"{}",
        header({"a": {"dtype": "F4", "shape": [1], "data_offsets": [0, 1]}}) + b"\0",
        header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}) + b"\0" * 4,
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}) + b"\0" * 4,
        header([]),
    ],
)
def test_damaged_weights_are_one_message(store: MemoryStore, content: bytes) -> None:
    store.objects[WEIGHTS] = content
    with pytest.raises(InputError, match=rf"{WEIGHTS} is damaged"):
        TrainedModel.load(store, CPU)


def test_a_linked_file_is_no_part_of_a_run(finished: dict[str, bytes], tmp_path: Path) -> None:
    run = SubStore(FolderStore(tmp_path), "run")
    for name, content in finished.items():
        run.put(name, content)
    file = tmp_path / "run" / WEIGHTS
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=rf"{WEIGHTS}: is a link"):
        TrainedModel.load(tmp_path / "run", CPU)
