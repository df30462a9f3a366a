"""What a study evaluates beside its cells' own tests: other data sets, and posts to show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.cluster.evaluations import Task
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cells import Cell
from orchestrator.store.lease import Lease
from orchestrator.store.predictions import predictions_of, stored_predictions
from orchestrator.studies.config import CaseFigure, StudyColumn
from orchestrator.studies.generalization import evaluate_seeds, write_documents
from orchestrator.studies.tables import StudyTables, contexts_on_target
from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.evaluation.label_map import complete_label_map


@dataclass
class StudyEvaluations:
    """Evaluations of a study that need a cell's weights once it has been trained.

    Attributes:
        sweep: The part of the study that is run.
        tables: The whole study, and what is known of it already.
    """

    sweep: SweepConfig
    tables: StudyTables

    def check(self) -> None:
        """Refuse before anything is trained what would be refused afterwards.

        Raises:
            InputError: a data set, or a part of it, that is not there; a label without its
                counterpart.
        """
        for _, column, config in self._moved():
            target = self.tables.target(column, config)
            home = self.tables.factory.data(config)
            complete_label_map(home.labels, target.labels, column.label_map)
            target.part_hashes(_read_there(column, config))

    def release_weightless(self) -> tuple[str, ...]:
        """Give up finished cells that have to be evaluated yet and whose weights were not kept.

        Returns:
            Their keys; they are trained again.
        """
        cells = self.tables.cells
        finished = dict.fromkeys(task.cell for task in self.tasks())
        reset = tuple(key for key in finished if not cells.has_weights(key))
        if reset:
            with Lease(cells.store, self.sweep.name):
                for key in reset:
                    cells.reset(key)
            self.tables.forget()
        return reset

    def tasks(self) -> list[Task]:
        """What is still to be evaluated of the cells that have finished."""
        self.tables.forget()
        return [t for t in self._outstanding() if self.tables.cells.status(t.cell) == "finished"]

    def run(self, runtime: RuntimeConfig) -> None:
        """Evaluate what has finished; what was evaluated before is read."""
        cells, factory = self.tables.cells, self.tables.factory
        for title, column, config in self._moved():
            keys = {seed: factory.cell(config, seed).key for seed in self.sweep.protocol.seeds}
            finished = {s: key for s, key in keys.items() if cells.status(key) == "finished"}
            if not finished:
                continue
            found = evaluate_seeds(
                cells,
                finished,
                self.tables.target(column, config),
                name=title,
                configuration=factory.cell(config, 0).configuration,
                missing={seed: "not finished" for seed in keys if seed not in finished},
                contexts=contexts_on_target(column, config),
                label_map=column.label_map,
                runtime=runtime,
            )
            tags = {"study": self.sweep.name, "row": title}
            with Lease(cells.store, self.sweep.name):
                write_documents(cells.store, self.sweep.name, found, tags)
        for cell in self._shown():
            if cells.status(cell.key) == "finished":
                predictions_of(cells, cell.key, factory.data(cell.config), runtime)

    def _outstanding(self) -> Iterator[Task]:
        """Evaluations that are not there yet, whether their cell has finished or not."""
        for _, column, config in self._moved():
            assert column.test_on is not None
            for seed in self.sweep.protocol.seeds:
                cell = self.tables.factory.cell(config, seed)
                if self.tables.result(cell, column).metrics is None:
                    yield Task(
                        cell.key,
                        column.test_on,
                        _read_there(column, config),
                        contexts=contexts_on_target(column, config),
                        label_map=column.label_map,
                    )
        for cell in self._shown():
            data = self.tables.factory.data(cell.config)
            if stored_predictions(self.tables.cells, cell.key, data) is None:
                yield Task(cell.key, cell.config.data.dataset, cell.config, "predictions")

    def _moved(self) -> Iterator[tuple[str, StudyColumn, ExperimentConfig]]:
        """Rows and columns that test on another data set, as far as they are run."""
        seen = set()
        plan = self.tables.plan
        for column in plan.study.columns.values():
            if column.test_on is None:
                continue
            for title in plan.study.all_rows():
                if plan.names.get((title, column.data)) not in self.sweep.configurations:
                    continue
                # Precision, recall and F1 of one evaluation are columns of their own.
                place = (title, column.data, column.evaluated_on)
                if place not in seen:
                    seen.add(place)
                    yield title, column, plan.configs[title, column.data]

    def _shown(self) -> Iterator[Cell]:
        """Cells whose predictions a picture shows: those of the first seed."""
        plan = self.tables.plan
        figure = plan.study.figure
        if isinstance(figure, CaseFigure):
            for title in figure.rows:
                if plan.names.get((title, figure.data)) in self.sweep.configurations:
                    config = plan.configs[title, figure.data]
                    yield self.tables.factory.cell(config, self.sweep.protocol.seeds[0])


def _read_there(column: StudyColumn, config: ExperimentConfig) -> ExperimentConfig:
    """What a model reads of the data set that a column tests it on."""
    contexts = contexts_on_target(column, config) or config.data.contexts
    data = config.data.model_copy(update={"contexts": contexts})
    return config.model_copy(update={"data": data})
