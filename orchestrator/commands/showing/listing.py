"""`orchestrator list`: all sweeps and studies of a storage, and how each stands."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Literal

import typer

from orchestrator.commands.arguments import Storage, existing_storage
from shapca.commands.options import AsJson, examples
from shapca.errors import InputError
from shapca.storage import ObjectStore

EPILOG = examples("orchestrator list", "orchestrator list --storage s3://bucket/sweeps --json")


@dataclass(frozen=True)
class Listed:
    """A sweep or study of a storage.

    Attributes:
        name: Its name.
        kind: Which of the two it is.
        state: `running`, `complete` or `stopped`; `unreadable` with the problem.
        done: Trials that ended.
        planned: Trials that the protocol asks for at most.
        split: Where the score is from: `test` where the best was tested, else `val`.
        score: Mean F1 of the confirmed winner, else of the best so far, in percent; None of a
            study, which chooses nothing: its rows are of several tasks and data sets.
        std: Its sample standard deviation over seeds.
        seeds: Over which seeds.
        is_confirmed: Whether these are the winner's fresh seeds.
        changed: Unix time of the last event.
        problem: Why it cannot be read.
    """

    name: str
    kind: Literal["sweep", "study"]
    state: str
    done: int = 0
    planned: int = 0
    split: str | None = None
    score: float | None = None
    std: float | None = None
    seeds: tuple[int, ...] = ()
    is_confirmed: bool = False
    changed: float | None = None
    problem: str | None = None


def listing(storage: Storage = "storage", as_json: AsJson = False) -> None:
    """List all sweeps and studies in a storage, last changed first."""
    show_listing(storage, as_json=as_json)


def show_listing(storage: str, *, as_json: bool) -> None:
    """Print all sweeps and studies of a storage.

    Raises:
        InputError: no such storage.
    """
    from orchestrator.sweeps.record.reading import reading

    address, store = existing_storage(storage)
    with reading():
        found = list_sweeps(store, address)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False))
    elif not found:
        typer.echo(f"{address}: no sweep or study yet")
    else:
        _show(found)


def list_sweeps(store: ObjectStore, address: str) -> list[Listed]:
    """All sweeps and studies of a storage, last changed first; one that is damaged says so."""
    from orchestrator.store.sweep_folder import STUDY, SWEEP, SWEEPS, in_sweep

    found = []
    for name in store.folders(SWEEPS):
        if store.get(in_sweep(name, STUDY)) is not None:
            found.append(_listed(store, name, address, "study"))
        elif store.get(in_sweep(name, SWEEP)) is not None:
            found.append(_listed(store, name, address, "sweep"))
    return sorted(found, key=lambda one: (-(one.changed or 0.0), one.name))


def _listed(store: ObjectStore, name: str, address: str, kind: Literal["sweep", "study"]) -> Listed:
    from orchestrator.studies.plan import planned_cells
    from orchestrator.sweeps.record.status import sweep_status

    try:
        status = sweep_status(store, name, address, planned_cells(store, name))
    except InputError as error:
        return Listed(name, kind, "unreadable", problem=str(error))
    outcome = status.outcome
    best = outcome.winner
    scores = {} if best is None else best.test or best.val
    is_tested = best is not None and bool(best.test)
    times = [event.at for event in status.history.log.events]
    return Listed(
        name,
        kind,
        status.state,
        done=sum(status.done.values()),
        planned=sum(status.planned.values()),
        split=None if not scores else "test" if is_tested else "val",
        score=None if best is None else best.test_mean if is_tested else best.val_mean,
        std=None if best is None else best.test_std if is_tested else best.val_std,
        seeds=tuple(scores),
        is_confirmed=best is not None and best.phase == "confirm" and bool(scores),
        changed=max(times, default=None),
    )


def _show(found: list[Listed]) -> None:
    from rich.measure import Measurement
    from rich.table import Table

    from orchestrator.sweeps.record.outcome import score
    from shapca.commands.display.console import open_console

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "kind", "state", "trials", "F1", "", "last change"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "trials" else "left")
    for one in found:
        best = "best" if one.state == "complete" else "best so far"
        what = f"{one.split}, {'confirmed' if one.is_confirmed else best}"
        changed = None if one.changed is None else time.localtime(one.changed)
        table.add_row(
            one.name,
            one.kind,
            one.state,
            "" if one.problem else f"{one.done}/{one.planned}",
            score(one.score, one.std),
            what if one.split else "",
            "" if changed is None else time.strftime("%Y-%m-%d %H:%M", changed),
        )
    console = open_console()
    # As wide as it is: a narrow terminal breaks lines at their end, a pipe nowhere.
    unbound = console.options.update(max_width=10_000)
    table.width = Measurement.get(console, unbound, table).maximum
    console.print(table, crop=False)
    for one in found:
        if one.problem is not None:
            console.print(f"{one.name}: {one.problem}", style="red", soft_wrap=True)
