"""Checkpoints of a run in an object store: committed whole or not at all.

Layout under the run's store (`e` an epoch's number, four digits at least):

    checkpoint/e.zip        what going on after epoch e needs: model.safetensors,
                            optimizer.safetensors, best.json with the validation scores of the best
                            epoch, and state.json with everything else
    best/e.safetensors      weights of the best validation epoch
    epochs/e.json           the record of epoch e, or those of several up to e; immutable

An epoch exists once it is in a checkpoint: the archive is one object, written after the best
weights and before the records. What a killed process left beside it is ignored and removed when the
run is taken up again; objects of other names are left alone.

Older versions had a folder `checkpoint/e/` of those files in place of the archive, with best/e.json
in place of best.json; `state.json` was written last, so that it committed the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shapca.errors import InputError
from shapca.runs.epochs import EpochRecord, best_of, epochs_content, read_epochs
from shapca.runs.forms import CheckpointState, EvaluationForm
from shapca.runs.layout import (
    BEST,
    CHECKPOINT,
    EPOCHS,
    best_weights,
    checkpoint_archive,
    epoch_of,
    epoch_record,
)
from shapca.runs.tensors import Tensors, pack, unpack
from shapca.storage import ObjectStore, SubStore, place_name, read_json, to_json
from shapca.storage.archive import ArchiveStore, packed

MODEL, OPTIMIZER, STATE, SCORES = (
    "model.safetensors", "optimizer.safetensors", "state.json", "best.json",
)  # fmt: skip
# What a checkpoint and the best epoch consist of: nothing else is ever deleted.
_REMOVABLE = re.compile(
    r"checkpoint/\d{4,}(\.zip|/(model\.safetensors|optimizer\.safetensors|state\.json))"
    r"|best/\d{4,}\.(safetensors|json)"
    r"|epochs/\d{4,}\.json"
)
_COMMITTED = re.compile(r"checkpoint/(\d{4,})(\.zip|/state\.json)")


@dataclass(frozen=True)
class TrainingState:
    """How far a run has come.

    Attributes:
        step: Optimizer steps taken: the place in the learning-rate schedule.
        best_epoch: Best validation epoch so far.
        random: Random states (`RandomState.to_json`).
        history: Records of all epochs so far; the last one is the epoch committed, and the data
            order of the next is a function of seed and epoch.
    """

    step: int
    best_epoch: int
    random: dict[str, Any]
    history: tuple[EpochRecord, ...]

    @property
    def epoch(self) -> int:
        """The epoch that was committed last."""
        return self.history[-1].epoch


@dataclass(frozen=True)
class Best:
    """The best validation epoch so far.

    Attributes:
        epoch: Its number.
        evaluation: Its validation scores, as `evaluations/valid.json` has them.
        weights: Those of the model after it, packed; `None` where the store has them.
    """

    epoch: int
    evaluation: dict[str, Any]
    weights: bytes | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A committed epoch, read from a store.

    Attributes:
        state: State after the epoch.
        best: The best epoch so far, whose weights are in the store.
        files: The checkpoint's own files.
    """

    state: TrainingState
    best: Best
    files: ObjectStore

    def tensors(self) -> Tensors:
        """Weights and moments after the epoch.

        Raises:
            InputError: they are missing or damaged.
        """
        return Tensors(model=unpack(self.files, MODEL), optimizer=unpack(self.files, OPTIMIZER))


