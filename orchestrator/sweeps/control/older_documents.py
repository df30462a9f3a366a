"""Run documents of earlier versions, completed by what runs say of themselves since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import CellFactory, is_prepared
from orchestrator.store.cells import Cell, CellStore
from orchestrator.sweeps.control.run_contents import Datasets
from orchestrator.tracking.provenance import SOURCE_TYPE, source_tags
from orchestrator.tracking.run_document import PARENT, RunDocument, read_runs, write_run
from shapca.config import ExperimentConfig
from shapca.errors import InputError
from shapca.storage import FolderStore, ObjectStore

UNKNOWN = "UNKNOWN"
"""MLflow's word for how a run was begun where nobody knows it any more."""


def complete_documents(store: ObjectStore, sweep: SweepConfig, data_root: Path) -> list[str]:
    """Add configuration, data sets and origin to the documents that lack them.

    What is not known any more stays away: a data set that is not under the data root, or is another
    one by now; who ran the sweep, where the storage does not show it.

    Args:
        store: The storage.
        sweep: The sweep's file.
        data_root: Folder of the prepared data sets.

    Returns:
        Names of the data sets that were looked for in vain.
    """
    documents = read_runs(store, sweep.name)
    older = {key: one for key, one in documents.items() if _is_incomplete(one)}
    if not older:
        return []
    reader, user = _Reader(store, data_root), _owner(store)
    cells = {key: reader.cell(one) for key, one in older.items()}
    by_configuration = {
        older[key].tags.get("configuration"): cell for key, cell in cells.items() if cell
    }
    for key, document in older.items():
        cell = cells[key] or by_configuration.get(document.tags.get("configuration"))
        added: dict[str, Any] = {}
        if key == PARENT:
            added["config"] = sweep.model_dump(mode="json", exclude={"runtime"})
            read = {one.config.data.dataset: one for one in cells.values() if one}
            added["datasets"] = reader.datasets(list(read.values()))
        elif cell is not None:
            added["config"] = cell.config.model_dump(mode="json")
            added["datasets"] = () if _is_moved(document) else reader.datasets([cell])
        tags = source_tags(user, document.tags.get("git_commit"), UNKNOWN)
        completed = replace(document, tags={**document.tags, **tags}, **added)
        if completed != document:
            write_run(store, sweep.name, completed)
    return sorted(reader.missing)


def _is_incomplete(document: RunDocument) -> bool:
    """Whether an earlier version wrote it, and whether its data set was not found since."""
    source = document.tags.get(SOURCE_TYPE)
    is_sought = not (document.datasets or _is_moved(document))
    return source is None or (source == UNKNOWN and is_sought)


def _is_moved(document: RunDocument) -> bool:
    """Whether it tells of a test on another data set, which the cell does not know."""
    return "trained_on" in document.tags


class _Reader:
    """Cells and data sets of a storage, as far as they are there."""

    def __init__(self, store: ObjectStore, data_root: Path) -> None:
        self._cells = CellStore(store)
        self._factory = CellFactory(data_root)
        self._datasets = Datasets(self._factory)
        self._is_same: dict[tuple[str, str], bool] = {}
        self.missing: set[str] = set()

    def cell(self, document: RunDocument) -> Cell | None:
        key = document.cell or document.tags.get("cell")
        try:
            return None if key is None else self._cells.cell(key)
        except InputError:  # it was removed, or is of a form that is read no more
            return None

    def datasets(self, cells: list[Cell]) -> tuple[Any, ...]:
        same = [cell.config for cell in cells if self._has(cell)]
        self.missing |= {cell.config.data.dataset for cell in cells if cell.config not in same}
        return self._datasets.of(same)

    def _has(self, cell: Cell) -> bool:
        """Whether the data set is the one that the cell read."""
        config, parts = cell.config, dict(cell.parts)
        known = (config.data.dataset, str(sorted(parts.items())))
        if known not in self._is_same:
            self._is_same[known] = self._parts(config) == parts
        return self._is_same[known]

    def _parts(self, config: ExperimentConfig) -> dict[str, str] | None:
        if not is_prepared(self._factory.data_root / config.data.dataset):
            return None
        try:
            return dict(self._factory.data(config).part_hashes(config))
        except InputError:
            return None


def _owner(store: ObjectStore) -> str | None:
    """Whose a storage folder is."""
    try:
        return Path(store.root).owner() if isinstance(store, FolderStore) else None
    except (KeyError, OSError):
        return None
