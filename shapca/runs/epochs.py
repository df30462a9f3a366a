"""What a run leaves behind: a record of each epoch and the result at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shapca.errors import InputError
from shapca.runs.forms import Result
from shapca.runs.forms import Status as Status
from shapca.runs.layout import RESULT, epoch_record
from shapca.storage import ObjectStore, place_name, read_json

if TYPE_CHECKING:
    from shapca.alignment.standing import Standing
    from shapca.metrics import Evaluation

SELECTION = "val/f1"  # the metric that chooses the best epoch


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


def read_epoch(store: ObjectStore, epoch: int) -> dict[str, Any] | None:
    """The record of an epoch as the store keeps it; `None` where there is none.

    Raises:
        InputError: it is damaged, or another epoch's.
    """
    name = epoch_record(epoch)
    record: dict[str, Any] | None = read_json(store, name, EpochRecord)
    if record is None:
        return None
    if record["epoch"] != epoch or SELECTION not in record["metrics"]:
        raise InputError(
            f"{place_name(store)}: {name} is damaged: expected epoch {epoch} with its {SELECTION}"
        )
    return record


def read_result(store: ObjectStore) -> dict[str, Any] | None:
    """How a run ended, as `result.json` says; `None` while it has not.

    Raises:
        InputError: the record is damaged.
    """
    return read_json(store, RESULT, Result)


def best_of(history: Sequence[EpochRecord]) -> EpochRecord:
    """The epoch of the highest validation F1, the first among equals."""
    return max(history, key=lambda record: record.metrics[SELECTION])
