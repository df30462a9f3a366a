"""The driver of a study: train what is missing, evaluate it, and write its tables and figures."""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

from orchestrator.cluster.evaluations import Task, evaluate_on_nodes
from orchestrator.config.sweep import SweepConfig
from orchestrator.reports.make import attachments, content_from
from orchestrator.store.address import absolute_uri, open_store, resolve_data_root
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cells import CellStore
from orchestrator.store.lease import Lease
from orchestrator.store.sweep_folder import STUDY, in_sweep
from orchestrator.studies.config import StudyConfig
from orchestrator.studies.evaluation import StudyEvaluations
from orchestrator.studies.files import write_files
from orchestrator.studies.plan import plan_study, read_winners
from orchestrator.studies.tables import StudyTables
from orchestrator.sweeps.control.reuse import StaleCellsError, stale_message
from orchestrator.sweeps.driver import SweepOptions, publisher_of, run_sweep
from orchestrator.sweeps.record.declaration import check_kind
from orchestrator.sweeps.record.outcome import SweepOutcome
from orchestrator.sweeps.trials.cell_run import TRAINING
from orchestrator.tables.formats import to_markdown
from orchestrator.tables.table import Table
from orchestrator.tracking.run_document import PARENT, read_run, write_run
from shapca.config import RuntimeConfig
from shapca.runs.code import code_fingerprint
from shapca.storage import to_json
from shapca.words import counted

Say = Callable[[str], None]
REPORT = "report/report.html"


@dataclass(frozen=True)
class StudyOutcome:
    """A study when its driver ends.

    Attributes:
        study: Its file.
        table: Its table as things stand.
        files: Names of its tables and figures in the storage, by file name.
        sweep: What its training came to; None where nothing was to be trained.
        reset: Cells that are trained again because their weights were needed and not kept.
        seconds: Wall time of it all, evaluation on other data and files included.
    """

    study: StudyConfig
    table: Table
    files: dict[str, str]
    sweep: SweepOutcome | None
    reset: tuple[str, ...] = ()
    seconds: float = 0.0

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
    say: Say = lambda line: None,
) -> StudyOutcome:
    """Run or resume a study: what the storage holds is never trained again.

    Args:
        study: Its file.
        options: Where and how, as of a sweep.
        rows: Run these rows only; the others are shown as they stand. Empty: all.
        data: Run these data sets only. Empty: all.
        train: False: make the table of what the storage holds.
        training: `module:function` that opens a cell's training.
        say: Told, a line at a time, how evaluation beyond the cells' own tests goes.

    Raises:
        InputError: bad input, before anything is trained.
    """
    began = time.monotonic()
    storage = absolute_uri(options.storage)
    store = open_store(storage)
    check_kind(store, study.name, is_study=True)
    cells = CellStore(store)
    data_root = resolve_data_root(options.data_root, study.runtime)
    factory = CellFactory(data_root)
    plan = plan_study(study, read_winners(study, store))
    if not train:
        plan.check_is_drawn(data_root)
    sweep = plan.selected(rows, data)
    tables = StudyTables(plan, cells, factory, code_fingerprint())
    outcome: SweepOutcome | None = None
    reset: tuple[str, ...] = ()
    if sweep is not None and train:
        store.put(in_sweep(study.name, STUDY), to_json(study.model_dump(mode="json")))
        if options.stale == "refuse":
            _refuse_stale(sweep, factory, cells)
        evaluations = StudyEvaluations(sweep, tables)
        evaluations.check()
        reset = evaluations.release_weightless()
        outcome = run_sweep(sweep, options, training=training)
        if outcome.status != "interrupted":
            runtime = study.runtime.model_copy(update={"data_root": data_root})
            _evaluate(study, evaluations, storage, runtime, options, say)
    tables.forget()
    table = tables.table()
    files = write_files(tables, table)
    _show_in_mlflow(tables, table, files, options, storage)
    return StudyOutcome(study, table, files, outcome, reset, time.monotonic() - began)


def _evaluate(
    study: StudyConfig,
    evaluations: StudyEvaluations,
    storage: str,
    runtime: RuntimeConfig,
    options: SweepOptions,
    say: Say,
) -> None:
    """Evaluate what has finished: on the nodes of a cluster, where there is one, or else here."""
    tasks = evaluations.tasks()
    if tasks:
        where = "on this machine" if options.ray.cluster is None else "on the cluster's nodes"
        say(f"{study.name}: {counted(len(tasks), 'evaluation')} of trained models to do, {where}")
    if tasks and options.ray.cluster is not None:
        numbers = itertools.count(1)

        def show(task: Task, failure: str | None) -> None:
            end = "" if failure is None else f" failed ({failure}), tried again on this machine"
            say(f"{study.name}: {next(numbers)}/{len(tasks)} cell {task.cell} on {task.data}{end}")

        evaluate_on_nodes(
            tasks,
            storage=storage,
            runtime=runtime,
            resources=study.resources,
            options=options.ray,
            on_done=show,
        )
    evaluations.run(runtime)


def _refuse_stale(sweep: SweepConfig, factory: CellFactory, cells: CellStore) -> None:
    """Cells of other code are found before anything is trained, not in the midst of it."""
    seeds = sweep.protocol.seeds
    keys = [factory.cell(config, s).key for config in sweep.experiments() for s in seeds]
    codes = {key: (cells.summary(key) or {}).get("codes") or cells.codes(key) for key in keys}
    found = [key for key in keys if not set(codes[key]) <= {code_fingerprint()}]
    if found:
        raise StaleCellsError(stale_message(sweep.name, found, cells))


def _show_in_mlflow(
    tables: StudyTables, table: Table, files: Mapping[str, str], options: SweepOptions, storage: str
) -> None:
    """The study's own run gets its table, its files and a report, and is published."""
    store, study = tables.cells.store, tables.plan.study
    parent = read_run(store, study.name, PARENT)
    if parent is None:
        return
    shown = {f"tables/{file}": place for file, place in files.items()}
    changed = replace(
        parent,
        note=f"{to_markdown(table)}\nTo make it again: `orchestrator study {study.name}.yaml "
        f"--storage {shlex.quote(storage)}` (finished cells are found, not trained).\n",
        artifacts={**parent.artifacts, **shown},
        tags={**parent.tags, "study": study.name},
    )
    if changed != parent or REPORT not in changed.artifacts:
        planned = tables.plan.planned()
        content = partial(content_from, store, study.name, storage, tables.code, planned)
        artifacts, tags = attachments(store, study.name, content, [table])
        changed = replace(
            changed, artifacts={**changed.artifacts, **artifacts}, tags={**changed.tags, **tags}
        )
        with Lease(store, study.name):
            write_run(store, study.name, changed)
    publisher = publisher_of(store, study.name, storage, options.tracking_uri)
    if publisher is not None:
        publisher.publish_now()
