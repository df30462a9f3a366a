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
from shapca.runs.checkpoint import Best, Checkpoints, TrainingState, load_history
from shapca.runs.epochs import EpochRecord, read_epochs
from shapca.runs.epochs import num_epochs as recorded
from shapca.runs.tensors import (
    Tensors,
    load_optimizer_tensors,
    optimizer_tensors,
    pack,
    read_metadata,
    unpack,
    unpacked,
)
from shapca.storage import FolderStore, ObjectStore, to_json
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


def best_of(epoch: int) -> Best:
    best = BEST[epoch]
    return Best(best, evaluation_of(best), pack(tensors(best).model))


def save(store: ObjectStore, first: int, last: int, every: int = 1) -> None:
    """Commit epochs of a run as a process does that takes it up, one of `every`."""
    checkpoints = Checkpoints(store)
    found = checkpoints.load()
    best = None if found is None else found.best
    for epoch in range(first + every - 1, last + 1, every):
        if best is None or best.epoch != BEST[epoch]:
            best = best_of(epoch)
        records = state(epoch).history[epoch - every :]
        best = checkpoints.save(state(epoch), tensors(epoch), best, records)


def save_as_older_versions(store: ObjectStore, epoch: int) -> None:
    """Three objects a checkpoint, and the scores of the best epoch beside its weights."""
    folder, best = f"checkpoint/{epoch:04d}", BEST[epoch]
    store.put(f"{folder}/model.safetensors", pack(tensors(epoch).model))
    store.put(f"{folder}/optimizer.safetensors", pack(tensors(epoch).optimizer))
    store.put(f"best/{best:04d}.safetensors", pack(tensors(best).model))
    store.put(f"best/{best:04d}.json", to_json(evaluation_of(best)))
    made = state(epoch)
    record = made.history[-1].to_json()
    committed = {"step": made.step, "best_epoch": best, "random": made.random, "record": record}
    store.put(f"{folder}/state.json", to_json(committed))
    for number, one in enumerate(made.history, start=1):
        store.put_new(f"epochs/{number:04d}.json", to_json(one.to_json()))


def with_state(content: bytes, state: dict[str, Any]) -> bytes:
    """A checkpoint with another state."""
    return pack(unpacked(content, "sound"), {"state": to_json(state).decode()})


def load_state(store: ObjectStore) -> TrainingState | None:
    found = Checkpoints(store).load()
    return None if found is None else found.state


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def check(store: MemoryStore, epoch: int) -> None:
    """The store holds a run that was committed at an epoch, and nothing else."""
    found = Checkpoints(store).load()
    assert found is not None
    assert found.state == state(epoch)
    assert same(found.tensors().model, tensors(epoch).model)
    assert same(found.tensors().optimizer, tensors(epoch).optimizer)
    best = BEST[epoch]
    assert found.best == Best(best, evaluation_of(best))
    assert same(unpack(store, f"best/{best:04d}.safetensors"), tensors(best).model)
    assert load_history(store, epoch) == state(epoch).history


def test_an_empty_store_has_no_progress() -> None:
    assert load_state(MemoryStore()) is None


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("num_epochs", [2, 4])
def test_what_is_saved_comes_back_and_nothing_else_is_kept(num_epochs: int, every: int) -> None:
    store = MemoryStore()
    save(store, 1, num_epochs, every)
    check(store, num_epochs)
    assert store.list("checkpoint/") == [f"checkpoint/{num_epochs:04d}.safetensors"]
    assert len(store.list("best/")) == 1
    assert len(store.list("epochs/")) == num_epochs // every


def num_changes(every: int) -> int:
    store = DyingStore(MemoryStore())
    save(store, 1, 4, every)
    return store.num_changes


def test_what_a_checkpoint_costs() -> None:
    """Best weights, checkpoint, record; what they replace goes in one deletion."""
    assert num_changes(1) == (3 + 0) + (3 + 1) + (2 + 1) + (2 + 1)
    assert num_changes(2) == (3 + 0) + (2 + 1)


@pytest.mark.parametrize(
    ("every", "dies_at"),
    [(every, at) for every in (1, 2) for at in range(1, num_changes(every) + 1)],
)
def test_killed_at_any_change_a_run_stands_at_a_whole_epoch(every: int, dies_at: int) -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        save(DyingStore(store, dies_at), 1, 4, every)
    found = load_state(store)
    if found is None:
        assert store.list() == []
    else:
        check(store, found.epoch)
        assert len(store.list("epochs/")) == found.epoch // every
        assert len(store.list("checkpoint/")) == len(store.list("best/")) == 1
    # The epochs that follow end in the same store as without the kill.
    save(store, (found.epoch if found else 0) + 1, 4, every)
    undisturbed = MemoryStore()
    save(undisturbed, 1, 4, every)
    assert store.objects == undisturbed.objects


@pytest.mark.parametrize("num_epochs", [1, 3])
def test_a_run_of_an_older_version_is_taken_up(num_epochs: int) -> None:
    store = MemoryStore()
    save_as_older_versions(store, num_epochs)
    store.put("checkpoint/0009/model.safetensors", b"of an epoch that was never committed")
    store.delete(f"epochs/{num_epochs:04d}.json")  # killed before it wrote the record
    check(store, num_epochs)
    save(store, num_epochs + 1, 4)
    check(store, 4)
    undisturbed = MemoryStore()
    save(undisturbed, 1, 4)
    assert store.list() == undisturbed.list()


