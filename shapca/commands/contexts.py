"""`shapca contexts`: bridging contexts of a prepared data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    help="Import bridging contexts into a prepared data set.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _contexts() -> None:
    """Bridging contexts of a prepared data set."""


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="A prepared folder.")],
    contexts: Annotated[
        list[str],
        typer.Argument(
            help="Captions as FILE, NAME=FILE or NAME=FILE,FILE; files under one NAME make one "
            "context set. Understood are 'ID.jpg :caption' lines, a JSON object, JSON lines and "
            "lines of Python-literal dicts."
        ),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a context set of that name.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of a sentence.")
    ] = False,
) -> None:
    """Add context sets; the other parts of the folder, and their hashes, stay."""
    from shapca.commands.data import context_files
    from shapca.commands.tables import print_context_report
    from shapca.data.prepare import add_context_sets

    sets = add_context_sets(folder, context_files(contexts), overwrite=overwrite)
    reports = {name: report.to_json() for name, report in sets.items()}
    if as_json:
        print(json.dumps(reports, ensure_ascii=False))
        return
    for name, report in reports.items():
        print_context_report(Console(), name, report)
