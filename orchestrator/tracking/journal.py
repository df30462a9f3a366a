"""The journal of a publisher: what MLflow already has of each run, and what a run lacks there.

Layout: <folder>/<run>.json
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.store.cells import CellStore
from orchestrator.tracking.figures import LAYOUT
from orchestrator.tracking.run_document import RunDocument
from shapca.storage import ObjectStore, digest, read_json, to_json


@dataclass(frozen=True)
class Entry:
    """What MLflow has of one run.

    Attributes:
        run_id: MLflow's id.
        parent: MLflow's id of the run above.
        epochs: Epoch records published.
        last_epoch_at: When the last of them was finished, by which a cell trained anew is known.
        document: Digest of the document published, its metrics aside.
        figures: Digest of the document's metrics published.
        params: Digest of the parameters logged; they are logged once.
        tags: Keys of the document's tags.
        artifacts: Path → digest of the content.
        model: Version registered for it, if any.
        inputs: Digest of the data sets logged.
    """

    run_id: str
    parent: str | None = None
    epochs: int = 0
    last_epoch_at: float | None = None
    document: str | None = None
    figures: str | None = None
    params: str | None = None
    tags: Sequence[str] = ()
    artifacts: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    inputs: str | None = None


@dataclass(frozen=True)
class Plan:
    """What one run lacks in MLflow.

    Attributes:
        document: The run as it shall be.
        entry: The run as MLflow has it, if at all.
        outdated: Id of a run that shows a training which has been begun anew since.
        parent: MLflow's id of the run above.
        records: Epoch records that MLflow lacks.
        is_changed: Something else than metrics is different.
        has_figures: Final figures are different.
    """

    document: RunDocument
    entry: Entry | None
    outdated: str | None
    parent: str | None
    records: tuple[dict[str, Any], ...]
    is_changed: bool
    has_figures: bool

    @property
    def has_metrics(self) -> bool:
        """Whether metrics wait to be sent."""
        return bool(self.records) or self.has_figures

    @property
    def is_nothing(self) -> bool:
        """Whether MLflow has all."""
        return not self.is_changed and not self.has_metrics


class Journal:
    """Entries of one sweep and one MLflow store.

    Args:
        store: The storage.
        folder: Prefix of the entries' names.
    """

    def __init__(self, store: ObjectStore, folder: str) -> None:
        self._store = store
        self._folder = folder
        self._run_ids: dict[str, str] = {}

    def run_id(self, key: str) -> str | None:
        """The id in MLflow of a run that others stand below, read once; None as of `entry`."""
        if key not in self._run_ids and (entry := self.entry(key)) is not None:
            self._run_ids[key] = entry.run_id
        return self._run_ids.get(key)

    def entry(self, key: str) -> Entry | None:
        """What MLflow has of a run; None where it was never published."""
        record = read_json(self._store, self._name(key), Entry)
        return None if record is None else Entry(**record)

    def write(self, key: str, entry: Entry) -> None:
        """Note what MLflow has of a run."""
        self._store.put(self._name(key), to_json(asdict(entry)))
        self._run_ids[key] = entry.run_id

    def forget(self, key: str) -> None:
        """Take an entry away: the run is looked for in MLflow, or made, and sent whole."""
        self._store.delete(self._name(key))
        self._run_ids.pop(key, None)

    def read_again(self) -> None:
        """Take nothing for granted that was read before."""
        self._run_ids.clear()

    def plan(self, document: RunDocument, cells: CellStore) -> Plan:
        """What a run lacks in MLflow, by the journal and its cell's epoch records."""
        entry = self.entry(document.key)
        parent = None if document.parent is None else self.run_id(document.parent)
        is_changed = (
            entry is None or entry.document != document_digest(document) or entry.parent != parent
        )
        records: list[dict[str, Any]] = []
        outdated = None
        if document.cell is not None and (is_changed or document.is_running):
            known = 0 if entry is None else entry.epochs
            records = cells.epochs(document.cell, known or 1)
            if entry is not None and known:
                finished_at = records.pop(0)["finished_at"] if records else None
                is_beyond = known > (document.last_epoch or known)
                if is_beyond or finished_at != entry.last_epoch_at:
                    # Begun anew since, or pruned earlier than shown: values cannot be taken back.
                    outdated, entry = entry.run_id, None
                    records = cells.epochs(document.cell)
            if document.last_epoch is not None:
                records = [r for r in records if r["epoch"] <= document.last_epoch]
        has_figures = bool(document.metrics) and not document.is_running
        if has_figures and entry is not None:
            has_figures = entry.figures != figures_digest(document)
        return Plan(
            document,
            entry,
            outdated,
            parent,
            records=tuple(records),
            is_changed=is_changed or entry is None,
            has_figures=has_figures,
        )

    def _name(self, key: str) -> str:
        return f"{self._folder}/{key}.json"


def document_digest(document: RunDocument) -> str:
    """Digest of a run document without its metrics, which are published at its end."""
    record = {**asdict(document), "metrics": None}
    # Journals written before there were any stay valid.
    for part in ("model", "varied", "config", "datasets"):
        if not record[part]:
            del record[part]
    return digest(record)


def inputs_digest(document: RunDocument) -> str | None:
    """Digest of the data sets that a run reads; None where none is known."""
    return digest([asdict(dataset) for dataset in document.datasets]) if document.datasets else None


def figures_digest(document: RunDocument) -> str:
    """Digest of a run's final figures under the names that they have in MLflow."""
    return digest({**document.metrics, "layout": LAYOUT})
