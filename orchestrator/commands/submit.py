"""`orchestrator submit`: run a sweep as a job of a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.arguments import (
    AcceptStale,
    Address,
    DataRootOnCluster,
    RerunStale,
    RetryFailed,
    Space,
    Storage,
    WaitForResources,
    stale_policy,
)
from shapca.commands.options import Overrides, examples
from shapca.errors import InputError

EPILOG = examples(
    "orchestrator submit search_spaces/demo.yaml --address http://127.0.0.1:8265 "
    "--storage /shared/storage",
    "orchestrator submit search_spaces/demo.yaml --storage s3://bucket/sweeps --no-wait",
)

if TYPE_CHECKING:
    from orchestrator.config.sweep import SweepConfig


def submit(
    space: Space,
    address: Address = None,
    set_: Overrides = None,
    storage: Storage = "storage",
    data_root: DataRootOnCluster = None,
    send_data: Annotated[
        bool | None,
        typer.Option(
            "--send-data/--no-send-data",
            help="Package the data that the sweep reads into the storage.",
            show_default="if the storage is a bucket",
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="MLflow's store, as the cluster reaches it; `none`: no tracking."),
    ] = None,
    wait_for_resources: WaitForResources = False,
    accept_stale: AcceptStale = False,
    rerun_stale: RerunStale = False,
    retry_failed: RetryFailed = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the log.")] = True,
) -> None:
    """Run a sweep on a cluster. Submit it again to resume it, or to follow it while it runs."""
    from orchestrator.cluster.jobs import Cluster, submission_base
    from orchestrator.cluster.scratch import scratch_folder
    from orchestrator.cluster.staging import SWEEP_FILE, stage
    from orchestrator.config.sweep import SweepConfig
    from orchestrator.store.address import absolute_uri, is_remote, resolve_data_root
    from orchestrator.tracking.client.addresses import redact

    stale_policy(accept_stale, rerun_stale)  # both at once are refused here already
    if tracking_uri is not None and redact(tracking_uri) != tracking_uri:
        raise InputError(
            f"--tracking-uri {redact(tracking_uri)}: a job's command is shown in Ray's dashboard, "
            "so it takes no credentials. Set MLFLOW_TRACKING_URI, or MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, in the environment of the cluster's head"
        )
    sweep = SweepConfig.load(space, set_ or ())
    place = absolute_uri(storage)
    root = resolve_data_root(data_root, sweep.runtime)
    cluster = Cluster(address)
    base = submission_base(sweep.name, place)
    attempts = cluster.jobs(base)
    if attempts and attempts[-1].is_alive:
        job = attempts[-1]
        typer.echo(f"sweep {sweep.name} is already at work: {job.id} ({job.status.lower()})")
    else:
        if send_data if send_data is not None else is_remote(place):
            _send(sweep, place, root)
        command = ["python", "-m", "orchestrator", "sweep", SWEEP_FILE, "--storage", place]
        # A folder that is neither named nor here is left to the head: it may hold one of its own.
        command += ["--data-root", str(root)] if data_root is not None or root.is_dir() else []
        command += ["--tracking-uri", tracking_uri] if tracking_uri else []
        for name, value in (
            ("--wait-for-resources", wait_for_resources),
            ("--accept-stale", accept_stale),
            ("--rerun-stale", rerun_stale),
            ("--retry-failed", retry_failed),
        ):
            command += [name] if value else []
        with scratch_folder() as folder:
            size = stage(folder / "job", sweep)
            job = cluster.submit(base, sweep.name, command, folder / "job")
        typer.echo(
            f"sweep {sweep.name} submitted as {job.id} (attempt {job.attempt}, "
            f"{size / 2**20:.1f} MiB of code)"
        )
    where = f"--address {redact(cluster.address)} --submission {job.id}"
    if not wait:
        typer.echo(f"`orchestrator status {where}` shows it, `orchestrator stop {where}` stops it")
        return
    try:
        job = cluster.follow(job.id, lambda lines: typer.echo(lines, nl=False))
    except KeyboardInterrupt:
        typer.echo(
            "\ndetached; the sweep keeps running. Submit it again to follow it; "
            f"`orchestrator status {where}` shows it, `orchestrator stop {where}` stops it"
        )
        return
    typer.echo(f"{job.id}: {job.status.lower()}")
    if job.status != "SUCCEEDED":
        raise typer.Exit(job.exit_code if job.exit_code and job.exit_code > 0 else 1)


def _send(sweep: SweepConfig, storage: str, data_root: Path) -> None:
    from orchestrator.cluster.parcels.delivery import package, wanted
    from orchestrator.store.address import open_store
    from orchestrator.store.cell_factory import CellFactory

    factory = CellFactory(data_root)
    for values in sweep.corners():  # refuses what is missing here before anything is sent
        factory.cell(sweep.resolve(values), 0)
    delivery = wanted(sweep, data_root)
    written = package(open_store(storage), sweep.name, delivery, data_root)
    typer.echo(f"data packaged into the storage: {written / 2**20:.1f} MiB were new to it")
