"""Checkpoints are committed whole or not at all, and give back what was put in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shapca.errors import InputError
from shapca.runs.checkpoint import (
    Tensors,
    TrainingState,
    best_evaluation,
    load_history,
    load_optimizer_tensors,
    load_state,
    load_tensors,
    optimizer_tensors,
    pack,
    remove_checkpoints,
    save_checkpoint,
    unpack,
)
from shapca.runs.epochs import EpochRecord
from shapca.storage import FolderStore, to_json
from tests.stores import DyingStore, Killed, MemoryStore


def record(epoch: int, f1: float, is_best: bool) -> EpochRecord:
    return EpochRecord(epoch, {"val/f1": f1}, is_best, seconds=1.5, finished_at=10.0 + epoch)


def tensors(epoch: int) -> Tensors:
    return Tensors(
        model={"layer.weight": torch.full((2, 3), float(epoch))},
        optimizer={"layer.weight|exp_avg": torch.full((2, 3), -float(epoch))},
    )


def evaluation_of(epoch: int) -> dict[str, Any]:
    scores = {"metrics": {"f1": 50.0 + epoch}, "per_example": {"main": [[1, 1, 2]]}}
    return {"data": {"text": "a"}, "split": "valid", "label_map": {}, **scores}


SCORES = {1: 50.0, 2: 60.0, 3: 55.0, 4: 60.0, 5: 61.0}
BEST = {1: 1, 2: 2, 3: 2, 4: 2, 5: 5}


def state(epoch: int) -> TrainingState:
    history = tuple(record(e, SCORES[e], BEST[e] == e) for e in range(1, epoch + 1))
    return TrainingState(10 * epoch, BEST[epoch], {"state": epoch}, history)


def save(store: MemoryStore | DyingStore, epoch: int) -> None:
    evaluation = evaluation_of(epoch) if BEST[epoch] == epoch else None
    save_checkpoint(store, state(epoch), tensors(epoch), best_evaluation=evaluation)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_an_empty_store_has_no_progress() -> None:
    assert load_state(MemoryStore()) is None


@pytest.mark.parametrize("num_epochs", [1, 2, 3, 4, 5])
def test_what_is_saved_comes_back_and_nothing_else_is_kept(num_epochs: int) -> None:
    store = MemoryStore()
    for epoch in range(1, num_epochs + 1):
        save(store, epoch)
    assert load_state(store) == state(num_epochs)
    loaded = load_tensors(store, num_epochs)
    assert same(loaded.model, tensors(num_epochs).model)
    assert same(loaded.optimizer, tensors(num_epochs).optimizer)
    best = BEST[num_epochs]
    assert best_evaluation(store, best) == evaluation_of(best)
    assert same(unpack(store, f"best/{best:04d}.safetensors"), tensors(best).model)
    folder = f"checkpoint/{num_epochs:04d}/"
    assert store.list("checkpoint/") == [
        folder + name for name in ("model.safetensors", "optimizer.safetensors", "state.json")
    ]
    assert len(store.list("best/")) == 2
    assert len(store.list("epochs/")) == num_epochs


def num_changes(epochs: int) -> int:
    store = DyingStore(MemoryStore())
    for epoch in range(1, epochs + 1):
        save(store, epoch)
    return store.num_changes


@pytest.mark.parametrize("dies_at", range(1, num_changes(5) + 1))
def test_killed_at_any_change_a_run_stands_at_a_whole_epoch(dies_at: int) -> None:
    store = MemoryStore()
    dying = DyingStore(store, dies_at)
    begun = 0
    with pytest.raises(Killed):
        for epoch in range(1, 6):
            begun = epoch
            save(dying, epoch)
    found = load_state(store)
    if found is None:
        assert begun == 1
        assert store.list() == []
    else:
        assert found.epoch in (begun - 1, begun)
        assert found == state(found.epoch)
        assert same(load_tensors(store, found.epoch).model, tensors(found.epoch).model)
        assert same(
            unpack(store, f"best/{found.best_epoch:04d}.safetensors"),
            tensors(found.best_epoch).model,
        )
        assert best_evaluation(store, found.best_epoch) == evaluation_of(found.best_epoch)
        assert len(store.list("epochs/")) == found.epoch
        assert len(store.list("checkpoint/")) == 3
        assert len(store.list("best/")) == 2
    # The epochs that follow end in the same store as without the kill.
    for epoch in range((found.epoch if found else 0) + 1, 6):
        save(store, epoch)
    undisturbed = MemoryStore()
    for epoch in range(1, 6):
        save(undisturbed, epoch)
    assert store.objects == undisturbed.objects


def test_an_epochs_record_is_never_rewritten() -> None:
    store = MemoryStore()
    save(store, 1)
    before = store.get("epochs/0001.json")
    later = EpochRecord(1, {"val/f1": 99.0}, True, seconds=9.0, finished_at=99.0)
    again = TrainingState(10, 1, {}, (later,))
    save_checkpoint(store, again, tensors(1), best_evaluation=evaluation_of(1))
    assert store.get("epochs/0001.json") == before


def test_removing_checkpoints_keeps_the_best() -> None:
    store = MemoryStore()
    save(store, 1)
    remove_checkpoints(store)
    assert store.list("checkpoint/") == []
    assert store.list("best/") == ["best/0001.json", "best/0001.safetensors"]


def test_deletion_begins_with_the_commit_marker() -> None:
    store = MemoryStore()
    save(store, 1)
    with pytest.raises(Killed):
        remove_checkpoints(DyingStore(store, 2))
    assert store.list("checkpoint/") == [
        "checkpoint/0001/model.safetensors",
        "checkpoint/0001/optimizer.safetensors",
    ]


def test_missing_and_damaged_parts_are_named() -> None:
    store = MemoryStore()
    for epoch in (1, 2, 3):
        save(store, epoch)
    store.delete("epochs/0002.json")
    with pytest.raises(InputError, match=r"epochs/0002\.json"):
        load_state(store)
    with pytest.raises(InputError, match=r"epochs/0002\.json"):
        load_history(store, 3)
    store.put("checkpoint/0003/model.safetensors", b"damaged")
    with pytest.raises(InputError, match=r"checkpoint/0003/model\.safetensors is damaged"):
        load_tensors(store, 3)
    store.delete("checkpoint/0003/model.safetensors")
    with pytest.raises(InputError, match=r"checkpoint/0003/model\.safetensors is missing"):
        load_tensors(store, 3)


def test_missing_scores_of_the_best_epoch_are_named(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with pytest.raises(InputError, match=f"{re.escape(str(tmp_path))}: best/0001.json is missing"):
        best_evaluation(store, 1)
    store.put("best/0001.safetensors", b"damaged")
    with pytest.raises(InputError, match=f"{re.escape(str(tmp_path))}: best/0001.safetensors is d"):
        unpack(store, "best/0001.safetensors")


@pytest.mark.parametrize("num_epochs", [0, 1])
def test_objects_that_are_not_its_own_are_left_alone(num_epochs: int) -> None:
    others = ["best/mine.json", "best/photo.jpg", "best/a/0001.json", "checkpoint/notes.txt",
              "checkpoint/0001/mine.txt", "checkpoint/mine/state.json"]  # fmt: skip
    store = MemoryStore()
    for name in others:
        store.put(name, b"mine")
    for epoch in range(1, num_epochs + 1):
        save(store, epoch)
    found = load_state(store)
    assert (found.epoch if found else 0) == num_epochs
    remove_checkpoints(store)
    assert set(others) <= set(store.list())


def test_tensors_survive_packing_bit_for_bit() -> None:
    store = MemoryStore()
    values = {
        "float": torch.tensor([0.1, -0.0, torch.inf, 1e-45]),
        "transposed": torch.arange(6.0).view(2, 3).t(),
        "scalar": torch.tensor(3.0),
        "long": torch.tensor([2**40]),
        "bf16": torch.tensor([0.1], dtype=torch.bfloat16),
    }
    store.put("x", pack(values))
    loaded = unpack(store, "x")
    assert {k: v.dtype for k, v in loaded.items()} == {k: v.dtype for k, v in values.items()}
    assert same(loaded, values)
    assert torch.signbit(loaded["float"])[1]


def adamw(module: nn.Module) -> torch.optim.AdamW:
    return torch.optim.AdamW(module.parameters(), lr=0.1, fused=True)


def steps(module: nn.Linear, optimizer: torch.optim.AdamW, count: int) -> None:
    for number in range(count):
        module.weight.grad = torch.full_like(module.weight, float(number + 1)).cos()
        optimizer.step()


def test_a_restored_optimizer_continues_as_if_never_stopped() -> None:
    torch.manual_seed(0)
    module = nn.Linear(5, 3)  # its bias gets no gradient, hence no state
    start = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = adamw(module)
    steps(module, optimizer, 3)
    saved = pack(optimizer_tensors(optimizer, dict(module.named_parameters())))
    middle = {name: value.clone() for name, value in module.state_dict().items()}
    steps(module, optimizer, 4)

    other = nn.Linear(5, 3)
    other.load_state_dict(middle)
    restored = adamw(other)
    store = MemoryStore()
    store.put("o", saved)
    loaded = unpack(store, "o")
    assert {name.partition("|")[0] for name in loaded} == {"weight"}
    load_optimizer_tensors(restored, dict(other.named_parameters()), loaded)
    steps(other, restored, 4)
    assert same(dict(other.state_dict()), dict(module.state_dict()))
    assert not torch.equal(start["weight"], module.weight)


def test_a_wrong_best_epoch_removes_no_weights() -> None:
    store = MemoryStore()
    for epoch in (1, 2, 3):
        save(store, epoch)
    name = "checkpoint/0003/state.json"
    sound = json.loads(store.objects[name])
    before = store.list()
    for best in (1, 3, 7, -1):
        store.put(name, to_json({**sound, "best_epoch": best}))
        with pytest.raises(InputError, match=r"state\.json is damaged: best_epoch: expected 2 by"):
            load_state(store)
        assert store.list() == before


@pytest.mark.parametrize(
    "tensors",
    [{"other|exp_avg": torch.zeros(2, 3)}, {"layer.weight|exp_avg": torch.zeros(3, 3)}],
)
def test_moments_of_another_model_are_refused(tensors: dict[str, Tensor]) -> None:
    weight = nn.Parameter(torch.zeros(2, 3))
    optimizer = torch.optim.AdamW([weight])
    with pytest.raises(InputError, match="the checkpoint is another model's"):
        load_optimizer_tensors(optimizer, {"layer.weight": weight}, tensors)
