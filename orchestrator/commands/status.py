"""`orchestrator status`: how a sweep stands."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from orchestrator.commands.arguments import (
    AsJson,
    SpaceOrName,
    Storage,
    existing_storage,
    sweep_name,
)

if TYPE_CHECKING:
    from orchestrator.status import SweepStatus

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def status(
    sweep: SpaceOrName,
    storage: Storage = "storage",
    as_json: AsJson = False,
) -> None:
    """Show how a sweep stands: trials, averages, winner, whether a driver is at work."""
    from orchestrator.status import sweep_status

    name = sweep_name(sweep)
    address, store = existing_storage(storage)
    found = sweep_status(store, name, address)
    if as_json:
        typer.echo(json.dumps(_record(found), ensure_ascii=False, sort_keys=True))
    else:
        _show(found)


def _record(found: SweepStatus) -> dict[str, object]:
    from orchestrator.results import outcome_json

    outcome = outcome_json(found.outcome)
    for key in ("status", "reason", "tracking"):  # of a driver that ends, not of a sweep looked at
        del outcome[key]
    return {
        **outcome,
        "state": found.state,
        "holder": found.holder,
        "planned": found.planned,
        "done": found.done,
        "open": [asdict(trial) for trial in found.open],
    }


def _show(found: SweepStatus) -> None:
    from rich.console import Console

    from orchestrator.results import configuration_table, winner_lines

    console = Console()
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
        lines.append("to go on, run `orchestrator sweep` again")
    for line in (*lines, *winner_lines(outcome)):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
