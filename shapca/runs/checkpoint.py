"""Checkpoints of a run in an object store: committed whole or not at all.

Layout under the run's store (`e` an epoch's number, four digits at least):

    checkpoint/e.safetensors  what going on after epoch e needs: weights and moments; in its
                              metadata everything else, with the best epoch's validation scores
    best/e.safetensors        weights of the best validation epoch
    epochs/e.json             the record of epoch e, or those of several up to e; immutable

An epoch exists once it is in a checkpoint, which is one object, written after the best weights and
before the records. What a killed process left beside it is ignored and removed when the run is
taken up again; objects of other names are left alone.

Older versions had a folder `checkpoint/e/` of model.safetensors, optimizer.safetensors and
state.json, which was written last and committed the epoch; the scores were in best/e.json.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from shapca.errors import InputError
from shapca.runs.epochs import EpochRecord, best_of, epochs_content, read_epochs
from shapca.runs.forms import CheckpointState, EvaluationForm
from shapca.runs.layout import (
    BEST,
    CHECKPOINT,
    EPOCHS,
    best_weights,
    checkpoint_of,
    epoch_of,
    epoch_record,
)
from shapca.runs.tensors import Tensors, pack, read_metadata, unpack, unpacked
from shapca.storage import ObjectStore, place_name, read_json, to_json
from shapca.storage.records import parse_json

STATE = "state"  # in the metadata
MODEL, OPTIMIZER = "model/", "optimizer/"  # what names of tensors begin with
_OLD_STATE = "/state.json"
# What a checkpoint and the best epoch consist of: nothing else is ever deleted.
_REMOVABLE = re.compile(
    r"checkpoint/\d{4,}(\.safetensors|/((model|optimizer)\.safetensors|state\.json))"
    r"|best/\d{4,}\.(safetensors|json)"
    r"|epochs/\d{4,}\.json"
)
_COMMITTED = re.compile(r"checkpoint/(\d{4,})(\.safetensors|/state\.json)")


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
        tensors: Reads weights and moments after the epoch; an `InputError` where they are missing
            or damaged.
    """

    state: TrainingState
    best: Best
    tensors: Callable[[], Tensors]


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
        kept = (name.removesuffix(_OLD_STATE[1:]), f"{BEST}{best:04d}.")
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
        is_old = name.endswith(_OLD_STATE)
        content = store.get(name) or b""
        metadata = {} if is_old else read_metadata(content, place)
        text = content if is_old else metadata.get(STATE, "")
        stored: CheckpointState = parse_json(text, place, CheckpointState)
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
        evaluation = dict(stored["best"]) if "best" in stored else self._old_scores(best)

        def tensors() -> Tensors:
            if not is_old:
                return _split(unpacked(content, place))
            folder = name.removesuffix(_OLD_STATE)
            parts = ("model", "optimizer")
            return Tensors(*(unpack(store, f"{folder}/{part}.safetensors") for part in parts))

        progress = TrainingState(stored["step"], best, stored["random"], history)
        return Checkpoint(progress, Best(best, evaluation), tensors)

    def _old_scores(self, epoch: int) -> dict[str, Any]:
        name = f"{BEST}{epoch:04d}.json"
        found: dict[str, Any] | None = read_json(self._store, name, EvaluationForm)
        if found is None:
            raise InputError(
                f"{place_name(self._store)}: {name} is missing from the run: remove the run and "
                "train it anew"
            )
        return found

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
        best = self.save_best(best)
        committed = {
            "step": state.step,
            "best_epoch": state.best_epoch,
            "random": state.random,
            "records": [record.to_json() for record in records],
            "best": best.evaluation,
        }
        name = checkpoint_of(state.epoch)
        parts = {
            **{MODEL + key: tensor for key, tensor in tensors.model.items()},
            **{OPTIMIZER + key: tensor for key, tensor in tensors.optimizer.items()},
        }
        self._store.put(name, pack(parts, {STATE: to_json(committed).decode()}))
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


def _split(tensors: Mapping[str, Tensor]) -> Tensors:
    """The inverse of what `Checkpoints.save` joins."""

    def part(prefix: str) -> dict[str, Tensor]:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    return Tensors(model=part(MODEL), optimizer=part(OPTIMIZER))


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
