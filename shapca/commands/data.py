"""`shapca data`: find, fetch and prepare a benchmark, inspect it, draw a synthetic one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from shapca.commands.display.console import open_console
from shapca.commands.options import AsJson, Out, Overwrite, Prepared
from shapca.commands.preparation import BENCHMARKS, EPILOG, prepare
from shapca.config import MOST_SUBWORDS, Task
from shapca.data.formats import Format

app = typer.Typer(
    help="Find, fetch, prepare, inspect and synthesise data sets.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def sources(
    name: Annotated[str | None, typer.Argument(help=f"{BENCHMARKS}.", show_default="all")] = None,
    as_json: AsJson = False,
) -> None:
    """Say where to get each benchmark's text, captions and pictures, and under what terms."""
    from shapca.commands.display.source_texts import source_lines
    from shapca.data.preparation.sources import SOURCES, source_of

    chosen = list(SOURCES.values()) if name is None else [source_of(name)]
    if as_json:
        print(json.dumps([source.to_json() for source in chosen], ensure_ascii=False))
    else:
        print("\n\n".join("\n".join(source_lines(source)) for source in chosen))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help=f"{BENCHMARKS}.")],
    source: Annotated[
        str,
        typer.Option("--from", help="A git repository's address or path, or a folder of files."),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder to make, or a fetched one to complete."),
    ],
    commit: Annotated[
        str | None, typer.Option(help="Hash of the commit to take.", show_default="the newest")
    ] = None,
    folder: Annotated[
        str | None, typer.Option(help="Folder in the repository, where several hold the files.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a benchmark's text from a public repository; pictures are yours to bring."""
    from shapca.commands.display.source_texts import fetched_lines
    from shapca.data.preparation.fetch import fetch as fetch_data

    result = fetch_data(name, source, out, commit=commit, folder=folder)
    if as_json:
        print(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        print("\n".join(fetched_lines(result, out)))


app.command(epilog=EPILOG)(prepare)


@app.command()
def export(
    folder: Prepared,
    out: Out,
    format_: Annotated[
        Format, typer.Option("--format", help="conll (MNER alone), jsonl, or datasets (parquet).")
    ] = "jsonl",
) -> None:
    """Write a prepared folder as files that `prepare` and others read, pictures included."""
    from shapca.data.preparation.export import export as export_data
    from shapca.data.prepared import PreparedData

    command = export_data(PreparedData.load(folder), out, format_)
    print(f"{out}: exported; to prepare it again: {command}")


@app.command()
def inspect(
    folder: Prepared,
    encoder: Annotated[
        str | None,
        typer.Option(help="Count sub-words and cut texts too, for this text encoder's tokenizer."),
    ] = None,
    max_length: Annotated[
        int, typer.Option(min=8, max=MOST_SUBWORDS, help="Sub-words of text and context together.")
    ] = 256,
    as_json: AsJson = False,
) -> None:
    """Count what a prepared folder holds, per split and type."""
    from shapca.commands.display.tables import print_report
    from shapca.data.preparation.inspect import inspect as inspect_data
    from shapca.data.prepared import PreparedData

    tokenizer = None
    if encoder is not None:
        from shapca.model.encoders.tokenizers import load_tokenizer

        tokenizer = load_tokenizer(encoder)
    report = inspect_data(PreparedData.load(folder), tokenizer, max_length)
    if as_json:
        print(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        print_report(open_console(), report)


@app.command()
def synthesise(
    out: Out,
    task: Annotated[Task, typer.Option(help="Task that the data set serves.")] = "mner",
    domain: Annotated[
        str, typer.Option(help="Which of the two worlds the posts are about: street or festival.")
    ] = "street",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same data set.")] = 0,
    num_train: Annotated[int, typer.Option(min=1, help="Training posts.")] = 480,
    num_valid: Annotated[int, typer.Option(min=1, help="Validation posts.")] = 160,
    num_test: Annotated[int, typer.Option(min=1, help="Test posts.")] = 320,
    image_size: Annotated[
        int, typer.Option(min=16, max=512, help="Side of the pictures in pixels.")
    ] = 64,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw a data set of short posts in which text alone does not suffice."""
    from shapca.commands.display.tables import print_manifest
    from shapca.data.synthetic import synthesise as synthesise_data

    manifest = synthesise_data(
        out,
        task=task,
        domain=domain,
        seed=seed,
        num_train=num_train,
        num_valid=num_valid,
        num_test=num_test,
        image_size=image_size,
        overwrite=overwrite,
    )
    if as_json:
        print(json.dumps(manifest.to_json(), ensure_ascii=False))
    else:
        print_manifest(open_console(), out, manifest)
