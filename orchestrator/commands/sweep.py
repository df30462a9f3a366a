"""`orchestrator sweep`: run a search space, or go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.arguments import (
    AcceptStale,
    DataRoot,
    Overrides,
    RayAddress,
    RerunStale,
    RetryFailed,
    Storage,
    WaitForResources,
    stale_policy,
)


def sweep(
    space: Annotated[Path, typer.Argument(help="Search-space file (YAML).")],
    set_: Overrides = None,
    storage: Storage = "storage",
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            show_envvar=True,
            help="MLflow's store; by default SQLite under the storage. `none`: no tracking.",
        ),
    ] = None,
    data_root: DataRoot = None,
    address: RayAddress = None,
    wait_for_resources: WaitForResources = False,
    accept_stale: AcceptStale = False,
    rerun_stale: RerunStale = False,
    retry_failed: RetryFailed = False,
) -> None:
    """Run a sweep. The same command again goes on where it stopped and repeats nothing."""
    from orchestrator.cluster.session import RayOptions
    from orchestrator.config.sweep import SweepConfig
    from orchestrator.reports.make import report_at_the_end
    from orchestrator.sweeps.driver import SweepOptions, run_sweep
    from orchestrator.sweeps.views.summary import print_outcome

    options = SweepOptions(
        storage=storage,
        tracking_uri=tracking_uri,
        data_root=data_root,
        ray=RayOptions(address, wait_for_resources),
        stale=stale_policy(accept_stale, rerun_stale),
        retry_failed=retry_failed,
    )
    outcome = run_sweep(SweepConfig.load(space, set_ or ()), options, report=report_at_the_end)
    print_outcome(outcome)
    if outcome.status == "interrupted":
        raise typer.Exit(130)
    if outcome.status == "finished" and outcome.is_incomplete:
        raise typer.Exit(1)
