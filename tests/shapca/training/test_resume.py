"""A run killed anywhere and taken up again ends bit-identical to one never disturbed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import shapca.training.learning
from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.data.batches.batch import Batch
from shapca.data.batches.loader import load_batches
from shapca.data.prepared import PreparedData
from shapca.runs.checkpoint import load_history
from shapca.runs.epochs import EpochRecord, FitResult
from shapca.storage import FolderStore, ObjectStore
from shapca.training import StepProgress, Training, fit
from tests.factories import tiny_config
from tests.stores import DyingStore, Killed, MemoryStore

RUNTIME = RuntimeConfig(device="cpu", num_threads=1)
# Everything that draws random numbers is on: dropout, permutations, crops and flips.
SETTINGS: dict[str, Any] = {
    "image.augment": True,
    "image.size": 36,
    "image.encoder": "resnet18",
    "alignment.estimator": "cyclic",
    "optimisation.epochs": 3,
    "optimisation.patience": 3,
    "optimisation.accumulation": 2,
    "head.dropout": 0.2,
}


def config(**changes: Any) -> ExperimentConfig:
    return tiny_config(**{**SETTINGS, **changes})


def train(
    store: ObjectStore, data: PreparedData, experiment: ExperimentConfig | None = None
) -> FitResult:
    return fit(experiment or config(), data, seed=5, runtime=RUNTIME, store=store, test=True)


def outcome(store: ObjectStore) -> dict[str, Any]:
    """All that a run leaves, without what tells time, memory and place."""
    found: dict[str, Any] = {}
    for name in store.list():
        content = store.get(name)
        assert content is not None
        found[name] = without_measures(json.loads(content)) if name.endswith(".json") else content
    return found


def without_measures(tree: Any) -> Any:
    measures = (
        "seconds",
        "finished_at",
        "peak_memory_mb",
        "samples_per_second",
        "share",
        "environments",
    )
    if isinstance(tree, dict):
        return {k: without_measures(v) for k, v in tree.items() if not k.endswith(measures)}
    return [without_measures(item) for item in tree] if isinstance(tree, list) else tree


@pytest.fixture(scope="module")
def counting(tiny_mner: PreparedData) -> DyingStore:
    """The store of an undisturbed run, which counted its changes."""
    store = DyingStore(MemoryStore())
    result = train(store, tiny_mner)
    assert result.status == "finished"
    assert result.epochs_run == 3
    return store


@pytest.fixture(scope="module")
def undisturbed(counting: DyingStore) -> dict[str, Any]:
    return outcome(counting)


@pytest.fixture(scope="module")
def num_changes(counting: DyingStore) -> int:
    return counting.num_changes


def test_two_runs_of_a_seed_are_equal_and_of_two_seeds_differ(
    undisturbed: dict[str, Any], tiny_mner: PreparedData
) -> None:
    again = MemoryStore()
    train(again, tiny_mner)
    assert outcome(again) == undisturbed
    other = MemoryStore()
    fit(config(), tiny_mner, seed=6, runtime=RUNTIME, store=other)
    loss = [outcome_["epochs/0001.json"]["metrics"]["train/loss"]
            for outcome_ in (undisturbed, outcome(other))]  # fmt: skip
    assert loss[0] != loss[1]


# A few of the run's thirty-odd changes: test_checkpoint.py tries every one, without a model.
@pytest.mark.parametrize("share", [0.0, 0.05, 0.15, 0.35, 0.5, 0.6, 0.75, 0.85, 0.9, 0.95, 1.0])
def test_killed_in_the_store_and_resumed(
    undisturbed: dict[str, Any], num_changes: int, tiny_mner: PreparedData, share: float
) -> None:
    store = MemoryStore()
    with pytest.raises(Killed):
        train(DyingStore(store, 1 + round(share * (num_changes - 1))), tiny_mner)
    result = train(store, tiny_mner)
    assert outcome(store) == undisturbed
    assert result.best_epoch == undisturbed["result.json"]["best_epoch"]


def test_killed_again_and_again(undisturbed: dict[str, Any], tiny_mner: PreparedData) -> None:
    store = MemoryStore()
    for _ in range(30):
        try:
            train(DyingStore(store, 11), tiny_mner)
        except Killed:
            continue
        break
    assert outcome(store) == undisturbed


@pytest.mark.parametrize("batch", [1, 4, 6, 9])
def test_killed_between_batches(
    undisturbed: dict[str, Any], tiny_mner: PreparedData, batch: int
) -> None:
    store = MemoryStore()
    done = 0

    def on_step(_: object) -> None:
        nonlocal done
        done += 1
        if done == batch:
            raise KeyboardInterrupt

    training = Training(config(), tiny_mner, seed=5, runtime=RUNTIME, store=store, on_step=on_step)
    with pytest.raises(KeyboardInterrupt):
        list(training.epochs())
    # The very object goes on from the store: half an epoch's weights are not reused.
    list(training.epochs())
    training.finish(test=True)
    assert outcome(store) == undisturbed


@pytest.mark.parametrize("every", [2, 5])
def test_fewer_checkpoints_end_in_the_same(
    undisturbed: dict[str, Any], tiny_mner: PreparedData, every: int
) -> None:
    """Interrupted in the third epoch, when the second is the last that the store has, or none."""
    store, done = MemoryStore(), 0

    def on_step(progress: StepProgress) -> None:
        nonlocal done
        done += 1
        if (progress.epoch, done) == (3, 8):
            raise KeyboardInterrupt

    runtime = RUNTIME.model_copy(update={"checkpoint_every": every})
    training = Training(config(), tiny_mner, seed=5, runtime=runtime, store=store, on_step=on_step)
    with pytest.raises(KeyboardInterrupt):
        list(training.epochs())
    assert len(training.history) == training.num_committed == (2 if every == 2 else 0)
    list(training.epochs())
    training.finish(test=True)
    found = outcome(store)
    records = without_measures([record.to_json() for record in load_history(store, 3)])
    assert records == [undisturbed[f"epochs/000{epoch}.json"] for epoch in (1, 2, 3)]
    others = {name for name in undisturbed if not name.startswith("epochs/")}
    assert others == {name for name in found if not name.startswith("epochs/")}
    assert all(found[name] == undisturbed[name] for name in others)


def test_what_is_stopped_between_checkpoints_is_kept(tiny_mner: PreparedData) -> None:
    store, runtime = MemoryStore(), RUNTIME.model_copy(update={"checkpoint_every": 5})
    text = config(**{"image.encoder": "none", "image.augment": False})
    fit(text, tiny_mner, seed=5, runtime=runtime, store=store, on_epoch=lambda _: True)
    assert store.list("checkpoint/") == ["checkpoint/0001.safetensors"]
    training = Training(text, tiny_mner, seed=5, runtime=runtime, store=store)
    assert len(training.history) == 1


def test_others_between_the_epochs_do_not_disturb(
    undisturbed: dict[str, Any], tiny_mner: PreparedData
) -> None:
    """Two runs in turns in one process, as a scheduler that reuses processes may have it."""
    store, other = MemoryStore(), MemoryStore()
    training = Training(config(), tiny_mner, seed=5, runtime=RUNTIME, store=store)
    rival = Training(config(), tiny_mner, seed=6, runtime=RUNTIME, store=other)
    for _ in zip(training.epochs(), rival.epochs(), strict=True):
        torch.manual_seed(0)
        torch.rand(7)
    training.finish(test=True)
    assert outcome(store) == undisturbed


def test_worker_processes_change_nothing(
    undisturbed: dict[str, Any], tiny_mner: PreparedData
) -> None:
    store = MemoryStore()
    runtime = RUNTIME.model_copy(update={"num_workers": 2})
    fit(config(), tiny_mner, seed=5, runtime=runtime, store=store, test=True)
    assert outcome(store) == undisturbed


def test_augmented_pictures_follow_seed_and_epoch_through_a_restart(
    tiny_mner: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the model sees of each post in each epoch: a function of the seed, however it runs."""
    seen: list[dict[int, bytes]] = []

    def watched(*args: Any, **kwargs: Any) -> Iterator[Batch]:
        pictures: dict[int, bytes] = {}
        seen.append(pictures)
        for batch in load_batches(*args, **kwargs):
            assert batch.images is not None
            for place in batch.image_mask.nonzero().flatten().tolist():
                pictures[int(batch.rows[place])] = batch.images[place].numpy().tobytes()
            yield batch

    monkeypatch.setattr(shapca.training.learning, "load_batches", watched)

    def two_epochs(seed: int, *, restart: bool, **changes: Any) -> list[dict[int, bytes]]:
        seen.clear()
        experiment = config(**{"optimisation.epochs": 2, "fusion.kind": "none", **changes})
        store = MemoryStore()
        for _ in range(2 if restart else 1):
            fit(experiment, tiny_mner, seed=seed, runtime=RUNTIME, store=store,
                on_epoch=lambda _: restart)  # fmt: skip
        return list(seen)

    whole = two_epochs(5, restart=False)
    assert len(whole) == 2
    assert two_epochs(5, restart=True) == whole
    for other in (
        [whole[1]],
        two_epochs(6, restart=False),
        two_epochs(5, restart=False, **{"image.augment": False}),
    ):
        same = sum(other[0][row] == picture for row, picture in whole[0].items())
        assert same < len(whole[0]) / 2


