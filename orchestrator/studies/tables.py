"""A study's table from the cell store: every figure with its seeds, its state and its doubt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from orchestrator.store.address import resolve_data_root
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cells import Cell, CellStore
from orchestrator.store.lease import holder_of
from orchestrator.studies.config import PARAMETERS, StudyColumn, StudyRow
from orchestrator.studies.plan import StudyPlan, task_of
from orchestrator.tables.statistics import Counts, pooled_difference
from orchestrator.tables.table import (
    CellState,
    Column,
    Comparison,
    Row,
    Table,
    TableCell,
    corrected,
)
from shapca.config import ExperimentConfig
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.storage import ObjectStore


@dataclass(frozen=True)
class SeedResult:
    """What the store has of one cell for one column.

    Attributes:
        state: `done`, `stale`, `running` or `missing`.
        reason: Why there are no scores.
        metrics: Scores by name; None where there are no scores yet.
        counts: Counts (correct, predicted, gold) of each example by the score's name.
    """

    state: CellState
    reason: str = ""
    metrics: Mapping[str, float] | None = None
    counts: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)


@dataclass
class StudyTables:
    """Fills a study's table; nothing is trained or evaluated here.

    Attributes:
        plan: What the study wants.
        cells: The store.
        factory: Makes cells of experiments.
        code: Fingerprint of the present training code.
    """

    plan: StudyPlan
    cells: CellStore
    factory: CellFactory
    code: str

    def __post_init__(self) -> None:
        self._results: dict[tuple[str, str], SeedResult] = {}

    def table(self) -> Table:
        """The study's table as things stand."""
        study = self.plan.study
        rows = tuple(
            Row(title, title, self._row(title, row), row.group)
            for title, row in study.all_rows().items()
        )
        columns = tuple(
            Column(
                key,
                column.title or key,
                column.group,
                column.digits,
                column.better,
                "M" if column.score == PARAMETERS else "",
            )
            for key, column in study.columns.items()
        ) + tuple(Column(title, title) for title in study.pooled)
        table = Table(
            study.name, study.title, columns, rows, study.reference, study.heading, study.notes
        )
        return corrected(table)

    def _row(self, title: str, row: StudyRow) -> dict[str, TableCell]:
        """The cells of a row, each with its difference to the reference row in its column."""
        cells = {}
        for key, column in self.plan.study.columns.items():
            if (cell := self._cell(title, row, key, column)) is not None:
                cells[key] = replace(cell, against=self._comparison(title, [column]))
        for heading, keys in self.plan.study.pooled.items():
            parts = [cells[key] for key in keys if key in cells]
            if len(parts) == len(keys):
                columns = [self.plan.study.columns[key] for key in keys]
                cells[heading] = replace(
                    TableCell.pooled(parts), against=self._comparison(title, columns)
                )
        return cells

    def _cell(self, title: str, row: StudyRow, key: str, column: StudyColumn) -> TableCell | None:
        published = row.published.get(key)
        config = self.plan.configs.get((title, column.data))
        if config is None:
            if published is not None:
                return TableCell.published(published)
            if row.is_trained:
                return TableCell("n/a", reason=self._why_not(row, column.data))
            return None
        try:
            if column.score == PARAMETERS:
                return self._size(config, published)
            return self._measured(config, column, published)
        except InputError as error:
            reason = str(error).partition("\n")[0]
            return TableCell("missing", target=published, reason=reason)

    def _why_not(self, row: StudyRow, data: str) -> str:
        if row.data is not None and data not in row.data:
            return "the row is not asked for on this data set"
        return f"the row changes nothing for {task_of(self.plan.study, data)}"

    def _size(self, config: ExperimentConfig, published: float | None) -> TableCell:
        """Parameters in millions: counted on the meta device, nothing is loaded."""
        from shapca.build import build_on_meta
        from shapca.model.parameters import model_size

        labels = self.factory.data(config).labels
        millions = model_size(build_on_meta(config, labels)).parameters / 1e6
        return TableCell("done", mean=millions, target=published)

    def _measured(
        self, config: ExperimentConfig, column: StudyColumn, published: float | None
    ) -> TableCell:
        cells = {seed: self.factory.cell(config, seed) for seed in self.plan.study.seeds}
        results = {seed: self.result(cell, column) for seed, cell in cells.items()}
        scores: dict[int, float] = {}
        for seed, result in results.items():
            if result.metrics is None:
                continue
            if column.score not in result.metrics:
                raise InputError(
                    f"score {column.score!r} is not among those of cell {cells[seed].key}: "
                    f"{', '.join(sorted(result.metrics))}"
                )
            scores[seed] = result.metrics[column.score]
        order: tuple[CellState, ...] = ("stale", "running", "missing")
        states = {result.state for result in results.values()}
        state: CellState = next((state for state in order if state in states), "done")
        return TableCell.measured(
            state,
            scores,
            missing={s: result.reason for s, result in results.items() if s not in scores},
            target=published,
            cells={seed: cell.key for seed, cell in cells.items()},
            reason="made by other code than the present one" if state == "stale" else None,
        )

    def forget(self) -> None:
        """Read everything again: the store has changed."""
        self._results.clear()

    def result(self, cell: Cell, column: StudyColumn) -> SeedResult:
        """What the store has of a cell for a column."""
        place = (cell.key, column.evaluated_on)
        if place not in self._results:
            self._results[place] = self._read(cell, column)
        return self._results[place]

    def _read(self, cell: Cell, column: StudyColumn) -> SeedResult:
        key = cell.key
        summary = self.cells.summary(key)
        if summary is None:
            epochs = self.cells.num_epochs(key)
            if epochs and self._is_at_work(key):
                return SeedResult("running", f"at work, epoch {epochs}")
            reason = f"stopped after epoch {epochs}" if epochs else "never run"
            return SeedResult("missing", reason)
        if summary["status"] != "finished":
            reason = f"{summary['status']}: {summary.get('reason', '')}".rstrip(": ")
            return SeedResult("missing", reason)
        state: CellState = "done" if set(summary["codes"]) == {self.code} else "stale"
        if column.test_on is None:
            record = self.cells.evaluation(key, "test")
            if record is None:
                return SeedResult("missing", "not tested")
            return SeedResult(state, "", record["metrics"], record.get("per_example", {}))
        from shapca.evaluation import stored_evaluation

        stored = stored_evaluation(
            self.cells.run_store(key),
            self.target(column, cell.config),
            split="test",
            contexts=contexts_on_target(column, cell.config),
            label_map=column.label_map,
        )
        if stored is None:
            return SeedResult("missing", f"not evaluated on {column.test_on}")
        found = stored.evaluation
        return SeedResult(state, "", found.metrics, found.per_example)

    def target(self, column: StudyColumn, config: ExperimentConfig) -> PreparedData:
        """The data set that a column's models are tested on, where it is another one.

        Raises:
            InputError: it is not prepared.
        """
        return self.factory.data(tested_by(config, column))

    def _is_at_work(self, key: str) -> bool:
        """Whether a living driver works on a cell."""
        sweep = self.cells.claimed_by(key)
        return sweep is not None and holder_of(self.cells.store, sweep) is not None

    def _comparison(self, title: str, columns: Sequence[StudyColumn]) -> Comparison | None:
        """A row minus the reference, as the mean over columns; None where nothing compares."""
        reference = self.plan.study.reference
        if reference is None:
            return None
        counts = []
        for column in columns:
            name = counts_of(column.score)
            configs = [self.plan.configs.get((row, column.data)) for row in (title, reference)]
            if name is None or None in configs or configs[0] == configs[1]:
                return None
            counts.append([self._counts(config, column, name) for config in configs if config])
        seeds = [s for s in self.plan.study.seeds if all(s in c for pair in counts for c in pair)]
        if not seeds:
            return None
        pairs = [(_stacked(first, seeds), _stacked(second, seeds)) for first, second in counts]
        return Comparison.of(pooled_difference(pairs), seeds)

    def _counts(
        self, config: ExperimentConfig, column: StudyColumn, name: str
    ) -> dict[int, Counts]:
        """Counts of each example by seed, of the seeds that have them."""
        try:
            cells = {seed: self.factory.cell(config, seed) for seed in self.plan.study.seeds}
            results = {seed: self.result(cell, column) for seed, cell in cells.items()}
        except InputError:
            return {}  # its data set is not there; the cell itself says so
        return {s: np.asarray(r.counts[name]) for s, r in results.items() if name in r.counts}


