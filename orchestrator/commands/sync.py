"""`orchestrator sync`: make MLflow whole after an outage."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from orchestrator.commands.arguments import (
    DataRoot,
    SpaceOrName,
    Storage,
    TrackingUri,
    existing_storage,
    mlflow_answers,
    sweep_name,
)
from shapca.commands.options import AsJson
from shapca.words import counted


def sync(
    sweep: SpaceOrName,
    storage: Storage = "storage",
    tracking_uri: TrackingUri = None,
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Bring MLflow into line with the storage. Running it again changes nothing."""
    from orchestrator.store.address import resolve_data_root
    from orchestrator.store.lease import Lease, abandoned_at
    from orchestrator.sweeps.control.older_documents import complete_documents
    from orchestrator.sweeps.record.declaration import recall
    from orchestrator.tracking.client.addresses import redact, resolve_tracking
    from orchestrator.tracking.publisher import Publisher
    from orchestrator.tracking.run_document import close_open

    name = sweep_name(sweep)
    address, store = existing_storage(storage)
    file = recall(store, name)
    uri = resolve_tracking(tracking_uri, address)
    publisher = Publisher(store, name, name, uri)
    gone_at = abandoned_at(store, name)
    with Lease(store, name):  # a driver at work publishes by itself
        if gone_at is not None:
            close_open(store, name, "killed", gone_at, "its driver is gone")
        missing = complete_documents(store, file, resolve_data_root(data_root, file.runtime))
        with mlflow_answers(uri):
            report = publisher.reconcile()
    if as_json:
        typer.echo(json.dumps(asdict(report), sort_keys=True))
    else:
        parts = [
            f"{report.num_published} of {counted(report.num_runs, 'run')} brought up to date"
            if report.num_published or report.refused
            else f"up to date with {counted(report.num_runs, 'run')}"
        ]
        for number, noun, what in (
            (report.num_epochs, "epoch", "sent"),
            (report.num_duplicates, "duplicate", "removed"),
            (report.num_ended, "lost run", "ended"),
            (report.num_cut, "value", "cut to MLflow's limits"),
        ):
            parts += [f"{counted(number, noun)} {what}"] if number else []
        if missing:
            typer.echo(
                f"runs of an earlier version: {', '.join(missing)}: not as they were read under "
                "the data root (--data-root), so these runs show no data set",
                err=True,
            )
        typer.echo(f"{name}: {', '.join(parts)} (MLflow at {redact(uri)})")
        for key, reason in report.refused.items():
            typer.echo(f"refused: {key}: {reason}", err=True)
    if report.refused:
        raise typer.Exit(1)
