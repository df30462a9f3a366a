"""`orchestrator report`: a sweep as one page, with its tables and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.arguments import (
    DataRoot,
    SpaceOrName,
    Storage,
    TrackingUriOrNone,
    existing_storage,
    sweep_name,
)
from shapca.commands.options import AsJson, examples
from shapca.errors import InputError, StorageError
from shapca.storage import ObjectStore
from shapca.words import counted

EPILOG = examples(
    "orchestrator report demo",
    "orchestrator report search_spaces/demo.yaml --out report --no-figures",
)


def report(
    sweep: SpaceOrName,
    storage: Storage = "storage",
    out: Annotated[Path | None, typer.Option(help="Also write the files into this folder.")] = None,
    tracking_uri: TrackingUriOrNone = None,
    data_root: DataRoot = None,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Also draw PNG, SVG and PDF files.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Make the report of a sweep or study, finished or not; log it to its run in MLflow."""
    from orchestrator.reports.make import (
        PAGE,
        content_from,
        copy_files,
        keep_files,
        page_link,
        page_place,
        report_files,
    )
    from orchestrator.studies.plan import stored_plan
    from orchestrator.studies.tables import study_table
    from orchestrator.sweeps.record.reading import reading
    from shapca.runs.code import code_fingerprint

    name = sweep_name(sweep)
    address, store = existing_storage(storage)
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: expected a folder, this is a file")
    code = code_fingerprint()
    plan = stored_plan(store, name)
    planned = {} if plan is None else plan.planned()
    with reading():
        content = content_from(store, name, address, code, planned, data_root)
        tables = [] if plan is None else [study_table(plan, store, data_root, code)]
        made = report_files(content, figures=figures, tables=tables)
    if out is not None:
        copy_files(made, out)
        page = str(out.absolute() / PAGE)
    else:
        page = page_place(address, name)
    try:
        artifacts = keep_files(store, name, made)
        said = _log(store, name, address, artifacts, content.made_at, content.holder, tracking_uri)
    except StorageError as error:  # somebody else's, which one may read
        if out is None:
            raise
        said = f"MLflow: not updated; the storage cannot be written ({error})"
    if as_json:
        record = {"sweep": name, "page": page, "files": sorted(made), "tracking": said}
        typer.echo(json.dumps(record, ensure_ascii=False, sort_keys=True))
        return
    typer.echo(f"{name}: {counted(len(made), 'file')}; open {page_link(page)}")
    typer.echo(said)


def _log(
    store: ObjectStore,
    name: str,
    address: str,
    artifacts: dict[str, str],
    made_at: float,
    holder: str | None,
    tracking_uri: str | None,
) -> str:
    """Log the report to the sweep's run; in words, what came of it."""
    from orchestrator.reports.make import attach
    from orchestrator.store.address import is_remote
    from orchestrator.store.lease import Lease
    from orchestrator.sweeps.views.summary import storage_option
    from orchestrator.tracking.client.addresses import (
        NO_TRACKING,
        database_file,
        redact,
        resolve_tracking,
    )
    from orchestrator.tracking.client.client import TrackingUnavailableError
    from orchestrator.tracking.publisher import Publisher

    if tracking_uri == NO_TRACKING:
        return "MLflow: off"
    if holder is not None:
        return f"MLflow: {holder} works on the sweep and logs its report when it ends"
    if tracking_uri is None and is_remote(address):
        return "MLflow: not updated; give --tracking-uri"
    uri = resolve_tracking(tracking_uri, address)
    if (file := database_file(uri)) is not None and not file.is_file():
        return f"MLflow: not updated; there is no database at {redact(uri)}"
    with Lease(store, name):
        if not attach(store, name, artifacts, made_at):
            return "MLflow: the sweep has no run yet"
        try:
            refused = Publisher(store, name, name, uri).reconcile().refused
        except TrackingUnavailableError as error:
            return (
                f"MLflow at {redact(uri)} does not answer ({error}); "
                f"`orchestrator sync {name}{storage_option(address)}` catches up"
            )
    if refused:
        key, reason = next(iter(refused.items()))
        return f"MLflow refused {key}: {reason}"
    return f"MLflow: logged to the run of {name} under report/ ({redact(uri)})"
