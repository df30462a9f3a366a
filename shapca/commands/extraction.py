"""Extraction from one post, whichever command brings the model: options, work and result."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapca.commands.display.messages import shown_messages
from shapca.commands.options import AsJson, Device
from shapca.config import RuntimeConfig
from shapca.errors import InputError

if TYPE_CHECKING:
    from shapca.prediction import Extraction, Extractor


@dataclass(frozen=True)
class PostOptions:
    """A post to extract from, as the options of a command."""

    text: Annotated[str, typer.Option(help="The post.")]
    image: Annotated[Path | None, typer.Option(help="File of its picture.")] = None
    context: Annotated[
        str | None, typer.Option(help="Bridging context, e.g. a caption of the picture.")
    ] = None
    entity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORDS|START-END",
            help="Given entity, as in the text or by its characters (relations, MRE); repeatable.",
        ),
    ] = None
    head: Annotated[
        str | None, typer.Option(help="First given entity, before every --entity (MRE).")
    ] = None
    tail: Annotated[
        str | None, typer.Option(help="Second given entity, before every --entity (MRE).")
    ] = None
    device: Device = "auto"
    as_json: AsJson = False

    def extract(self, load: Callable[[RuntimeConfig], Extractor]) -> None:
        """Print what a model finds in the post.

        Args:
            load: Opens the model; called once the options are known to be sound.

        Raises:
            InputError: an option is of no use, or the model cannot be opened.
        """
        given = given_entities(self.text, self.head, self.tail, self.entity)
        with shown_messages():
            extraction = load(RuntimeConfig(device=self.device)).extract(
                self.text, image=self.image, context=self.context, entities=given
            )
        show_extraction(extraction, as_json=self.as_json)


def given_entities(
    text: str, head: str | None, tail: str | None, entities: Sequence[str] | None
) -> list[tuple[int, int]]:
    """Characters [start, end) of the entities that options give, head and tail first.

    Raises:
        InputError: head without tail, or an entity that the text does not hold exactly once.
    """
    if (head is None) != (tail is None):
        raise InputError("--head and --tail: give both, or neither")
    options = [("--head", head), ("--tail", tail), *(("--entity", e) for e in entities or ())]
    return [find_characters(name, wanted, text) for name, wanted in options if wanted is not None]


def find_characters(option: str, wanted: str, text: str) -> tuple[int, int]:
    """Where a given entity stands in the text: its only place, or the characters that it names.

    Raises:
        InputError: the text does not hold it, or holds it more than once.
    """
    count = text.count(wanted) if wanted else 0
    if count == 0 and (place := re.fullmatch(r"(\d+)-(\d+)", wanted)):
        return int(place[1]), int(place[2])
    if count != 1:
        times = "not" if count == 0 else f"{count} times"
        raise InputError(
            f"{option} {wanted!r}: found {times} in the text, expected once; characters can be "
            "given as START-END"
        )
    start = text.index(wanted)
    return start, start + len(wanted)


def show_extraction(extraction: Extraction, *, as_json: bool) -> None:
    """Print what was found in a post."""
    if as_json:
        print(json.dumps(extraction.to_json(), ensure_ascii=False))
        return
    from rich.table import Table
    from rich.text import Text

    from shapca.commands.display.console import open_console

    console = open_console()
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
