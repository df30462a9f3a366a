"""Cells, the unit of work, and their store, the only truth about what has run.

A cell is one training run. Its key hashes all that its result depends on: the canonical config,
the seed, the hashes of only those data parts that it reads, and the pretrained weights' hashes.
Code, library versions, device and threads are recorded beside the result instead: a finished
cell whose code has changed since is *stale*.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from orchestrator.store import forms
from orchestrator.store.cell_folder import (
    ATTEMPT,
    CELL,
    CLAIM,
    STATUS,
    cell_folder,
    code_of,
    in_cell,
    of_epochs,
    status_of,
    weights_of,
)
from shapca.config import ExperimentConfig, validate
from shapca.errors import InputError
from shapca.runs.code import changed_definitions, code_fingerprint, definitions
from shapca.runs.epochs import num_epochs, read_epochs, read_result
from shapca.runs.forms import Scores
from shapca.runs.layout import (
    BEST,
    EVALUATIONS,
    RESULT,
    RUN,
    commits,
    evaluation_record,
)
from shapca.storage import FolderStore, ObjectStore, SubStore, digest, read_json, to_json

Status = Literal["finished", "diverged", "failed"]

STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Cell:
    """One training run.

    Attributes:
        config: The experiment.
        seed: Its training seed.
        parts: Hash of each data part that the experiment reads.
        weights: Hash of each set of pretrained weights that it starts from.
    """

    config: ExperimentConfig
    seed: int
    parts: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def configuration(self) -> str:
        """Key of the configuration: the cell without its seed."""
        return digest(self._configuration_record())

    @cached_property
    def key(self) -> str:
        """Key of the cell: 16 hexadecimal digits."""
        return digest({**self._configuration_record(), "seed": self.seed})

    def _configuration_record(self) -> dict[str, Any]:
        return {
            "config": self.config.canonical(),
            "parts": dict(self.parts),
            "weights": dict(self.weights),
        }

    def to_json(self) -> dict[str, Any]:
        """As `cell.json` keeps it."""
        return {
            "key": self.key,
            "configuration": self.configuration,
            "config": self.config.model_dump(mode="json"),
            "seed": self.seed,
            "parts": dict(self.parts),
            "weights": dict(self.weights),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Cell:
        """The inverse of `to_json`."""
        return cls(
            validate(ExperimentConfig, record["config"], f"cell {record.get('key')}", "config"),
            record["seed"],
            record["parts"],
            record["weights"],
        )


class CellStore:
    """Cells of a storage path, whichever sweep or study trained them."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def run_store(self, key: str) -> ObjectStore:
        """Where the training of a cell keeps its records, checkpoint and weights."""
        return SubStore(self.store, cell_folder(key))

    def register(self, cell: Cell) -> bool:
        """Note a cell's identity before it is trained; repeating it changes nothing.

        Returns:
            Whether it is new: the storage has nothing else of it, and no verdict.
        """
        return self.store.put_new(in_cell(cell.key, CELL), to_json(cell.to_json()))

    def cell(self, key: str) -> Cell:
        """The identity of a registered cell.

        Raises:
            InputError: No such cell.
        """
        record = read_json(self.store, in_cell(key, CELL), forms.CellForm)
        if record is None:
            raise InputError(f"cell {key}: not in this storage")
        return Cell.from_json(record)

    def statuses(self) -> dict[str, Status]:
        """Verdict of every cell that has one, from object names alone."""
        verdicts: dict[str, Status] = {}
        for name in self.store.list(STATUS):
            key, _, status = name.removeprefix(STATUS).rpartition(".")
            if status in STATUSES:
                verdicts[key] = status
        return verdicts

    def status(self, key: str) -> Status | None:
        """Verdict of one cell; None while it has not ended."""
        return next((s for s in STATUSES if self.store.get(status_of(key, s)) is not None), None)

    def settle(
        self, key: str, status: Status, summary: Mapping[str, Any], *, is_first: bool = False
    ) -> None:
        """Give a cell its verdict. A later finish replaces an earlier failure.

        Args:
            key: The cell.
            status: How it ended.
            summary: A small record for listings (best metrics, code fingerprint, error).
            is_first: It has no other verdict.
        """
        self.store.put(status_of(key, status), to_json(dict(summary)))
        if not is_first:
            self.store.delete(*(status_of(key, other) for other in STATUSES if other != status))

    def summary(self, key: str) -> dict[str, Any] | None:
        """The record that `settle` kept; None while the cell has no verdict."""
        for status in STATUSES:
            form = forms.FailedForm if status == "failed" else forms.EndedForm
            if (record := read_json(self.store, status_of(key, status), form)) is not None:
                return {"status": status, **record}
        return None

    def failure(self, key: str) -> str | None:
        """Why a cell has the verdict `failed`; None where it has not."""
        record = read_json(self.store, status_of(key, "failed"), forms.FailedForm)
        return None if record is None else str(record["reason"])

    def claim(self, key: str, sweep: str) -> str:
        """Note that a sweep works on a cell, unless another one says so already.

        Returns:
            The sweep that has the cell.
        """
        if self.store.put_new(in_cell(key, CLAIM), to_json({"sweep": sweep})):
            return sweep
        return self.claimed_by(key) or sweep

    def claimed_by(self, key: str) -> str | None:
        """The sweep that said it works on a cell; None where none does."""
        record = read_json(self.store, in_cell(key, CLAIM), forms.ClaimForm)
        return None if record is None else str(record["sweep"])

    def release(self, key: str, others: Sequence[str] = ()) -> None:
        """Note that no sweep works on a cell any more, and remove other objects of the storage."""
        self.store.delete(*others, in_cell(key, CLAIM), in_cell(key, ATTEMPT))

    def let_go(self, key: str) -> None:
        """Note that no process works on a cell for now; what was trained stays its sweep's."""
        self.store.delete(in_cell(key, ATTEMPT))

    def begin_attempt(self, key: str) -> str:
        """Note that a process works on a cell from now on, and none that did before.

        Returns:
            What `is_current` asks for.
        """
        attempt = uuid.uuid4().hex
        self.store.put(in_cell(key, ATTEMPT), to_json({"attempt": attempt}))
        return attempt

    def has_attempt(self, key: str) -> bool:
        """Whether a process has begun to work on a cell since it was released."""
        return self.store.get(in_cell(key, ATTEMPT)) is not None

    def is_current(self, key: str, attempt: str) -> bool:
        """Whether no other process has been given the cell since an attempt began."""
        record = read_json(self.store, in_cell(key, ATTEMPT), forms.AttemptForm)
        return record is not None and record["attempt"] == attempt

    def reopen(self, key: str) -> None:
        """Take back the verdict `failed`, so that the cell is tried again from its checkpoint."""
        self.store.delete(status_of(key, "failed"))

    def reset(self, key: str) -> None:
        """Remove all that training made of a cell; its identity stays."""
        # Verdict and result go first: a cell half removed must never look finished.
        self.store.delete(*(status_of(key, status) for status in STATUSES))
        self.store.delete(in_cell(key, RESULT))
        self._remove(key, [n for n in self.objects(key) if n not in (CELL, CLAIM, RUN)])
        self.store.delete(in_cell(key, RUN))  # without it nothing is looked for

    def drop_weights(self, key: str) -> None:
        """Remove a cell's best weights and checkpoint; its records stay."""
        self._remove(key, weights_of(self.objects(key)))

    def objects(self, key: str) -> list[str]:
        """Names of all objects of a cell, as they are within it."""
        return [name.removeprefix(in_cell(key)) for name in self.store.list(in_cell(key))]

    def _remove(self, key: str, names: Sequence[str]) -> None:
        """Remove objects of a cell; a checkpoint half removed must not look committed."""
        for is_marker in (True, False):
            if part := [in_cell(key, name) for name in names if commits(name) == is_marker]:
                self.store.delete(*part)

    def clear_orphans(self, key: str, *, needs_weights: bool = False) -> None:
        """Remove records that no checkpoint and no result belongs to, and half-written files.

        Records stay when weights are dropped; a cell that is trained anew writes its own. Without
        `run.json` no training looks for a checkpoint, so that none may be there.

        Args:
            key: A cell without a verdict.
            needs_weights: A result without the best weights is of no use.
        """
        if isinstance(self.store, FolderStore):
            self.store.remove_leftovers(cell_folder(key), nobody_writes=True)
        names = self.objects(key)
        if RUN not in names:
            self._remove(key, [*weights_of(names), *of_epochs(names)])
        elif RESULT in names:
            if needs_weights and not self.has_weights(key):
                self.reset(key)  # as it was about to be when a process was killed
        elif not any(map(commits, names)):
            tested = [name for name in names if name.startswith(EVALUATIONS)]
            self._remove(key, [*of_epochs(names), *tested])

    def has_weights(self, key: str) -> bool:
        """Whether the best weights of a cell are kept."""
        return bool(self.weights(key))

    def weights(self, key: str) -> list[str]:
        """Objects that hold the best weights of a cell."""
        names = self.store.list(in_cell(key, BEST))
        return [name for name in names if name.endswith(".safetensors")]

    def codes(self, key: str) -> set[str]:
        """Fingerprints of the code that worked on a cell so far; empty before its first epoch."""
        return {part["code"] for part in self.environments(key)}

    def environments(self, key: str) -> list[dict[str, Any]]:
        """Code, libraries and machines that worked on a cell so far, as its run records them."""
        run = read_json(self.store, in_cell(key, RUN), forms.WorkedOnForm) or {"environments": []}
        environments: list[dict[str, Any]] = run["environments"]
        return environments

    def note_code(self) -> None:
        """Keep what the present code defines, so that a later refusal can name what changed."""
        self.store.put_new(code_of(code_fingerprint()), to_json(dict(definitions())))

    def changes_since(self, keys: Collection[str]) -> list[str]:
        """Definitions that differ between the present code and that which cells come from.

        Empty where the storage does not have the definitions of that code.
        """
        codes = {code for key in keys for code in self.codes(key)} - {code_fingerprint()}
        known = (read_json(self.store, code_of(code), dict[str, str]) for code in codes)
        changed = (changed_definitions(then, definitions()) for then in known if then is not None)
        return sorted({name for names in changed for name in names})

    def result(self, key: str) -> dict[str, Any] | None:
        """`result.json` of a cell's training; None where it has not ended."""
        return read_result(self.run_store(key))

    def evaluation(self, key: str, name: str) -> dict[str, Any] | None:
        """An evaluation record of a cell (`valid`, `test`, …); None where there is none."""
        return read_json(self.store, in_cell(key, evaluation_record(name)), Scores)

    def num_epochs(self, key: str) -> int:
        """Epochs of a cell that are recorded, from object names alone."""
        return num_epochs(self.run_store(key))

    def epochs(self, key: str, start: int = 1) -> list[dict[str, Any]]:
        """Epoch records of a cell from epoch `start` on, in order."""
        return read_epochs(self.run_store(key), start)