def test_an_epochs_record_is_never_rewritten() -> None:
    store = MemoryStore()
    save(store, 1, 1)
    before = store.get("epochs/0001.json")
    later = EpochRecord(1, {"val/f1": 99.0}, True, seconds=9.0, finished_at=99.0)
    again = TrainingState(10, 1, {}, (later,))
    Checkpoints(store).save(again, tensors(1), best_of(1), again.history)
    assert store.get("epochs/0001.json") == before


def test_records_beyond_the_checkpoint_are_trained_anew() -> None:
    """As a pruned trial leaves them, whose last epochs were in its process alone."""
    store = MemoryStore()
    save(store, 1, 2, 2)
    Checkpoints(store).save_records(state(3).history[2:])
    assert len(read_epochs(store)) == 3
    assert load_state(store) == state(2)
    assert len(read_epochs(store)) == 2


def test_removing_checkpoints_keeps_the_best() -> None:
    store = MemoryStore()
    save(store, 1, 1)
    checkpoints = Checkpoints(store)
    checkpoints.find()
    checkpoints.remove(1)
    assert store.list("checkpoint/") == []
    assert store.list("best/") == ["best/0001.safetensors"]


def test_records_are_read_from_wherever_they_stand() -> None:
    store = MemoryStore()
    records = [one.to_json() for one in state(5).history]
    store.put("epochs/0002.json", to_json(records[:2]))
    store.put("epochs/0003.json", to_json(records[2]))
    store.put("epochs/0004.json", to_json(records[1:4]))  # its first two stand elsewhere
    store.put("epochs/notes.txt", b"mine")
    assert read_epochs(store) == records[:4]
    assert read_epochs(store, 4) == records[3:4]
    assert read_epochs(store, 2, most=2) == records[1:3]
    assert read_epochs(store, 5) == []
    assert recorded(store) == 4
    store.delete("epochs/0002.json")
    assert read_epochs(store) == []
    for content in (records[:4], [records[0], records[3]], [], {**records[3], "more": 1}, [1]):
        store.put("epochs/0005.json", to_json(content))
        with pytest.raises(InputError, match=r"epochs/0005\.json"):
            read_epochs(store, 5)


def test_missing_and_damaged_parts_are_named() -> None:
    store = MemoryStore()
    save(store, 1, 3)
    sound = store.objects["checkpoint/0003.safetensors"]
    record = store.objects.pop("epochs/0002.json")
    with pytest.raises(InputError, match=r"epochs/0002\.json is missing from a run of 3 epochs"):
        load_state(store)
    store.put("epochs/0002.json", record)
    for damaged in (
        b"damaged, all of it",
        sound[:30],
        b"",
        sound.replace(b'{"__meta', b'?"__meta'),
    ):
        store.put("checkpoint/0003.safetensors", damaged)
        with pytest.raises(InputError, match=r"checkpoint/0003\.safetensors is damaged"):
            load_state(store)
    stored = json.loads(read_metadata(sound, "sound")["state"])
    for name in ("step", "best_epoch", "random", "records"):
        without = {other: value for other, value in stored.items() if other != name}
        store.put("checkpoint/0003.safetensors", with_state(sound, without))
        with pytest.raises(InputError, match=r"0003\.safetensors is damaged: .*" + name):
            load_state(store)
    store.put("checkpoint/0003.safetensors", sound[:-1])
    found = Checkpoints(store).load()
    assert found is not None
    with pytest.raises(InputError, match=r"0003\.safetensors is damaged"):
        found.tensors()


def test_missing_scores_of_an_older_versions_best_epoch_are_named(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    save_as_older_versions(store, 1)
    store.delete("best/0001.json")
    with pytest.raises(InputError, match=f"{re.escape(str(tmp_path))}: best/0001.json is missing"):
        load_state(store)
    store.put("best/0001.safetensors", b"damaged")
    with pytest.raises(InputError, match=f"{re.escape(str(tmp_path))}: best/0001.safetensors is d"):
        unpack(store, "best/0001.safetensors")


@pytest.mark.parametrize("num_epochs", [0, 1])
def test_objects_that_are_not_its_own_are_left_alone(num_epochs: int) -> None:
    others = ["best/mine.json", "best/photo.jpg", "best/a/0001.json", "checkpoint/notes.txt",
              "checkpoint/0001/mine.txt", "checkpoint/mine/state.json",
              "checkpoint/mine.safetensors", "epochs/mine.json"]  # fmt: skip
    store = MemoryStore()
    for name in others:
        store.put(name, b"mine")
    save(store, 1, num_epochs)
    found = load_state(store)
    assert (found.epoch if found else 0) == num_epochs
    checkpoints = Checkpoints(store)
    checkpoints.find()
    checkpoints.remove(None)
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
    save(store, 1, 3)
    name = "checkpoint/0003.safetensors"
    content = store.objects[name]
    sound = json.loads(read_metadata(content, "sound")["state"])
    before = store.list()
    for best in (1, 3, 7, -1):
        store.put(name, with_state(content, {**sound, "best_epoch": best}))
        with pytest.raises(
            InputError, match=r"0003\.safetensors is damaged: best_epoch: expected 2"
        ):
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
