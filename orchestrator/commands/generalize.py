"""`orchestrator generalize`: a sweep's confirmed seeds on a data set they were not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.arguments import (
    AcceptStale,
    DataRoot,
    Storage,
    TrackingUriOrNone,
    existing_storage,
    sweep_name,
)
from shapca.commands.options import AsJson, Device, LabelMap

if TYPE_CHECKING:
    from orchestrator.studies.generalization import Generalization


def generalize(
    source: Annotated[
        str,
        typer.Option("--from", metavar="SWEEP", help="The sweep's file, or its name."),
    ],
    target: Annotated[
        str,
        typer.Option(
            "--to", metavar="DATA", help="A prepared folder, or its name under the data root."
        ),
    ],
    label_map: LabelMap = None,
    contexts: Annotated[
        str | None,
        typer.Option(help="Context set to read there.", show_default="the one of the same name"),
    ] = None,
    storage: Storage = "storage",
    tracking_uri: TrackingUriOrNone = None,
    data_root: DataRoot = None,
    device: Device = "auto",
    accept_stale: AcceptStale = False,
    as_json: AsJson = False,
) -> None:
    """Score every confirmed seed on another data set's test split; stored scores are reused."""
    from orchestrator.store.address import resolve_data_root
    from orchestrator.store.cells import CellStore
    from orchestrator.store.lease import Lease
    from orchestrator.studies.generalization import (
        confirmed_winner,
        evaluate_seeds,
        write_documents,
    )
    from orchestrator.sweeps.driver import publisher_of
    from orchestrator.sweeps.views.summary import storage_option
    from shapca.config import RuntimeConfig
    from shapca.data.prepared import PreparedData
    from shapca.evaluation.label_map import read_label_map

    name = sweep_name(source)
    names = read_label_map(label_map or ())
    runtime = RuntimeConfig(device=device)
    root = resolve_data_root(data_root, runtime)
    address, store = existing_storage(storage)
    folder = Path(target).expanduser()
    data = PreparedData.load(folder if folder.is_dir() else root / target)
    cells = CellStore(store)
    winner = confirmed_winner(cells, name, accept_stale=accept_stale)
    with Lease(store, name):  # a driver at work may still change what is confirmed
        found = evaluate_seeds(
            cells,
            {seed: winner.cells[seed] for seed in winner.val},
            data,
            name=winner.name,
            configuration=winner.configuration,
            missing=winner.missing,
            contexts=contexts,
            label_map=names,
            runtime=runtime,
        )
        write_documents(store, name, found, {})
    publisher = publisher_of(store, name, address, tracking_uri)
    behind = None if publisher is None else publisher.publish_now().error
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False, sort_keys=True))
    else:
        _show(found)
    if behind is not None:
        sync = f"orchestrator sync {name}{storage_option(address)}"
        typer.echo(f"MLflow is behind ({behind}); to catch up: {sync}", err=True)


def _show(found: Generalization) -> None:
    from rich.table import Table

    from orchestrator.sweeps.record.outcome import score
    from shapca.commands.display.console import open_console

    averages = found.averages()
    table = Table(title=f"{found.name}: {found.source} → {found.target}", title_justify="left")
    table.add_column("test score")
    for seed in found.records:
        table.add_column(f"seed {seed}", justify="right")
    table.add_column(f"mean of {len(found.records)}", justify="right", style="bold")
    first = next(iter(found.records))
    for metric in found.metrics(first):
        per_seed = [f"{found.metrics(seed)[metric]:.2f}" for seed in found.records]
        mean = score(averages[f"{metric}_mean"], averages.get(f"{metric}_std"))
        table.add_row(metric.removeprefix("test/"), *per_seed, mean)
    console = open_console()
    console.print(table)
    for seed, reason in found.missing.items():
        console.print(f"missing: seed {seed}: {reason}", style="red", markup=False)
