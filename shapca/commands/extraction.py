"""Extraction from posts, whichever command brings the model: options, work and result."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapca.commands.display.messages import shown_messages
from shapca.commands.options import AsJson, Computing, Device
from shapca.config import RuntimeConfig
from shapca.errors import InputError
from shapca.words import counted

if TYPE_CHECKING:
    from shapca.config import Precision
    from shapca.prediction import Extraction, Extractor

    Load = Callable[[RuntimeConfig, Precision | None], Extractor]


@dataclass(frozen=True)
class PostOptions:
    """A post to extract from, or a file of them, as the options of a command."""

    text: Annotated[str | None, typer.Option(help="The post.")] = None
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
    posts: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="JSONL",
            help="Instead of --text: a file of posts, one JSON object a line with id, text or "
            "words, image, context, entities (as in docs/data.md).",
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --input: where a line goes for each post. Given again, the same command "
            "goes on after the last whole line."
        ),
    ] = None
    images: Annotated[
        Path | None, typer.Option(help="With --input: folder of the pictures that lines name.")
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option(help="With --input: KEY=NAME, your name of a key; repeatable."),
    ] = None
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="With --input: a key that is not read; repeatable."),
    ] = None
    characters: Annotated[
        bool,
        typer.Option(
            "--characters", help="With --input: each character of a text is a word, as in Chinese."
        ),
    ] = False
    device: Device = "auto"
    precision: Computing = None
    as_json: AsJson = False

    def extract(self, load: Load) -> None:
        """Print what a model finds in the post, or write what it finds in a file of them.

        Args:
            load: Opens the model; called once the options are known to be sound.

        Raises:
            InputError: an option is of no use, a post is none, or the model cannot be opened.
        """
        if (self.text is None) == (self.posts is None):
            raise InputError("expected either --text or --input")
        if self.posts is not None:
            self._refuse("--input", "image", "context", "entity", "head", "tail")
            self._extract_file(self.posts, load)
            return
        assert self.text is not None
        self._refuse("--text", "out", "images", "column", "ignore", "characters")
        given = given_entities(self.text, self.head, self.tail, self.entity)
        with shown_messages():
            extraction = load(RuntimeConfig(device=self.device), self.precision).extract(
                self.text, image=self.image, context=self.context, entities=given
            )
        show_extraction(extraction, as_json=self.as_json)

    def _refuse(self, beside: str, *names: str) -> None:
        for name in names:
            if getattr(self, name):
                raise InputError(f"--{name}: of no use beside {beside}")

    def _extract_file(self, file: Path, load: Load) -> None:
        from shapca.commands.data_arguments import columns
        from shapca.commands.display.progress import progress_report
        from shapca.data.manifest import hash_file
        from shapca.prediction.found_file import predict_file
        from shapca.prediction.post_file import PostForm, read_lines, read_posts

        if self.out is None:
            raise InputError("--input: expected --out too, the file to write")
        form = PostForm(
            self.images, columns(self.column or []), tuple(self.ignore or ()), self.characters
        )
        lines = read_lines(file)
        try:
            with shown_messages(), progress_report() as progress:
                extractor = load(RuntimeConfig(device=self.device), self.precision)
                options = form.to_json()
                if extractor.precision != extractor.config.optimisation.precision:
                    options |= {"precision": extractor.precision}
                source = {
                    "input": hash_file(file),
                    "model": extractor.fingerprint(),
                    "options": options,
                }
                posts = read_posts(lines, form, extractor)
                report = predict_file(extractor, posts, self.out, source, progress)
        except KeyboardInterrupt:
            print(
                f"interrupted; what is done is in {self.out}: run the same command again to go on",
                file=sys.stderr,
            )
            raise
        if self.as_json:
            print(json.dumps({**asdict(report), "out": str(self.out)}, ensure_ascii=False))
            return
        kept = f" ({report.num_kept:,} there already)" if report.num_kept else ""
        print(
            f"{self.out}: {counted(report.num_posts, 'post')}{kept}, "
            f"{counted(report.num_entities, 'entity', 'entities')} and "
            f"{counted(report.num_relations, 'relation')} found"
        )


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
    table = Table("entity", "type", "characters", "confidence", box=None, pad_edge=False)
    for entity in extraction.entities:
        place = f"{entity.start}-{entity.end}"
        table.add_row(
            Text(entity.text), Text(entity.type or "given"), place, _shown(entity.confidence)
        )
    console.print(table)
    for relation in extraction.relations:
        sure = relation.confidence
        console.print(
            f"{relation.head.text} --{relation.type}--> {relation.tail.text}"
            + ("" if sure is None else f"  {_shown(sure)}"),
            markup=False,
        )


def _shown(confidence: float | None) -> str:
    return "" if confidence is None else f"{confidence:.3f}"
