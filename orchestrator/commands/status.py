"""`orchestrator status`: how a sweep stands."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from orchestrator.commands.arguments import (
    AddressToAsk,
    OptionalSpaceOrName,
    Storage,
    Submission,
    existing_storage,
    find_job,
    sweep_name,
)
from orchestrator.commands.showing.listing import show_listing
from shapca.commands.options import AsJson
from shapca.errors import InputError, StorageError
from shapca.storage import ObjectStore
from shapca.words import counted

if TYPE_CHECKING:
    from orchestrator.sweeps.record.status import SweepStatus


def status(
    sweep: OptionalSpaceOrName = None,
    storage: Storage = "storage",
    address: AddressToAsk = None,
    submission: Submission = None,
    as_json: AsJson = False,
) -> None:
    """Show how a sweep stands: trials, averages, winner, whether a driver is at work.

    Without a name: all sweeps and studies of the storage, as `orchestrator list` does.
    With --address: also the state of its job there; without a sweep, of every submitted one.
    """
    if address is not None or submission is not None:
        _show_jobs(sweep, storage, address, submission, as_json)
        return
    if sweep is None:
        show_listing(storage, as_json=as_json)
        return
    from orchestrator.studies.plan import planned_cells
    from orchestrator.sweeps.record.reading import reading
    from orchestrator.sweeps.record.status import sweep_status

    name = sweep_name(sweep)
    place, store = existing_storage(storage)
    with reading():
        found = sweep_status(store, name, place, planned_cells(store, name))
        if as_json:
            typer.echo(json.dumps(_record(found), ensure_ascii=False, sort_keys=True))
        else:
            _show(found)
    _close_runs(store, name, place, found)


def _close_runs(store: ObjectStore, name: str, place: str, found: SweepStatus) -> None:
    """Close the runs that a driver which is known to be gone left open, in MLflow too."""
    from orchestrator.store.lease import Lease, abandoned_at
    from orchestrator.tracking.run_document import PARENT, close_open, read_run

    # Where a driver left any open it left its sweep's own, or that of a trial that has not ended.
    protocol = found.history.protocol
    keys = (f"{protocol.shown_phase(trial.phase)}-{trial.cell}" for trial in found.open)
    gone_at = abandoned_at(store, name)
    if gone_at is None or not any(
        (run := read_run(store, name, key)) is not None and run.is_running
        for key in (PARENT, *keys)
    ):
        return
    from orchestrator.sweeps.driver import publisher_of

    try:
        with Lease(store, name):
            closed = close_open(store, name, "killed", gone_at, "its driver is gone")
            publisher = publisher_of(store, name, place, os.environ.get("MLFLOW_TRACKING_URI"))
            behind = None if publisher is None else publisher.publish_now().error
    except (InputError, StorageError):  # it is only looked at, and may be somebody else's
        return
    typer.echo(f"its driver is gone: {counted(len(closed), 'run')} closed", err=True)
    if behind is not None:
        typer.echo(f"MLflow is behind ({behind}); to catch up: orchestrator sync {name}", err=True)


def _show_jobs(
    sweep: str | None, storage: str, address: str | None, submission: str | None, as_json: bool
) -> None:
    """The job of a sweep with what the storage shows of it, or all jobs of sweeps."""
    from orchestrator.cluster.jobs import Cluster
    from orchestrator.studies.plan import planned_cells
    from orchestrator.sweeps.record.status import sweep_status

    cluster = Cluster(address)
    if sweep is None and submission is None:
        jobs = cluster.jobs()
        if as_json:
            typer.echo(json.dumps([asdict(job) for job in jobs], sort_keys=True))
            return
        for job in jobs:
            typer.echo(f"{job.id}: {job.sweep}, attempt {job.attempt}, {job.status.lower()}")
        if not jobs:
            typer.echo("no sweep was submitted to this cluster")
        return
    job = find_job(cluster, sweep, storage, submission)
    try:
        place, store = existing_storage(storage)
        found = sweep_status(store, job.sweep, place, planned_cells(store, job.sweep))
    except InputError as error:  # the storage may be out of reach from here
        found, unseen = None, str(error)
    if as_json:
        record = {"job": asdict(job), "sweep": None if found is None else _record(found)}
        typer.echo(json.dumps(record, ensure_ascii=False, sort_keys=True))
        return
    typer.echo(f"{job.id}: {job.status.lower()}. {job.message}")
    if found is None:
        typer.echo(f"its results cannot be seen from here: {unseen}")
    else:
        _show(found)


_OPEN = ("number", "name", "phase", "cell", "epoch")


def _record(found: SweepStatus) -> dict[str, object]:
    from orchestrator.sweeps.views.summary import outcome_json

    outcome = outcome_json(found.outcome)
    for key in ("status", "reason", "tracking"):  # of a driver that ends, not of a sweep looked at
        del outcome[key]
    return {
        **outcome,
        "state": found.state,
        "holder": found.holder,
        "planned": found.planned,
        "done": found.done,
        "open": [{key: getattr(trial, key) for key in _OPEN} for trial in found.open],
    }


def _show(found: SweepStatus) -> None:
    from orchestrator.sweeps.views.summary import configuration_table, winner_lines
    from shapca.commands.display.console import open_console

    console = open_console()
    outcome = found.outcome
    if outcome.rows:
        console.print(configuration_table(outcome))
    held = f" by {found.holder}" if found.holder else ""
    phases = ", ".join(f"{phase} {found.done[phase]}/{n}" for phase, n in found.planned.items())
    lines = [f"{outcome.sweep}: {found.state}{held}; {phases}"]
    for trial in found.open:
        verb = "running" if found.holder else "unfinished"
        lines.append(f"{verb}: #{trial.number} {trial.phase} {trial.name}, epoch {trial.epoch}")
    if found.state == "stopped":
        verb = "study" if "study" in found.planned else "sweep"
        lines.append(f"to resume, run `orchestrator {verb}` again")
    for line in (*lines, *winner_lines(outcome)):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
