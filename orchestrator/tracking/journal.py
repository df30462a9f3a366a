"""The journal of a publisher: what MLflow already has of each run, and what a run lacks there.

Layout: <folder>/<run>.json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.tracking.run_document import RunDocument
from shapca.storage import ObjectStore, digest, read_json, to_json


@dataclass(frozen=True)
class Entry:
    """What MLflow has of one run.

    Attributes:
        run_id: MLflow's id.
        parent: MLflow's id of the run above.
        epochs: epoch records published.
        last_epoch_at: when the last of them was finished, which tells a cell trained anew.
        document: digest of the document published, its metrics aside.
        figures: digest of the document's metrics published.
        params: digest of the parameters logged; they are logged once.
        tags: keys of the document's tags.
        artifacts: path → digest of the content.
        model: version registered for it, if any.
    """

    run_id: str
    parent: str | None = None
    epochs: int = 0
    last_epoch_at: float | None = None
    document: str | None = None
    figures: str | None = None
    params: str | None = None
    tags: tuple[str, ...] = ()
    artifacts: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None


@dataclass(frozen=True)
class Plan:
    """What one run lacks in MLflow.

    Attributes:
        document: the run as it shall be.
        entry: the run as MLflow has it, if at all.
        outdated: id of a run that shows a training which has been begun anew since.
        parent: MLflow's id of the run above.
        is_orphan: the document names a run above that was never published.
        records: epoch records that MLflow lacks.
        is_changed: something else than metrics is different.
        has_figures: final figures are different.
    """

    document: RunDocument
    entry: Entry | None
    outdated: str | None
    parent: str | None
    is_orphan: bool
    records: tuple[dict[str, Any], ...]
    is_changed: bool
    has_figures: bool

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.document.status != "running"

    @property
    def num_epochs(self) -> int:
        """Epochs of the run, published or not, as far as known."""
        return (0 if self.entry is None else self.entry.epochs) + len(self.records)

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
        store: the storage.
        folder: prefix of the entries' names.
    """

    def __init__(self, store: ObjectStore, folder: str) -> None:
        self._store = store
        self._folder = folder

    def entry(self, key: str) -> Entry | None:
        """What MLflow has of a run; none where it was never published."""
        record = read_json(self._store, self._name(key))
        return None if record is None else Entry(**{**record, "tags": tuple(record["tags"])})

    def write(self, key: str, entry: Entry) -> None:
        """Note what MLflow has of a run."""
        self._store.put(self._name(key), to_json(asdict(entry)))

    def forget(self, key: str) -> None:
        """Take an entry away: the run is looked for in MLflow, or made, and sent whole."""
        self._store.delete(self._name(key))

    def _name(self, key: str) -> str:
        return f"{self._folder}/{key}.json"


def document_digest(document: RunDocument) -> str:
    """Digest of a run document without its metrics, which are published at its end."""
    record = {**asdict(document), "metrics": None}
    if document.model is None:
        del record["model"]  # journals written before there were models stay valid
    return digest(record)
