"""The driver of a study: train what is missing, evaluate it, and write its tables and figures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from orchestrator.cell_run import TRAINING
from orchestrator.cells import CellStore
from orchestrator.documents import PARENT
from orchestrator.generalization import Generalization, write_documents
from orchestrator.identity import CellFactory
from orchestrator.lease import Lease
from orchestrator.outcome import SweepOutcome
from orchestrator.records import read_run, write_run
from orchestrator.reuse import StaleCellsError, StalePolicy, stale_message
from orchestrator.space import SweepConfig
from orchestrator.stores import absolute_uri, open_store
from orchestrator.study_config import StudyColumn, StudyConfig
from orchestrator.study_files import write_files
from orchestrator.study_plan import StudyPlan, plan_study, read_winners
from orchestrator.study_tables import StudyTables, contexts_on_target
from orchestrator.sweep import LAST_PUBLISHING_SECONDS, SweepOptions, publisher_of, run_sweep
from orchestrator.table_formats import to_markdown
from orchestrator.tables import Table
from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.label_map import complete_label_map
from shapca.provenance import code_fingerprint
from shapca.storage import to_json


@dataclass(frozen=True)
class StudyOutcome:
    """A study when its driver ends.

    Attributes:
        study: its file.
        table: its table as things stand.
        files: names of its tables and figures in the storage, by file name.
        sweep: what its training came to; none where nothing was to be trained.
        reset: cells that are trained again because their weights were needed and not kept.
    """

    study: StudyConfig
    table: Table
    files: dict[str, str]
    sweep: SweepOutcome | None
    reset: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """Rows of the table that a failed seed leaves incomplete."""
        if self.sweep is None:
            return ()
        return tuple(row.name for row in self.sweep.rows if row.missing)

    @property
    def is_interrupted(self) -> bool:
        """Whether the user stopped it."""
        return self.sweep is not None and self.sweep.status == "interrupted"


def run_study(
    study: StudyConfig,
    options: SweepOptions,
    *,
    rows: Collection[str] = (),
    data: Collection[str] = (),
    train: bool = True,
    training: str = TRAINING,
) -> StudyOutcome:
    """Run a study, or go on with it: what the storage holds is never trained again.

    Args:
        study: its file.
        options: where and how, as of a sweep.
        rows: run these rows only; the others are shown as they stand. Empty: all.
        data: run these data sets only. Empty: all.
        train: false: make the table of what the storage holds.
        training: `module:function` that opens a cell's training.

    Raises:
        InputError: bad input, before anything is trained.
    """
    storage = absolute_uri(options.storage)
    store = open_store(storage)
    cells = CellStore(store)
    data_root = (options.data_root or study.runtime.data_root).expanduser().absolute()
    factory = CellFactory(data_root)
    plan = plan_study(study, read_winners(study, store))
    sweep = plan.selected(rows, data)
    tables = StudyTables(plan, cells, factory, code_fingerprint())
    outcome: SweepOutcome | None = None
    reset: tuple[str, ...] = ()
    if sweep is not None and train:
        store.put(f"sweeps/{study.name}/study.json", to_json(study.model_dump(mode="json")))
        _check(sweep, plan, tables, factory, cells, options.stale)
        reset = _release_weightless(sweep, plan, tables, factory, cells)
        outcome = run_sweep(sweep, options, training=training)
        if outcome.status != "interrupted":
            runtime = study.runtime.model_copy(update={"data_root": data_root})
            _evaluate(sweep, plan, tables, factory, cells, runtime)
    return _conclude(plan, cells, factory, options, storage, outcome, reset)


def _check(
    sweep: SweepConfig,
    plan: StudyPlan,
    tables: StudyTables,
    factory: CellFactory,
    cells: CellStore,
    stale: StalePolicy,
) -> None:
    """Refuse before anything is trained what would be refused afterwards."""
    found = []
    for values in sweep.corners():
        config = sweep.resolve(values)
        for seed in sweep.protocol.seeds:
            key = factory.cell(config, seed).key
            codes = (cells.summary(key) or {}).get("codes") or cells.codes(key)
            if not set(codes) <= {code_fingerprint()}:
                found.append(key)
    if found and stale == "refuse":
        raise StaleCellsError(stale_message(sweep.name, found))
    for column, config, _ in _moved(sweep, plan):
        target = tables.target(column, config)
        complete_label_map(factory.data(config).labels, target.labels, column.label_map)
        moved = {"contexts": contexts_on_target(column, config) or config.data.contexts}
        target.part_hashes(config.model_copy(update={"data": config.data.model_copy(update=moved)}))


def _moved(
    sweep: SweepConfig, plan: StudyPlan
) -> list[tuple[StudyColumn, ExperimentConfig, tuple[str, str]]]:
    """Columns that test on another data set, with each experiment that the sweep has for them."""
    return [
        (column, plan.configs[title, column.data], (title, key))
        for key, column in plan.study.columns.items()
        if column.test_on is not None
        for title in plan.study.all_rows()
        if plan.names.get((title, column.data)) in sweep.configurations
    ]


def _release_weightless(
    sweep: SweepConfig,
    plan: StudyPlan,
    tables: StudyTables,
    factory: CellFactory,
    cells: CellStore,
) -> tuple[str, ...]:
    """Give up finished cells that must be evaluated again and whose weights were not kept."""
    reset: list[str] = []
    for column, config, _ in _moved(sweep, plan):
        for seed in sweep.protocol.seeds:
            cell = factory.cell(config, seed)
            if cells.status(cell.key) != "finished" or cells.has_weights(cell.key):
                continue
            if tables.result(cell, column).metrics is None and cell.key not in reset:
                reset.append(cell.key)
    if reset:
        with Lease(cells.store, sweep.name):
            for key in reset:
                cells.reset(key)
        tables.forget()
    return tuple(reset)


def _evaluate(
    sweep: SweepConfig,
    plan: StudyPlan,
    tables: StudyTables,
    factory: CellFactory,
    cells: CellStore,
    runtime: RuntimeConfig,
) -> None:
    """Score finished cells on the other data sets that columns ask for."""
    from shapca.evaluation import evaluate_run

    for column, config, (title, _) in _moved(sweep, plan):
        keys = {seed: factory.cell(config, seed).key for seed in sweep.protocol.seeds}
        finished = {s: key for s, key in keys.items() if cells.status(key) == "finished"}
        if not finished:
            continue
        target = tables.target(column, config)
        records = {
            seed: evaluate_run(
                cells.run_store(key),
                target,
                split="test",
                contexts=contexts_on_target(column, config),
                label_map=column.label_map,
                runtime=runtime,
            )
            for seed, key in finished.items()
        }
        found = Generalization(
            name=title,
            configuration=factory.cell(config, 0).configuration,
            source=config.data.dataset,
            target=target.name,
            cells=finished,
            records=records,
            missing={s: "not finished" for s in keys if s not in finished},
        )
        with Lease(cells.store, sweep.name):
            write_documents(cells.store, sweep.name, found, {"study": sweep.name, "row": title})


def _conclude(
    plan: StudyPlan,
    cells: CellStore,
    factory: CellFactory,
    options: SweepOptions,
    storage: str,
    outcome: SweepOutcome | None,
    reset: tuple[str, ...],
) -> StudyOutcome:
    """Tables and figures of what there is now, in the storage and in MLflow."""
    name = plan.study.name
    tables = StudyTables(plan, cells, factory, code_fingerprint())
    table = tables.table()
    files = write_files(cells.store, plan, table, tables)
    parent = read_run(cells.store, name, PARENT)
    if parent is not None:
        note = to_markdown(table) + _how_to(plan.study, storage)
        artifacts = {f"tables/{file}": place for file, place in files.items()}
        changed = replace(
            parent,
            note=note,
            artifacts=artifacts,
            tags={**parent.tags, "study": name},
        )
        if changed != parent:
            with Lease(cells.store, name):
                write_run(cells.store, name, changed)
        publisher = publisher_of(cells.store, name, storage, options.tracking_uri)
        if publisher is not None and publisher.pending():
            publisher.start()
            publisher.stop(LAST_PUBLISHING_SECONDS)
    return StudyOutcome(plan.study, table, files, outcome, reset)


def _how_to(study: StudyConfig, storage: str) -> str:
    return (
        f"\nTo make it again: `orchestrator study {study.name}.yaml --storage {storage}` "
        "(finished cells are found, not trained).\n"
    )