def test_stopped_then_continued(undisturbed: dict[str, Any], tiny_mner: PreparedData) -> None:
    store = MemoryStore()
    seen: list[int] = []

    def stop(record: EpochRecord) -> bool:
        seen.append(record.epoch)
        return True

    for epoch in (1, 2):
        result = fit(
            config(), tiny_mner, seed=5, runtime=RUNTIME, store=store, on_epoch=stop, test=True
        )
        assert (result.status, result.epochs_run, result.test) == ("stopped", epoch, None)
        assert store.get("result.json") is None
        assert store.list("checkpoint/") == [f"checkpoint/{epoch:04d}.safetensors"]
    result = train(store, tiny_mner)
    assert seen == [1, 2]
    assert result.status == "finished"
    assert outcome(store) == undisturbed


SCRIPT = """
import sys
from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.data.prepared import PreparedData
from shapca.storage import FolderStore
from shapca.training import fit

config = ExperimentConfig.model_validate_json(sys.argv[1])
fit(config, PreparedData.load(sys.argv[2]), seed=5, store=FolderStore(sys.argv[3]), test=True,
    runtime=RuntimeConfig(device="cpu", num_threads=1))
"""


def test_a_process_killed_by_sigkill_and_taken_up_by_another(
    undisturbed: dict[str, Any], tiny_mner: PreparedData, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-c", SCRIPT, config().model_dump_json(), str(tiny_mner.folder),
        str(tmp_path),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "epochs/0001.json").exists():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    store = FolderStore(tmp_path)
    assert store.get("result.json") is None
    subprocess.run(command, check=True, timeout=300)
    assert outcome(store) == undisturbed
