"""`shapca data prepare`: the options, and what is printed of the result.

The options are here once; a command that does the work elsewhere takes them over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shapca.commands.data_arguments import columns, context_files, names, shares
from shapca.commands.options import AsJson, Out, Overwrite, examples
from shapca.config import Task
from shapca.data.formats import Format, Scheme, Separator
from shapca.data.schema import STORED_SIZE
from shapca.errors import InputError

if TYPE_CHECKING:
    from shapca.data.preparation.readers.own import OwnFormat

BENCHMARKS = "twitter2015, twitter2017, gmner, fmnerg, fmnerg-coarse, cmner, mnre or jmere"
EPILOG = examples(
    "shapca data prepare twitter2017 --source raw/twitter2017 --images raw/images "
    "--out data/twitter2017",
    "shapca data prepare mine --format jsonl --source posts.jsonl --split 0.8,0.1,0.1 "
    "--images images --out data/mine",
    "shapca data prepare mine --format conll --source train.txt,valid.txt,test.txt "
    "--header IMGID: --out data/mine",
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
    run_preparation(dict(locals()))


def run_preparation(options: Mapping[str, Any], **how: Any) -> None:
    """Do what the options of `prepare` ask for.

    Args:
        options: All of them by name.
        how: `decode` and `tag` of `shapca.data.preparation.prepare.prepare`.

    Raises:
        InputError: something asked for is not there.
    """
    from shapca.commands.display.console import open_console
    from shapca.commands.display.progress import progress_report
    from shapca.commands.display.tables import print_manifest
    from shapca.data.preparation.prepare import prepare as prepare_data

    source, out = options["source"], options["out"]
    own = _own_format(options)
    paths = [Path(source)] if Path(source).exists() else [Path(p) for p in source.split(",")]
    with progress_report() as progress:
        result = prepare_data(
            options["name"],
            paths,
            out,
            own=own,
            images=options["images"],
            contexts=context_files(options["contexts"] or []),
            image_size=options["image_size"],
            overwrite=options["overwrite"],
            progress=progress,
            **how,
        )
    if options["as_json"]:
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


def _own_format(options: Mapping[str, Any]) -> OwnFormat | None:
    from shapca.data.preparation.readers import READERS
    from shapca.data.preparation.readers.conll import Layout
    from shapca.data.preparation.readers.own import OwnFormat
    from shapca.data.preparation.readers.records import RecordForm

    name, labels, relations = options["name"], options["labels"], options["relations"]
    own = OwnFormat(
        options["format_"] or "conll",
        task=options["task"],
        entity_types=None if labels is None else names("--labels", labels),
        relation_types=None if relations is None else names("--relations", relations),
        split=None if options["split"] is None else shares(options["split"]),
        seed=options["seed"],
        layout=Layout(
            options["header"] or None,
            options["separator"],
            options["word_column"],
            options["tag_column"],
            options["pos_column"],
        ),
        scheme=options["scheme"],
        form=RecordForm(
            columns(options["column"] or []), tuple(options["ignore"] or ()), options["characters"]
        ),
    )
    if options["format_"] is not None:
        return own
    if name in READERS and own != OwnFormat("conll"):
        raise InputError(
            f"{name}: how files are read can be said with --format alone; a benchmark's is known"
        )
    return None
