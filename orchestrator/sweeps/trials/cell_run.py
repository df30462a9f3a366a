"""The work on one cell, epoch by epoch: train or go on, evaluate, give the verdict.

Runs inside a trial's process and knows nothing of Ray. Whatever happened before is read from the
cell's store, so that any process can take a cell over from any other.
"""

from __future__ import annotations

import gc
import json
import math
import pkgutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.parcels.delivery import Delivery
from orchestrator.store.cell_folder import cell_folder
from orchestrator.store.cells import Cell, CellStore
from orchestrator.store.lease import newest_lease
from orchestrator.sweeps.control.trial_report import Report, State
from shapca.config import RuntimeConfig
from shapca.errors import StorageError
from shapca.runs.epochs import SELECTION, EpochRecord
from shapca.storage import ObjectStore, SubStore

if TYPE_CHECKING:
    from shapca.training import Training

TRAINING = "orchestrator.sweeps.trials.cell_run:open_training"
CERTAIN_SECONDS = 10.0
"""For which it is taken for true that no other process was given the cell."""

OpenTraining = Callable[[Cell, RuntimeConfig, ObjectStore], "Training"]


class SupersededError(RuntimeError):
    """Another process was given the cell: this one must leave it alone."""


class GuardedStore(SubStore):
    """The objects under a prefix, each change of which is asked for first.

    Args:
        parent: Where they are.
        prefix: The prefix.
        check: Raises where nothing may be changed.
    """

    def __init__(self, parent: ObjectStore, prefix: str, check: Callable[[], None]) -> None:
        super().__init__(parent, prefix)
        self._check = check

    def put_new(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists; whether it was written."""
        self._check()
        return super().put_new(name, content)

    def put(self, name: str, content: bytes) -> None:
        """Write or replace an object."""
        self._check()
        super().put(name, content)

    def delete(self, *names: str) -> None:
        """Remove objects; one that does not exist is no error."""
        self._check()
        super().delete(*names)


@dataclass
class CellRun:
    """One attempt at a cell.

    Epochs that an earlier attempt committed are reported first, one a step, so that early stopping
    sees a cell taken up again as it would have seen it undisturbed.

    Attributes:
        cells: The store.
        key: Which cell.
        test: Whether its test score is wanted.
        sweep: Name of the sweep that asks.
        runtime: Device, threads and workers.
        training: `module:function` that opens a cell's training.
        delivery: What was packaged for nodes that lack the data, if anything was.
        lease: Number of the lease under which the sweep asks; None: there is none.
        cell: The cell, where it is at hand; None: as the store has it.
    """

    cells: CellStore
    key: str
    test: bool
    sweep: str
    runtime: RuntimeConfig
    training: str = TRAINING
    delivery: Delivery | None = None
    lease: int | None = None
    cell: Cell | None = None

    def __post_init__(self) -> None:
        self._training: Training | None = None
        self._attempt = ""
        self._checked_at = -math.inf
        self._steps: Iterator[EpochRecord] = iter(())
        self._best: EpochRecord | None = None
        self._epoch = 0
        self._trained = 0
        self._began = time.monotonic()

    def step(self) -> Report:
        """Train or repeat one epoch, or end the run.

        Where another process was given the cell, as happens to one whose node was out of reach and
        taken for lost, and where the storage cannot be used, the report says so: nothing of the
        cell is touched, and trying again in another process would not help. That is asked before
        the first thing that a step writes.

        Raises:
            Exception: Training failed. The cell has the verdict `failed` by then, which another
                attempt reports: so the failed process can be replaced by a fresh one.
        """
        try:
            return self._step_or_fail()
        except SupersededError as error:
            self.close()
            return self._report("superseded", str(error))
        except StorageError as error:
            self.close()
            return self._report("stopped", str(error))

    def _step_or_fail(self) -> Report:
        failure = self.cells.failure(self.key) if self._training is None else None
        if failure is not None and self.cells.has_attempt(self.key):
            return self._report("failed", failure)
        if failure is not None:  # of a cell whose folder was removed: nothing of it is left
            self.cells.reopen(self.key)
        self._checked_at = -math.inf
        try:
            return self._step()
        except (SupersededError, StorageError):
            raise
        except Exception as error:
            self.close()
            self._checked_at = -math.inf
            self._require_current()
            summary = {
                "reason": describe_failure(error),
                "sweep": self.sweep,
                "traceback": "".join(traceback.format_exception(error))[-4000:],
            }
            self.cells.settle(self.key, "failed", summary)
            raise

    def _step(self) -> Report:
        if self._training is None:
            cell, runtime = self.cell or self.cells.cell(self.key), self.runtime
            self._require_lease()
            self._attempt = self.cells.begin_attempt(self.key)
            self._checked_at = time.monotonic()
            if self.delivery is not None:
                cell, runtime = self.delivery.receive(self.cells.store, cell, runtime)
            start: OpenTraining = pkgutil.resolve_name(self.training)
            self._training = start(cell, runtime, self._store())
            self._steps = self._all_epochs(self._training)
        record = next(self._steps, None)
        if record is None:
            return self._finish(self._training)
        self._epoch = record.epoch
        if self._best is None or record.metrics[SELECTION] > self._best.metrics[SELECTION]:
            self._best = record
        is_last = self._training.is_complete and self._epoch == len(self._training.history)
        return self._report("running", complete=is_last)

    def _all_epochs(self, training: Training) -> Iterator[EpochRecord]:
        yield from tuple(training.history)
        for record in training.epochs():
            self._trained += 1
            yield record

    def _finish(self, training: Training) -> Report:
        result = training.finish(test=self.test)
        self._require_current()
        if result.status == "stopped":
            raise RuntimeError(f"training stopped without a reason to: {result.reason}")
        summary: dict[str, Any] = {
            "value": result.best_metrics.get(SELECTION),
            "best_epoch": result.best_epoch,
            "epochs": result.epochs_run,
            "codes": sorted(set(training.codes)),
            "sweep": self.sweep,
            "alignment": result.alignment,
            "metrics": result.best_metrics,
        }
        if result.status == "diverged":
            summary["reason"] = result.reason
        before = None if self._trained else self.cells.summary(self.key)
        if before is not None:
            summary["sweep"] = before["sweep"]  # who trained it
        # One that failed before was opened again, or would not be worked on.
        self.cells.settle(self.key, result.status, summary, is_first=True)
        self.close()
        report = self._report(result.status, summary.get("reason"), complete=True)
        return replace(report, verdict=json.dumps(summary))

    def _require_lease(self) -> None:
        newest = 0 if self.lease is None else newest_lease(self.cells.store, self.sweep)
        if self.lease is not None and newest != self.lease:
            raise SupersededError(f"sweep {self.sweep}: lease {newest} is the present one")

    def _store(self) -> ObjectStore:
        """Where the training keeps what it makes, while no other process has the cell."""
        return GuardedStore(self.cells.store, cell_folder(self.key), self._require_current)

    def _require_current(self) -> None:
        """Ask whether the cell is still this attempt's, unless that was asked just now."""
        if not self._attempt or time.monotonic() - self._checked_at < CERTAIN_SECONDS:
            return
        if not self.cells.is_current(self.key, self._attempt):
            raise SupersededError(f"cell {self.key}: another process works on it now")
        self._checked_at = time.monotonic()

    def _report(self, state: State, reason: str | None = None, complete: bool = False) -> Report:
        best = self._best
        return Report(
            epoch=self._epoch,
            value=None if best is None else best.metrics[SELECTION],
            best_epoch=None if best is None else best.epoch,
            state=state,
            complete=complete,
            reason=reason,
            trained=self._trained,
            seconds=time.monotonic() - self._began,
            uncommitted=json.dumps([record.to_json() for record in self._uncommitted()]),
        )

    def _uncommitted(self) -> Sequence[EpochRecord]:
        """Records of the epochs reported so far that are in this process alone."""
        training = self._training
        return () if training is None else training.history[training.num_committed : self._epoch]

    def close(self) -> None:
        """Free the memory that the attempt holds, so that the process can serve another cell."""
        if self._training is not None:
            self._training.close()
        self._training = None
        self._steps = iter(())
        _free_gpu_memory()


def describe_failure(error: BaseException) -> str:
    """One line that says what went wrong; a run out of memory says how to use less."""
    notes = " ".join(getattr(error, "__notes__", ()))
    message = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            f"{notes or 'out of memory'}; lower optimisation.batch_size (and raise "
            "optimisation.accumulation), or give a trial more memory"
        )
    kind = "" if type(error).__name__ == "InputError" else f"{type(error).__name__}: "
    return f"{kind}{message} {notes}".strip()


def open_training(cell: Cell, runtime: RuntimeConfig, store: ObjectStore) -> Training:
    """The training of a cell; data sets stay open for the cells that follow."""
    from shapca.training import Training

    data = _prepared(runtime.data_root.absolute() / cell.config.data.dataset)
    return Training(cell.config, data, seed=cell.seed, runtime=runtime, store=store)


@lru_cache(maxsize=4)
def _open_data(folder: Path, changed: int) -> Any:
    from shapca.data.prepared import PreparedData

    return PreparedData.load(folder)


def _prepared(folder: Path) -> Any:
    manifest = folder / "manifest.json"
    return _open_data(folder, manifest.stat().st_mtime_ns if manifest.is_file() else 0)


def _free_gpu_memory() -> None:
    """Return what the last cell held on a GPU; on a CPU counting references has done it already."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
