"""`shapca data`: find, fetch and prepare a benchmark, inspect it, draw a synthetic one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from shapca.commands.display.progress import progress_report
from shapca.commands.options import AsJson, Prepared
from shapca.config import Task
from shapca.data.schema import STORED_SIZE
from shapca.errors import InputError

app = typer.Typer(
    help="Find, fetch, prepare, inspect and synthesise data sets.",
    no_args_is_help=True,
    add_completion=False,
)

Out = Annotated[Path, typer.Option(help="Folder to make; it appears when it is complete.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a prepared folder.")]


@app.command()
def sources(
    name: Annotated[
        str | None, typer.Argument(help="twitter2015, twitter2017, mnre or jmere; all if left out.")
    ] = None,
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
    name: Annotated[str, typer.Argument(help="twitter2015, twitter2017, mnre or jmere.")],
    source: Annotated[
        str,
        typer.Option("--from", help="A git repository's address or path, or a folder of files."),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder to make, or a fetched one to complete."),
    ],
    commit: Annotated[
        str | None, typer.Option(help="Hash of the commit to take; the newest if left out.")
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


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="twitter2015, twitter2017, mnre or jmere.")],
    source: Annotated[Path, typer.Option(help="Folder of the data set's public files.")],
    out: Out,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the pictures, any folders below it included.")
    ] = None,
    contexts: Annotated[
        list[str] | None,
        typer.Option(
            help="Captions as FILE, NAME=FILE or NAME=FILE,FILE; repeatable; files under "
            "one NAME make one context set."
        ),
    ] = None,
    image_size: Annotated[
        int, typer.Option(min=16, max=1024, help="Side of the stored squares in pixels.")
    ] = STORED_SIZE,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Read a benchmark's public files into one prepared folder."""
    from shapca.commands.display.tables import print_manifest
    from shapca.data.preparation.prepare import prepare as prepare_data

    with progress_report() as progress:
        result = prepare_data(
            name,
            source,
            out,
            images=images,
            contexts=context_files(contexts or []),
            image_size=image_size,
            overwrite=overwrite,
            progress=progress,
        )
    if as_json:
        record = {"already_there": result.already_there, **result.manifest.to_json()}
        print(json.dumps(record, ensure_ascii=False))
    else:
        print_manifest(Console(), out, result.manifest, already_there=result.already_there)


@app.command()
def inspect(
    folder: Prepared,
    encoder: Annotated[
        str | None,
        typer.Option(help="Count sub-words and cut texts too, for this text encoder's tokenizer."),
    ] = None,
    max_length: Annotated[
        int, typer.Option(min=8, max=512, help="Sub-words of text and context together.")
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
        print_report(Console(), report)


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
        print_manifest(Console(), out, manifest)


def context_files(arguments: Sequence[str]) -> dict[str, list[Path]]:
    """Context sets of a command line: name to files, in the order given.

    Raises:
        InputError: a malformed argument, or one file given twice.
    """
    from shapca.data.preparation.captions import parse_context_argument

    sets: dict[str, list[Path]] = {}
    for argument in arguments:
        name, files = parse_context_argument(argument)
        for file in files:
            if file in sets.setdefault(name, []):
                raise InputError(f"contexts {name}: {file} is given twice")
            sets[name].append(file)
    return sets
