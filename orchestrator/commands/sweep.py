"""`orchestrator sweep`: run a search space, or resume it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import typer

from orchestrator.commands.arguments import RunOptions, Space
from shapca.commands.options import Overrides, examples, with_options_of

EPILOG = examples(
    "orchestrator sweep search_spaces/demo.yaml",
    "orchestrator sweep search_spaces/demo.yaml --set name=demo-50 --set protocol.trials=50",
)


@with_options_of(RunOptions)
def sweep(space: Space, set_: Overrides = None, **options: Any) -> None:
    """Run a sweep. The same command again resumes it and repeats nothing."""
    from orchestrator.config.sweep import SweepConfig
    from orchestrator.reports.make import page_link, page_place, report_at_the_end
    from orchestrator.store.address import is_remote
    from orchestrator.sweeps.driver import run_sweep
    from orchestrator.sweeps.views.summary import print_outcome

    how = RunOptions(**options).for_driver()
    report = partial(report_at_the_end, data_root=how.data_root)
    outcome = run_sweep(SweepConfig.load(space, set_ or ()), how, report=report)
    page = page_place(outcome.storage, outcome.sweep)
    is_made = is_remote(page) or Path(page).is_file()  # where it failed, that was said
    print_outcome(outcome, report=page_link(page) if is_made else None)
    if outcome.status == "interrupted":
        raise typer.Exit(130)
    if outcome.status == "finished" and outcome.is_incomplete:
        raise typer.Exit(1)
