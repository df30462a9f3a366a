"""From a storage to the files of a report, and into the sweep's own run in MLflow.

Layout: sweeps/<sweep>/report/report.html, trials.csv, …, figures/<chart>.png and .svg
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.cells import CellStore
from orchestrator.documents import PARENT
from orchestrator.history import History, recorded
from orchestrator.note import note
from orchestrator.outcome import SweepOutcome
from orchestrator.records import read_run, write_run
from orchestrator.report.configuration_table import configuration_table
from orchestrator.report.content import Content, content_of
from orchestrator.report.figures import charts_of
from orchestrator.report.page import page_of
from orchestrator.report.records import trials_csv
from orchestrator.report.reproduce import sweep_yaml, winner_yaml
from orchestrator.status import status_of
from orchestrator.table_formats import to_csv, to_latex, to_markdown
from orchestrator.tables import Table
from shapca.storage import ObjectStore, read_json

PAGE = "report.html"
FOLDER = "report"
MADE_AT = "report_made_at"


def content_from(store: ObjectStore, name: str, storage: str, code: str) -> Content:
    """What there is to report of a sweep.

    Args:
        store: the storage.
        name: the sweep.
        storage: the storage's address, to be shown.
        code: fingerprint of the present training code.

    Raises:
        InputError: no such sweep in this storage.
    """
    history = recorded(store, name)
    status = status_of(history, store, storage)
    return content_of(
        history,
        CellStore(store),
        status.outcome,
        state=status.state,
        holder=status.holder,
        code=code,
        made_at=time.time(),
    )


def study_tables(store: ObjectStore, name: str, data_root: Path | None, code: str) -> list[Table]:
    """The tables of a study as things stand; none of a sweep.

    Args:
        store: the storage.
        name: the study or sweep.
        data_root: folder of the prepared data sets; none: as the study's file says.
        code: fingerprint of the present training code.
    """
    record = read_json(store, f"sweeps/{name}/study.json")
    if record is None:
        return []
    from orchestrator.identity import CellFactory
    from orchestrator.study_config import StudyConfig
    from orchestrator.study_plan import plan_study, read_winners
    from orchestrator.study_tables import StudyTables

    study = StudyConfig.model_validate(record)
    root = (data_root or study.runtime.data_root).expanduser().absolute()
    plan = plan_study(study, read_winners(study, store))
    return [StudyTables(plan, CellStore(store), CellFactory(root), code).table()]


def report_files(
    content: Content, *, figures: bool = True, tables: Sequence[Table] = ()
) -> dict[str, bytes]:
    """The files of a report by name.

    Args:
        content: what it shows.
        figures: also the figures as PNG and SVG, which take seconds.
        tables: a study's, with published figures beside what was measured.
    """
    charts = charts_of(content)
    made = {PAGE: page_of(content, charts, tables), "trials.csv": trials_csv(content)}
    shown = list(tables)
    if not content.is_listed and (table := configuration_table(content)) is not None:
        shown.append(table)
    for table in shown:
        made[f"{table.name}.md"] = to_markdown(table).encode()
        made[f"{table.name}.csv"] = to_csv(table).encode()
        made[f"{table.name}.tex"] = to_latex(table).encode()
    if not content.is_listed:
        made["report.md"] = note(content.outcome, content.sweep).encode()
    if (winner := winner_yaml(content)) is not None:
        made["winner.yaml"] = winner.encode()
    made["sweep.yaml"] = sweep_yaml(content).encode()
    if figures:
        from orchestrator.report.drawing import figure_files

        made |= figure_files(charts)
    return made


def keep_files(store: ObjectStore, name: str, made: Mapping[str, bytes]) -> dict[str, str]:
    """Keep a report's files in the storage.

    Returns:
        Path in MLflow to the name of the object, as a run document wants it.
    """
    kept = {}
    for path, content in made.items():
        kept[f"{FOLDER}/{path}"] = f"sweeps/{name}/report/{path}"
        store.put(kept[f"{FOLDER}/{path}"], content)
    return kept


def attach(store: ObjectStore, name: str, artifacts: Mapping[str, str], made_at: float) -> bool:
    """Enter a report into the sweep's own run document; whether there is one.

    Whoever calls holds the sweep's lease.
    """
    document = read_run(store, name, PARENT)
    if document is None:
        return False
    document = replace(
        document,
        artifacts={**document.artifacts, **artifacts},
        tags={**document.tags, MADE_AT: clock(made_at)},
    )
    write_run(store, name, document)
    return True


def clock(at: float) -> str:
    """A time for people; it also tells the publisher that the files are new."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def copy_files(made: Mapping[str, bytes], folder: Path) -> None:
    """Write a report's files into a folder."""
    for path, content in made.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def report_at_the_end(
    history: History,
    cells: CellStore,
    outcome: SweepOutcome,
    code: str,
) -> dict[str, str]:
    """The report of a sweep whose driver ends, without figures, kept in the storage."""
    content = content_of(
        history,
        cells,
        outcome,
        state="complete" if outcome.status == "finished" else "stopped",
        holder=None,
        code=code,
        made_at=time.time(),
    )
    made = report_files(content, figures=False)
    return keep_files(cells.store, history.sweep.name, made)
