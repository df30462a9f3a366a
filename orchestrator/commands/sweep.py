"""`orchestrator sweep`: run a search space, or go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shapca.errors import InputError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def sweep(
    space: Annotated[Path, typer.Argument(help="Search-space file (YAML).")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the file; repeatable."),
    ] = None,
    storage: Annotated[
        str, typer.Option(help="Where cells and records are kept: a folder, or s3://bucket/prefix.")
    ] = "storage",
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            show_envvar=True,
            help="MLflow's store; by default SQLite under the storage. `none`: no tracking.",
        ),
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the prepared data sets.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster; by default RAY_ADDRESS, or a local Ray."),
    ] = None,
    wait_for_resources: Annotated[
        bool,
        typer.Option(
            "--wait-for-resources",
            help="Wait for nodes that are still to come, for clusters that scale from zero.",
        ),
    ] = False,
    accept_stale: Annotated[
        bool,
        typer.Option("--accept-stale", help="Use finished cells of other code as they are."),
    ] = False,
    rerun_stale: Annotated[
        bool, typer.Option("--rerun-stale", help="Train cells of other code again.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed cells again.")
    ] = False,
) -> None:
    """Run a sweep. The same command again goes on where it stopped and repeats nothing."""
    from orchestrator.results import print_outcome
    from orchestrator.runner import RayOptions
    from orchestrator.space import SweepConfig
    from orchestrator.sweep import SweepOptions, run_sweep

    if accept_stale and rerun_stale:
        raise InputError("--accept-stale and --rerun-stale: expected one of them at most")
    options = SweepOptions(
        storage=storage,
        tracking_uri=tracking_uri,
        data_root=data_root,
        ray=RayOptions(address, wait_for_resources),
        stale="accept" if accept_stale else "rerun" if rerun_stale else "refuse",
        retry_failed=retry_failed,
    )
    outcome = run_sweep(SweepConfig.load(space, set_ or ()), options)
    print_outcome(outcome)
    if outcome.status == "interrupted":
        raise typer.Exit(130)
    if outcome.status == "finished" and not any(row.val for row in outcome.rows):
        raise typer.Exit(1)
