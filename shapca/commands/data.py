"""`shapca data`: find, fetch and prepare a benchmark, inspect it, draw a synthetic one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from shapca.commands.data_arguments import columns, context_files, names, shares
from shapca.commands.display.console import open_console
from shapca.commands.display.progress import progress_report
from shapca.commands.options import AsJson, Prepared, examples
from shapca.config import MOST_SUBWORDS, Task
from shapca.data.formats import Format, Scheme, Separator
from shapca.data.schema import STORED_SIZE
from shapca.errors import InputError

app = typer.Typer(
    help="Find, fetch, prepare, inspect and synthesise data sets.",
    no_args_is_help=True,
    add_completion=False,
)

BENCHMARKS = "twitter2015, twitter2017, gmner, fmnerg, fmnerg-coarse, cmner, mnre or jmere"
Out = Annotated[Path, typer.Option(help="Folder to make; it appears when it is complete.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a prepared folder.")]


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


@app.command(
    epilog=examples(
        "shapca data prepare twitter2017 --source raw/twitter2017 --images raw/images "
        "--out data/twitter2017",
        "shapca data prepare mine --format jsonl --source posts.jsonl --split 0.8,0.1,0.1 "
        "--images images --out data/mine",
        "shapca data prepare mine --format conll --source train.txt,valid.txt,test.txt "
        "--header IMGID: --out data/mine",
    )
)
def prepare(
    name: Annotated[
        str, typer.Argument(help=f"A benchmark ({BENCHMARKS}), or your data's name with --format.")
    ],
    source: Annotated[
        str,
        typer.Option(
            help="Folder of the data set's files; with --format also one file, or TRAIN,VALID,TEST."
        ),
    ],
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
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="Of your own files: tagged words, JSON lines, or tables (parquet, a folder of "
            "Hugging Face datasets).",
        ),
    ] = None,
    task: Annotated[
        Task | None, typer.Option(help="Task that your data serves.", show_default="mner")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Entity types, as A,B.", show_default="those that occur")
    ] = None,
    relations: Annotated[
        str | None, typer.Option(help="Relation types, as A,B.", show_default="those that occur")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Shares of train, valid and test in one file, e.g. 0.8,0.1,0.1."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of --split.")] = 0,
    header: Annotated[
        str | None,
        typer.Option(
            help="conll: what a post's header line begins with, e.g. 'IMGID:' or '# id ='.",
            show_default="none: blank lines part posts",
        ),
    ] = None,
    separator: Annotated[
        Separator, typer.Option(help="conll: what stands between columns.")
    ] = "tab",
    word_column: Annotated[int, typer.Option(min=1, help="conll: the words' column, from 1.")] = 1,
    tag_column: Annotated[
        int | None, typer.Option(min=1, help="conll: the tags' column.", show_default="the last")
    ] = None,
    pos_column: Annotated[
        int | None,
        typer.Option(min=1, help="conll: the column of universal parts of speech, if any."),
    ] = None,
    scheme: Annotated[
        Scheme | None,
        typer.Option(help="Of the tags.", show_default="the one that all tags keep to"),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="jsonl, datasets: KEY=NAME, your name of a key; repeatable."),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="jsonl, datasets: a key that is not read; repeatable."),
    ] = None,
    characters: Annotated[
        bool,
        typer.Option("--characters", help="Each character of a text is a word, as in Chinese."),
    ] = False,
    image_size: Annotated[
        int, typer.Option(min=16, max=1024, help="Side of the stored squares in pixels.")
    ] = STORED_SIZE,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Read a benchmark's public files, or your own, into one prepared folder."""
    from shapca.commands.display.tables import print_manifest
    from shapca.data.preparation.prepare import prepare as prepare_data
    from shapca.data.preparation.readers import READERS
    from shapca.data.preparation.readers.conll import Layout
    from shapca.data.preparation.readers.own import OwnFormat
    from shapca.data.preparation.readers.records import RecordForm

    own = OwnFormat(
        format_ or "conll",
        task=task,
        entity_types=None if labels is None else names("--labels", labels),
        relation_types=None if relations is None else names("--relations", relations),
        split=None if split is None else shares(split),
        seed=seed,
        layout=Layout(header or None, separator, word_column, tag_column, pos_column),
        scheme=scheme,
        form=RecordForm(columns(column or []), tuple(ignore or ()), characters),
    )
    if format_ is None and name in READERS and own != OwnFormat("conll"):
        raise InputError(
            f"{name}: how files are read can be said with --format alone; a benchmark's is known"
        )
    paths = [Path(source)] if Path(source).exists() else [Path(p) for p in source.split(",")]
    with progress_report() as progress:
        result = prepare_data(
            name,
            paths,
            out,
            own=None if format_ is None else own,
            images=images,
            contexts=context_files(contexts or []),
            image_size=image_size,
            overwrite=overwrite,
            progress=progress,
        )
    if as_json:
        kept = {"already_there": result.already_there, "warnings": list(result.warnings)}
        print(json.dumps({**kept, **result.manifest.to_json()}, ensure_ascii=False))
    else:
        print_manifest(
            open_console(),
            out,
            result.manifest,
            already_there=result.already_there,
            warnings=result.warnings,
        )


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
