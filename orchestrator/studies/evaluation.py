"""What a study evaluates beside its cells' own tests: other data sets, and posts to show."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.cluster.evaluations import Task
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cells import Cell, CellStore
from orchestrator.store.lease import Lease
from orchestrator.store.predictions import predictions_of, stored_predictions
from orchestrator.studies.config import CaseFigure, StudyColumn
from orchestrator.studies.generalization import evaluate_seeds, write_documents
from orchestrator.studies.plan import StudyPlan
from orchestrator.studies.tables import StudyTables, contexts_on_target
from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.evaluation.label_map import complete_label_map


class StudyEvaluations:
    """Evaluations of a study that need a cell's weights once it has been trained.

    Args:
        sweep: The part of the study that is run.
        plan: The whole study.
        tables: Reads what is known already.
        factory: Makes cells of experiments.
        cells: The store.
    """

    def __init__(
        self,
        sweep: SweepConfig,
        plan: StudyPlan,
        tables: StudyTables,
        factory: CellFactory,
        cells: CellStore,
    ) -> None:
        self._sweep = sweep
        self._plan = plan
        self._tables = tables
        self._factory = factory
        self._cells = cells

    def check(self) -> None:
        """Refuse before anything is trained what would be refused afterwards.

        Raises:
            InputError: a data set, or a part of it, that is not there; a label without its
                counterpart.
        """
        for _, column, config in self._moved():
            target = self._tables.target(column, config)
            complete_label_map(self._factory.data(config).labels, target.labels, column.label_map)
            target.part_hashes(_read_there(column, config))

    def release_weightless(self) -> tuple[str, ...]:
        """Give up finished cells that have to be evaluated yet and whose weights were not kept.

        Returns:
            Their keys; they are trained again.
        """
        reset: list[str] = []
        for task in self._outstanding():
            is_finished = self._cells.status(task.cell) == "finished"
            if is_finished and not self._cells.has_weights(task.cell) and task.cell not in reset:
                reset.append(task.cell)
        if reset:
            with Lease(self._cells.store, self._sweep.name):
                for key in reset:
                    self._cells.reset(key)
            self._tables.forget()
        return tuple(reset)

    def tasks(self) -> list[Task]:
        """What is still to be evaluated of the cells that have finished."""
        self._tables.forget()
        return [t for t in self._outstanding() if self._cells.status(t.cell) == "finished"]

    def run(self, runtime: RuntimeConfig) -> None:
        """Evaluate what has finished; what was evaluated before is read."""
        for title, column, config in self._moved():
            keys = {s: self._factory.cell(config, s).key for s in self._sweep.protocol.seeds}
            finished = {s: key for s, key in keys.items() if self._cells.status(key) == "finished"}
            if not finished:
                continue
            found = evaluate_seeds(
                self._cells,
                finished,
                self._tables.target(column, config),
                name=title,
                configuration=self._factory.cell(config, 0).configuration,
                missing={seed: "not finished" for seed in keys if seed not in finished},
                contexts=contexts_on_target(column, config),
                label_map=column.label_map,
                runtime=runtime,
            )
            tags = {"study": self._sweep.name, "row": title}
            with Lease(self._cells.store, self._sweep.name):
                write_documents(self._cells.store, self._sweep.name, found, tags)
        for cell in self._shown():
            if self._cells.status(cell.key) == "finished":
                data = self._factory.data(cell.config)
                predictions_of(self._cells, cell.key, data, runtime)

    def _outstanding(self) -> Iterator[Task]:
        """Evaluations that are not there yet, whether their cell has finished or not."""
        for _, column, config in self._moved():
            assert column.test_on is not None
            for seed in self._sweep.protocol.seeds:
                cell = self._factory.cell(config, seed)
                if self._tables.result(cell, column).metrics is None:
                    yield Task(
                        cell.key,
                        column.test_on,
                        _read_there(column, config),
                        contexts=contexts_on_target(column, config),
                        label_map=column.label_map,
                    )
        for cell in self._shown():
            if stored_predictions(self._cells, cell.key, self._factory.data(cell.config)) is None:
                yield Task(cell.key, cell.config.data.dataset, cell.config, "predictions")

    def _moved(self) -> Iterator[tuple[str, StudyColumn, ExperimentConfig]]:
        """Rows and columns that test on another data set, as far as they are run."""
        seen = set()
        for column in self._plan.study.columns.values():
            if column.test_on is None:
                continue
            for title in self._plan.study.all_rows():
                if self._plan.names.get((title, column.data)) not in self._sweep.configurations:
                    continue
                # Precision, recall and F1 of one evaluation are columns of their own.
                place = (title, column.data, column.test_on, column.contexts,
                         tuple(column.label_map.items()))  # fmt: skip
                if place not in seen:
                    seen.add(place)
                    yield title, column, self._plan.configs[title, column.data]

    def _shown(self) -> Iterator[Cell]:
        """Cells whose predictions a picture shows: those of the first seed."""
        figure = self._plan.study.figure
        if isinstance(figure, CaseFigure):
            for title in figure.rows:
                if self._plan.names.get((title, figure.data)) in self._sweep.configurations:
                    config = self._plan.configs[title, figure.data]
                    yield self._factory.cell(config, self._sweep.protocol.seeds[0])


def _read_there(column: StudyColumn, config: ExperimentConfig) -> ExperimentConfig:
    """What a model reads of the data set that a column tests it on."""
    contexts = contexts_on_target(column, config) or config.data.contexts
    data = config.data.model_copy(update={"contexts": contexts})
    return config.model_copy(update={"data": data})
