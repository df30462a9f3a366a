"""`orchestrator stop`: end a submitted sweep."""

from __future__ import annotations

import time

import typer

from orchestrator.commands.arguments import (
    Address,
    OptionalSpaceOrName,
    Storage,
    Submission,
    find_job,
)

PATIENCE_SECONDS = 60.0


def stop(
    sweep: OptionalSpaceOrName = None,
    address: Address = None,
    storage: Storage = "storage",
    submission: Submission = None,
) -> None:
    """Stop a submitted sweep. What it has trained is kept; submit it again to resume."""
    from orchestrator.cluster.jobs import Cluster

    cluster = Cluster(address)
    job = find_job(cluster, sweep, storage, submission)
    if not job.is_alive:
        typer.echo(f"{job.id}: {job.status.lower()} already")
        return
    cluster.stop(job.id)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (job := cluster.job(job.id)).is_alive and time.monotonic() < deadline:
        time.sleep(0.5)
    typer.echo(f"{job.id}: {job.status.lower()}; submit it again to resume")
    if job.is_alive:
        raise typer.Exit(1)
