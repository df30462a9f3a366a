"""Checkpoints of a run in an object store: committed whole or not at all.

Layout under the run's store (`e` an epoch's number, four digits at least):

    checkpoint/e/model.safetensors       weights after epoch e
    checkpoint/e/optimizer.safetensors   the optimizer's moments
    checkpoint/e/state.json              everything else; written last, so it commits the epoch
    best/e.safetensors                   weights of the best validation epoch
    best/e.json                          its validation scores with per-example counts
    epochs/e.json                        the epoch's record, immutable

An epoch exists once its `state.json` does. What a killed process left without one is ignored and
removed when the run is taken up again; objects of other names are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from shapca.errors import InputError
from shapca.runs.epochs import EpochRecord, best_of, read_epoch
from shapca.runs.forms import CheckpointState, EvaluationForm
from shapca.runs.layout import (
    BEST,
    CHECKPOINT,
    best_scores,
    best_weights,
    checkpoint_folder,
    epoch_record,
)
from shapca.storage import ObjectStore, place_name, read_json, to_json

# What a checkpoint and the best epoch consist of: nothing else is ever deleted.
_REMOVABLE = re.compile(
    r"checkpoint/\d{4,}/(model\.safetensors|optimizer\.safetensors|state\.json)"
    r"|best/\d{4,}\.(safetensors|json)"
)


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
class Tensors:
    """The large part of a checkpoint: weights by name, moments by parameter name and key."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def save_checkpoint(
    store: ObjectStore,
    state: TrainingState,
    tensors: Tensors,
    *,
    best_evaluation: dict[str, Any] | None,
) -> None:
    """Commit an epoch, then remove what it makes superfluous.

    Args:
        store: The run's store.
        state: State after the epoch.
        tensors: Weights and moments after the epoch.
        best_evaluation: Validation scores to keep with the weights where the epoch is the best so
            far, else `None`.
    """
    folder = checkpoint_folder(state.epoch)
    weights = pack(tensors.model)
    store.put(f"{folder}/model.safetensors", weights)
    store.put(f"{folder}/optimizer.safetensors", pack(tensors.optimizer))
    if best_evaluation is not None:
        store.put(best_weights(state.epoch), weights)
        store.put(best_scores(state.epoch), to_json(best_evaluation))
    record = state.history[-1].to_json()
    committed = {"step": state.step, "best_epoch": state.best_epoch, "random": state.random}
    store.put(f"{folder}/state.json", to_json({**committed, "record": record}))
    store.put_new(epoch_record(state.epoch), to_json(record))
    _remove_others(store, state.epoch, state.best_epoch)


def load_state(store: ObjectStore) -> TrainingState | None:
    """How far a run has come, or `None` before its first epoch.

    What a killed process left half-written is removed.

    Raises:
        InputError: the record of an epoch is missing, or one is damaged.
    """
    names = _removable(store, CHECKPOINT)
    committed = [int(name.split("/")[1]) for name in names if name.endswith("/state.json")]
    if not committed:
        for name in (*names, *_removable(store, BEST)):
            store.delete(name)
        return None
    epoch = max(committed)
    name = f"{checkpoint_folder(epoch)}/state.json"
    stored = read_json(store, name, CheckpointState)
    assert stored is not None
    store.put_new(epoch_record(epoch), to_json(stored["record"]))
    history = load_history(store, epoch)
    best = best_of(history).epoch
    if stored["best_epoch"] != best:  # by it the best weights would be removed
        raise InputError(
            f"{place_name(store)}: {name} is damaged: best_epoch: expected {best} by the records "
            f"of the epochs, found {stored['best_epoch']}"
        )
    _remove_others(store, epoch, best)
    return TrainingState(stored["step"], stored["best_epoch"], stored["random"], history)


def load_tensors(store: ObjectStore, epoch: int) -> Tensors:
    """Weights and moments of a committed epoch.

    Raises:
        InputError: they are missing or damaged.
    """
    folder = checkpoint_folder(epoch)
    return Tensors(
        model=unpack(store, f"{folder}/model.safetensors"),
        optimizer=unpack(store, f"{folder}/optimizer.safetensors"),
    )


def load_history(store: ObjectStore, num_epochs: int) -> tuple[EpochRecord, ...]:
    """Records of the first epochs of a run.

    Raises:
        InputError: one of them is missing or damaged.
    """
    whole = f"a run of {num_epochs} epochs"
    history = []
    for epoch in range(1, num_epochs + 1):
        record = read_epoch(store, epoch)
        name = epoch_record(epoch)
        history.append(EpochRecord.from_json(_needed(record, store, name, whole)))
    return tuple(history)


def remove_checkpoints(store: ObjectStore) -> None:
    """Delete what only resuming the run would need; the best weights stay."""
    for name in _commit_marker_first(_removable(store, CHECKPOINT)):
        store.delete(name)


def best_evaluation(store: ObjectStore, epoch: int) -> dict[str, Any]:
    """Validation scores that were kept with the weights of the best epoch.

    Raises:
        InputError: they are missing.
    """
    name = best_scores(epoch)
    return _needed(read_json(store, name, EvaluationForm), store, name, "the run")


def _needed(
    record: dict[str, Any] | None, store: ObjectStore, name: str, whole: str
) -> dict[str, Any]:
    if record is None:
        raise InputError(
            f"{place_name(store)}: {name} is missing from {whole}: remove the run and train it anew"
        )
    return record


def _removable(store: ObjectStore, prefix: str) -> list[str]:
    return [name for name in store.list(prefix) if _REMOVABLE.fullmatch(name)]


def _commit_marker_first(names: list[str]) -> list[str]:
    """Deletion order: an epoch must not look committed when its tensors are already gone."""
    return sorted(names, key=lambda name: not name.endswith("/state.json"))


def _remove_others(store: ObjectStore, epoch: int, best_epoch: int) -> None:
    keep = f"{checkpoint_folder(epoch)}/"
    names = [name for name in _removable(store, CHECKPOINT) if not name.startswith(keep)]
    best = f"{BEST}{best_epoch:04d}."
    names += [name for name in _removable(store, BEST) if not name.startswith(best)]
    for name in _commit_marker_first(names):
        store.delete(name)


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    return safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    )


def unpack(store: ObjectStore, name: str) -> dict[str, Tensor]:
    """Tensors of a safetensors object.

    Raises:
        InputError: the object is missing or damaged.
    """
    content = store.get(name)
    if content is None:
        raise InputError(f"{place_name(store)}: {name} is missing from the run")
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # whatever damaged bytes make the reader raise
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{place_name(store)}: {name} is damaged ({first})") from error


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    """An optimizer's state as flat tensors named `<parameter>|<key>`.

    Parameters that never had a gradient have no state and are left out.
    """
    return {
        f"{name}|{key}": value
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    tensors: Mapping[str, Tensor],
) -> None:
    """Give an optimizer the state that `optimizer_tensors` took from one like it.

    Raises:
        InputError: a tensor is of no parameter, or of another shape.
    """
    for name, tensor in tensors.items():
        parameter_name, _, key = name.rpartition("|")
        parameter = parameters.get(parameter_name)
        if parameter is None or (tensor.dim() and tensor.shape != parameter.shape):
            raise InputError(
                f"the checkpoint is another model's: its optimizer has {name[:200]!r} of shape "
                f"{tuple(tensor.shape)}"
            )
        optimizer.state[parameter][key] = tensor.to(parameter.device, copy=True)