def _stacked(counts: Mapping[int, Counts], seeds: Sequence[int]) -> Counts:
    return np.stack([counts[seed] for seed in seeds])


def counts_of(score: str) -> str | None:
    """Under which name the counts behind an F1 are kept; None for other scores.

    `f1` → `main`, `entity_f1` → `entity`.
    """
    if score == "f1":
        return "main"
    return score.removesuffix("_f1") if score.endswith("_f1") else None


def tested_by(config: ExperimentConfig, column: StudyColumn) -> ExperimentConfig:
    """The experiment with the data set whose test split a column shows."""
    if column.test_on is None:
        return config
    data = config.data.model_copy(update={"dataset": column.test_on})
    return config.model_copy(update={"data": data})


def contexts_on_target(column: StudyColumn, config: ExperimentConfig) -> str | None:
    """The context set to read on another data set; None where the model reads none."""
    return None if config.data.contexts is None else column.contexts


def study_table(plan: StudyPlan, store: ObjectStore, data_root: Path | None, code: str) -> Table:
    """The table of a study as things stand.

    Args:
        plan: What the study wants.
        store: The storage.
        data_root: Folder of the prepared data sets; None: as the study's file says.
        code: Fingerprint of the present training code.
    """
    root = resolve_data_root(data_root, plan.study.runtime)
    return StudyTables(plan, CellStore(store), CellFactory(root), code).table()
