"""What runs of a sweep say of their configuration, their data sets, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.config.dimensions import Values
from orchestrator.config.sweep import InvalidSetting
from orchestrator.store.cell_factory import CellFactory
from orchestrator.sweeps.record.history import History
from orchestrator.tracking.provenance import dataset_document, run_tags
from orchestrator.tracking.run_document import DatasetDocument, flatten
from shapca.config import ExperimentConfig
from shapca.errors import InputError
from shapca.runs.provenance import git_commit


class RunContents:
    """Makes those parts of run documents; each data set is looked at once.

    Args:
        history: The sweep's record.

    Attributes:
        tags: That all runs of this driver have.
    """

    def __init__(self, history: History) -> None:
        self._sweep = history.sweep
        self._datasets = Datasets(history.factory)
        self.tags = {"sweep": self._sweep.name, **run_tags()}
        if (commit := git_commit()) is not None:
            self.tags["git_commit"] = commit

    def of_sweep(self) -> dict[str, Any]:
        """Of the sweep's own run."""
        tree = self._sweep.model_dump(mode="json", exclude={"runtime"})
        return {
            "params": flatten(tree),
            "config": tree,
            "datasets": self._datasets.of(self._sweep.experiments()),
        }

    def of(self, values: Values) -> dict[str, Any]:
        """Of a setting: the experiment, or the setting itself where it is none."""
        try:
            config = self._sweep.resolve(values)
        except InvalidSetting:
            return {"params": flatten(values)}
        tree = config.model_dump(mode="json")
        return {"params": flatten(tree), "config": tree, "datasets": self._datasets.of([config])}


class Datasets:
    """Prepared data sets as documents.

    Args:
        factory: Knows where they lie.
    """

    def __init__(self, factory: CellFactory) -> None:
        self._factory = factory
        self._known: dict[str, DatasetDocument | None] = {}

    def of(self, configs: Iterable[ExperimentConfig]) -> tuple[DatasetDocument, ...]:
        """Those that some experiments read, as far as this machine has them."""
        found = {}
        for config in configs:
            name = config.data.dataset
            if name not in self._known:
                self._known[name] = self._read(config)
            found[name] = self._known[name]
        return tuple(document for document in found.values() if document is not None)

    def _read(self, config: ExperimentConfig) -> DatasetDocument | None:
        try:
            return dataset_document(self._factory.data(config))
        except (InputError, OSError):  # not here (any more); cells know it by its hash
            return None
