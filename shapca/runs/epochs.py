"""What a run leaves behind: a record of each epoch and the result at its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shapca.errors import InputError
from shapca.runs.forms import Result
from shapca.runs.forms import Status as Status
from shapca.runs.layout import EPOCHS, RESULT, epoch_of
from shapca.storage import ObjectStore, place_name, read_json, to_json
from shapca.storage.records import check_form

if TYPE_CHECKING:
    from shapca.alignment.standing import Standing
    from shapca.metrics import Evaluation

SELECTION = "val/f1"  # the metric that chooses the best epoch
_RECORD = re.compile(r"epochs/\d{4,}\.json")


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training with the validation that followed it.

    Attributes:
        epoch: Number of the epoch, from 1.
        metrics: Scalars by name: `train/loss`, `train/loss_main`, `val/f1` (percent), … .
        is_best: Whether its validation F1 is higher than every earlier one.
        seconds: Duration of training, validation and checkpoint preparation.
        finished_at: Unix time in seconds.
    """

    epoch: int
    metrics: dict[str, float]
    is_best: bool
    seconds: float
    finished_at: float

    def to_json(self) -> dict[str, Any]:
        """As the store keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> EpochRecord:
        """The inverse of `to_json`."""
        return cls(**record)


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Attributes:
        status: `finished`; `diverged` where a loss or gradient was not finite; `stopped` where it
            was interrupted on request and can be resumed.
        reason: What ended the run, in words.
        best_epoch: Epoch of the highest validation F1, the first among equals; `None` where no
            epoch was completed.
        best_metrics: Metrics of that epoch.
        epochs_run: Epochs completed.
        test: Scores of the best weights on the test split, where they were asked for.
        alignment: `collapsed` where an alignment that was trained told true pairs from others in
            no epoch; `trivial` where all there is was read in one pass, else `aligned`; `None`
            where nothing was aligned.
    """

    status: Status
    reason: str | None
    best_epoch: int | None
    best_metrics: dict[str, float]
    epochs_run: int
    test: Evaluation | None = None
    alignment: Standing | None = None

    def to_json(self) -> dict[str, Any]:
        """As the store keeps it; the test scores are a record of their own."""
        record = asdict(self)
        del record["test"]
        return record


def epochs_content(records: Sequence[dict[str, Any]]) -> bytes:
    """Records of one or more epochs as the store keeps them, under the name of the last."""
    return to_json(records[0] if len(records) == 1 else list(records))


def read_epochs(
    store: ObjectStore, start: int = 1, *, most: int | None = None
) -> list[dict[str, Any]]:
    """Records of a run's epochs as the store keeps them, in order, as far as none is missing.

    Args:
        store: The run's store.
        start: The first epoch wanted.
        most: Records wanted at most; `None`: all.

    Raises:
        InputError: one of them is damaged, or another epoch's.
    """
    records: list[dict[str, Any]] = []
    for number, name in _recorded(store):
        if len(records) == most:
            break
        following = start + len(records)
        if number < following:
            continue
        found = [r for r in _read(store, name, number) if r["epoch"] >= following]
        if not found or found[0]["epoch"] != following:
            break
        records += found
    return records[:most]


def num_epochs(store: ObjectStore) -> int:
    """How many epochs of a run are recorded, from object names alone."""
    return max((number for number, _ in _recorded(store)), default=0)


def _recorded(store: ObjectStore) -> list[tuple[int, str]]:
    """The objects that hold records, in the order of the epochs that they are named after."""
    names = (name for name in store.list(EPOCHS) if _RECORD.fullmatch(name))
    return sorted((epoch_of(name), name) for name in names)


def _read(store: ObjectStore, name: str, number: int) -> list[dict[str, Any]]:
    """The records of an object: epochs up to the one that it is named after."""
    content, place = read_json(store, name), f"{place_name(store)}: {name}"
    if content is None:  # removed meanwhile
        return []
    records: list[dict[str, Any]] = content if isinstance(content, list) else [content]
    if not records:
        raise InputError(f"{place} is damaged: expected one or more records of epochs")
    first = number - len(records) + 1
    for epoch, record in enumerate(records, start=first):
        check_form(record, EpochRecord, place)
        if record["epoch"] != epoch or SELECTION not in record["metrics"]:
            raise InputError(f"{place} is damaged: expected epoch {epoch} with its {SELECTION}")
    return records


def read_result(store: ObjectStore) -> dict[str, Any] | None:
    """How a run ended, as `result.json` says; `None` while it has not.

    Raises:
        InputError: the record is damaged.
    """
    return read_json(store, RESULT, Result)


def best_of(history: Sequence[EpochRecord]) -> EpochRecord:
    """The epoch of the highest validation F1, the first among equals."""
    return max(history, key=lambda record: record.metrics[SELECTION])
