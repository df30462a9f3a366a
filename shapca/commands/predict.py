"""`shapca predict`: entities and relations of a new post."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapca.errors import InputError

if TYPE_CHECKING:
    from shapca.prediction import Extraction

app = typer.Typer()


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    text: Annotated[str, typer.Option(help="The post.")],
    image: Annotated[Path | None, typer.Option(help="File of its picture.")] = None,
    context: Annotated[
        str | None, typer.Option(help="Bridging context, e.g. a caption of the picture.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="First given entity as in the text (relations, MRE).")
    ] = None,
    tail: Annotated[
        str | None, typer.Option(help="Second given entity as in the text (relations, MRE).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Extract entities, relations or both from one post."""
    if (head is None) != (tail is None):
        raise InputError("--head and --tail: give both, or neither")
    given = [
        find_characters(option, wanted, text)
        for option, wanted in (("--head", head), ("--tail", tail))
        if wanted is not None
    ]

    from shapca.config import RuntimeConfig
    from shapca.prediction import Extractor

    extractor = Extractor.load(run, runtime=RuntimeConfig(device=device))
    extraction = extractor.extract(text, image=image, context=context, entities=given)
    if as_json:
        print(json.dumps(extraction.to_json(), ensure_ascii=False))
    else:
        _print(extraction)


def find_characters(option: str, wanted: str, text: str) -> tuple[int, int]:
    """Where a given entity stands in the text: its only place.

    Raises:
        InputError: the text does not hold it, or holds it more than once.
    """
    count = text.count(wanted) if wanted else 0
    if count != 1:
        times = "not" if count == 0 else f"{count} times"
        raise InputError(f"{option} {wanted!r}: found {times} in the text, expected it once")
    start = text.index(wanted)
    return start, start + len(wanted)


def _print(extraction: Extraction) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not extraction.entities:
        console.print("no entities")
        return
    table = Table("entity", "type", "characters", box=None, pad_edge=False)
    for entity in extraction.entities:
        place = f"{entity.start}-{entity.end}"
        table.add_row(Text(entity.text), Text(entity.type or "given"), place)
    console.print(table)
    for relation in extraction.relations:
        console.print(
            f"{relation.head.text} --{relation.type}--> {relation.tail.text}", markup=False
        )
