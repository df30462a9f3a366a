"""From a storage to the files of a report, and into the sweep's own run in MLflow.

Layout: sweeps/<sweep>/report/report.html, trials.csv, …, figures/<chart>.png , .svg, .pdf
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.reports.charts.figures import charts_of
from orchestrator.reports.content import Content, content_of
from orchestrator.reports.exports import configuration_table, trials_csv
from orchestrator.reports.origin import sweep_yaml, winner_yaml
from orchestrator.reports.page import page_of
from orchestrator.reports.scores import score_table
from orchestrator.store.address import is_remote
from orchestrator.store.cells import CellStore
from orchestrator.store.sweep_folder import REPORT, in_sweep
from orchestrator.sweeps.record.history import History
from orchestrator.sweeps.record.outcome import SweepOutcome
from orchestrator.sweeps.record.status import sweep_status
from orchestrator.sweeps.views.markdown import note
from orchestrator.tables.formats import table_files
from orchestrator.tables.table import Table
from orchestrator.tracking.run_document import PARENT, read_run, write_run
from shapca.storage import ObjectStore
from shapca.storage.files import below, written_whole

logger = logging.getLogger(__name__)
PAGE = "report.html"

FOLDER = "report"

MADE_AT = "report_made_at"


def content_from(
    store: ObjectStore,
    name: str,
    storage: str,
    code: str,
    planned: Mapping[str, int] | None = None,
    data_root: Path | None = None,
) -> Content:
    """What there is to report of a sweep.

    Args:
        store: The storage.
        name: The sweep.
        storage: The storage's address, to be shown.
        code: Fingerprint of the present training code.
        planned: Trials per phase of the whole study that it belongs to, if it is one.
        data_root: Folder of the prepared data sets; None: as the sweep's file says.

    Raises:
        InputError: no such sweep in this storage.
    """
    status = sweep_status(store, name, storage, planned)
    return content_of(
        status.history,
        CellStore(store),
        status.outcome,
        state=status.state,
        holder=status.holder,
        code=code,
        made_at=time.time(),
        data_root=data_root,
    )


def report_files(
    content: Content, *, figures: bool = True, tables: Sequence[Table] = ()
) -> dict[str, bytes]:
    """The files of a report by name.

    Args:
        content: What it shows.
        figures: Also the figures as PNG, SVG and PDF, which take seconds.
        tables: A study's, with published figures beside what was measured.
    """
    charts = charts_of(content)
    made = {PAGE: page_of(content, charts, tables), "trials.csv": trials_csv(content)}
    for table in tables:
        made |= table_files(table)
    if not content.is_listed:
        for own in (configuration_table(content), score_table(content)):
            made |= {} if own is None else table_files(own)
        made["report.md"] = note(content.outcome, content.sweep).encode()
    if (winner := winner_yaml(content)) is not None:
        made["winner.yaml"] = winner.encode()
    made["sweep.yaml"] = sweep_yaml(content).encode()
    if figures:
        from orchestrator.reports.charts.drawing import figure_files

        made |= figure_files(charts)
    return made


def keep_files(store: ObjectStore, name: str, made: Mapping[str, bytes]) -> dict[str, str]:
    """Keep a report's files in the storage.

    Returns:
        Path in MLflow to the name of the object, as a run document wants it.
    """
    kept = {}
    for path, content in made.items():
        kept[f"{FOLDER}/{path}"] = in_sweep(name, REPORT + path)
        store.put(kept[f"{FOLDER}/{path}"], content)
    return kept


def page_place(storage: str, name: str) -> str:
    """Where a sweep's page lies: a file, or an object in a bucket."""
    return f"{storage.rstrip('/')}/{in_sweep(name, REPORT + PAGE)}"


def page_link(page: str) -> str:
    """A page's place as a browser takes it; a bucket's address as it is."""
    return page if is_remote(page) else Path(page).as_uri()


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
    """A time for people; it also shows the publisher that the files are new."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def copy_files(made: Mapping[str, bytes], folder: Path) -> None:
    """Write a report's files into a folder.

    Raises:
        InputError: a link stands in the place of one of them.
    """
    for path, content in made.items():
        place = below(folder, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(place) as handle:
            handle.write(content)


def attachments(
    store: ObjectStore, name: str, make: Callable[[], Content], tables: Sequence[Table] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """Artifacts and tags of a report without figures. That it fails must not hurt the sweep.

    Args:
        store: The storage, which keeps the files.
        name: The sweep.
        make: Gives what there is to report.
        tables: A study's.
    """
    try:
        content = make()
        made = report_files(content, figures=False, tables=tables)
        return keep_files(store, name, made), {MADE_AT: clock(content.made_at)}
    except Exception as error:
        logger.warning("the report was not made: %s: %s", type(error).__name__, error)
        return {}, {"report_error": f"{type(error).__name__}: {error}"}


def report_at_the_end(
    history: History,
    cells: CellStore,
    outcome: SweepOutcome,
    code: str,
    data_root: Path | None = None,
) -> tuple[dict[str, str], dict[str, str]]:
    """`attachments` of a sweep whose driver ends."""
    return attachments(
        cells.store,
        history.sweep.name,
        lambda: content_of(
            history,
            cells,
            outcome,
            state="complete" if outcome.status == "finished" else "stopped",
            holder=None,
            code=code,
            made_at=time.time(),
            data_root=data_root,
        ),
    )
