"""`shapca contexts`: bridging contexts, made by models or imported."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from shapca.commands.display.console import open_console
from shapca.commands.generation import EPILOG, generate
from shapca.commands.options import AsJson, Prepared

app = typer.Typer(
    help="Generate bridging contexts, or import them into a prepared data set.",
    no_args_is_help=True,
    add_completion=False,
)


app.command("generate", epilog=EPILOG)(generate)


@app.command("import")
def import_(
    folder: Prepared,
    contexts: Annotated[
        list[str],
        typer.Argument(
            help="Captions as FILE, NAME=FILE or NAME=FILE,FILE; files under one NAME make one "
            "context set. Formats: 'ID.jpg :caption' lines, a JSON object, JSON lines, lines "
            "of Python-literal dicts, or the records of `shapca contexts generate`."
        ),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a context set of that name.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add context sets; the other parts of the folder and their hashes do not change."""
    from shapca.commands.data_arguments import context_files
    from shapca.commands.display.tables import print_context_report
    from shapca.data.preparation.prepare import add_context_sets

    sets = add_context_sets(folder, context_files(contexts), overwrite=overwrite)
    reports = {name: report.to_json() for name, report in sets.items()}
    if as_json:
        print(json.dumps(reports, ensure_ascii=False))
        return
    for name, report in reports.items():
        print_context_report(open_console(), name, report)