class Checkpoints:
    """The checkpoints of a run.

    What this process wrote or found is remembered, so that nothing is listed to remove it.

    Args:
        store: The run's store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._there: set[str] = set()  # checkpoints and best weights

    def load(self) -> Checkpoint | None:
        """How far a run has come, or `None` before its first committed epoch.

        What a killed process left half-written is removed.

        Raises:
            InputError: the record of an epoch is missing, or one is damaged.
        """
        store = self._store
        names = [name for part in (CHECKPOINT, BEST, EPOCHS) for name in _removable(store, part)]
        committed = [match for name in names if (match := _COMMITTED.fullmatch(name))]
        if not committed:
            self._remove(names)
            return None
        last = max(committed, key=lambda match: (int(match[1]), match[0]))
        name, epoch = last[0], int(last[1])
        found = self._read(name, epoch)
        best = found.best.epoch
        kept = (name.removesuffix(STATE), f"{BEST}{best:04d}.")
        self._there = {name for name in names if name.startswith(kept)}
        self._remove(
            name
            for name in names
            if name not in self._there and (not name.startswith(EPOCHS) or epoch_of(name) > epoch)
        )
        return found

    def _read(self, name: str, epoch: int) -> Checkpoint:
        """The checkpoint of an epoch, by the name of what committed it."""
        store, place = self._store, f"{place_name(self._store)}: {name}"
        files: ObjectStore
        if name == checkpoint_archive(epoch):
            files = ArchiveStore(store.get(name) or b"", place)
        else:  # of an older version
            files = SubStore(store, name.removesuffix(f"/{STATE}"))
        stored = read_json(files, STATE, CheckpointState) or {}
        records = stored.get("records") or ([stored["record"]] if "record" in stored else [])
        if not records:
            raise InputError(f"{place} is damaged: records: expected one or more")
        store.put_new(epoch_record(epoch), epochs_content(records))
        history = load_history(store, epoch)
        best = best_of(history).epoch
        if stored["best_epoch"] != best:  # by it the best weights would be removed
            raise InputError(
                f"{place} is damaged: best_epoch: expected {best} by the records of the epochs, "
                f"found {stored['best_epoch']}"
            )
        is_old = isinstance(files, SubStore)
        where, scores = (store, f"{BEST}{best:04d}.json") if is_old else (files, SCORES)
        if (evaluation := read_json(where, scores, EvaluationForm)) is None:
            raise InputError(
                f"{place_name(where)}: {scores} is missing from the run: remove the run and train "
                "it anew"
            )
        state = TrainingState(stored["step"], best, stored["random"], history)
        return Checkpoint(state, Best(best, evaluation), files)

    def save(
        self, state: TrainingState, tensors: Tensors, best: Best, records: Sequence[EpochRecord]
    ) -> Best:
        """Commit an epoch, then remove what it makes superfluous.

        Args:
            state: State after the epoch.
            tensors: Weights and moments after the epoch.
            best: The best epoch so far.
            records: Those of the epochs since the one that was committed last.

        Returns:
            The best epoch, whose weights are in the store now.
        """
        weights = best.weights if best.epoch == state.epoch else None
        weights = weights or pack(tensors.model)
        best = self.save_best(best)
        committed = {
            "step": state.step,
            "best_epoch": state.best_epoch,
            "random": state.random,
            "records": [record.to_json() for record in records],
        }
        name = checkpoint_archive(state.epoch)

        def files() -> Iterator[tuple[str, bytes]]:
            yield MODEL, weights
            yield OPTIMIZER, pack(tensors.optimizer)
            yield SCORES, to_json(best.evaluation)
            yield STATE, to_json(committed)

        self._store.put(name, packed(files()))
        self.save_records(records)
        kept = {name, best_weights(best.epoch)}
        self._remove(self._there - kept)
        self._there = kept
        return best

    def save_best(self, best: Best) -> Best:
        """Write the weights of the best epoch, unless the store has them."""
        if best.weights is None:
            return best
        self._store.put(best_weights(best.epoch), best.weights)
        self._there.add(best_weights(best.epoch))
        return replace(best, weights=None)

    def save_records(self, records: Sequence[EpochRecord]) -> None:
        """Write the records of epochs, the last of which names the object."""
        if records:
            content = epochs_content([record.to_json() for record in records])
            self._store.put_new(epoch_record(records[-1].epoch), content)

    def remove(self, best_epoch: int | None) -> None:
        """Delete what only going on with the run would need; the best weights stay."""
        best = None if best_epoch is None else best_weights(best_epoch)
        self._remove(self._there - {best})
        self._there &= {best}

    def find(self) -> None:
        """Look for what another process left."""
        self._there = {
            name for part in (CHECKPOINT, BEST) for name in _removable(self._store, part)
        }

    def _remove(self, names: Iterable[str]) -> None:
        if names := sorted(names):
            self._store.delete(*names)


def load_history(store: ObjectStore, num_epochs: int) -> tuple[EpochRecord, ...]:
    """Records of the first epochs of a run.

    Raises:
        InputError: one of them is missing or damaged.
    """
    records = read_epochs(store, most=num_epochs)
    if len(records) < num_epochs:
        raise InputError(
            f"{place_name(store)}: {epoch_record(len(records) + 1)} is missing from a run of "
            f"{num_epochs} epochs: remove the run and train it anew"
        )
    return tuple(map(EpochRecord.from_json, records))


def _removable(store: ObjectStore, prefix: str) -> list[str]:
    return [name for name in store.list(prefix) if _REMOVABLE.fullmatch(name)]
