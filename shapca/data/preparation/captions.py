"""Bridging contexts: caption files in four forms become one text an image.

Forms, told apart by their content:

- lines `123.jpg :caption`;
- one JSON object `{"123.jpg": "caption", …}`;
- JSON lines `{"img_id" | "image" | "image_id" | "id": "123.jpg",
  "text" | "caption" | "context": "…"}`;
- lines with the same keys as Python-literal dicts.

JSON lines may be the records of `shapca contexts generate`: one whose picture got no text counts as
an empty caption, whatever the model said instead.

White space in a caption is collapsed, since captions go round with line breaks of their own.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapca.config import NAME
from shapca.data.images import image_id
from shapca.data.preparation.context_record import accepted_text, is_generated
from shapca.data.preparation.readers.source import (
    checked_text,
    literal,
    numbered_lines,
    read_text,
    shown,
)
from shapca.errors import InputError

ID_KEYS = ("img_id", "image", "image_id", "id")
TEXT_KEYS = ("text", "caption", "context")
FORMS = "'ID.jpg :caption' lines, a JSON object, JSON lines or lines of Python-literal dicts"
_NUM_SHOWN = 5

Caption = tuple[str, str, int]
"""Image id as written, caption as written, line number (0 in a JSON object)."""


@dataclass(frozen=True)
class ContextReport:
    """What became of the captions of one context set.

    Attributes:
        num_captions: Images of the data set with a caption that says something.
        num_empty: Images whose only caption is empty.
        num_without: Images of the data set without any caption.
        num_unknown: Captions whose image no post of the data set has; left out.
        num_repeated: Further captions of an image with the same text, or empty beside a text.
        num_conflicting: Further captions of an image with another text; the first is kept.
        unknown: The first few unknown ids.
        without: The first few ids without a caption.
        conflicting: The first few ids with differing captions.
    """

    num_captions: int
    num_empty: int
    num_without: int
    num_unknown: int
    num_repeated: int
    num_conflicting: int
    unknown: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    conflicting: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        record = dataclasses.asdict(self)
        return {key: list(v) if isinstance(v, tuple) else v for key, v in record.items()}


def parse_context_argument(argument: str) -> tuple[str, tuple[Path, ...]]:
    """Read `FILE`, `NAME=FILE` or `NAME=FILE,FILE,…` from a command line.

    Without a name the set takes the file's name up to its suffix.

    Raises:
        InputError: the name is not of letters, digits, `.`, `_` and `-`.
    """
    name, equals, files = argument.partition("=")
    if not equals or Path(argument).is_file():
        name, files = Path(argument).stem, argument
    paths = (files,) if Path(files).is_file() else tuple(files.split(","))
    if not re.fullmatch(NAME, name) or not all(paths):
        raise InputError(
            f"contexts {argument!r}: expected FILE, NAME=FILE or NAME=FILE,FILE with a name of "
            "letters, digits, '.', '_' and '-'"
        )
    return name, tuple(Path(path) for path in paths)


def import_contexts(
    files: Sequence[Path], images: Collection[str]
) -> tuple[dict[str, str], ContextReport]:
    """Read one context set, from one file or from several (one a split).

    Args:
        files: Caption files; each may have another form.
        images: The image ids of the data set.

    Returns:
        Image id to caption, empty captions included; and what was met on the way.

    Raises:
        InputError: a file is missing, of unknown form, or has a bad line (file:line), or no
            caption belongs to the data set.
    """
    known = set(images)
    texts: dict[str, str] = {}
    unknown: list[str] = []
    conflicting: list[str] = []
    num_repeated = 0
    for file in files:
        for written_id, caption, number in _captions(file):
            place = f"{file}:{number}" if number else f"{file}"
            try:
                key = image_id(written_id)
            except ValueError as error:
                raise InputError(f"{place}: {error}") from error
            checked_text(caption, place if number else f"{file}: {written_id!r}")
            text = " ".join(caption.split())
            if key not in known:
                unknown.append(written_id)
            elif not texts.get(key):
                num_repeated += key in texts
                texts[key] = text
            elif text in ("", texts[key]):
                num_repeated += 1
            else:
                conflicting.append(key)
    names = ", ".join(str(file) for file in files)
    if not texts:
        raise InputError(
            f"{names}: not one caption belongs to an image of the data set; its ids are like "
            f"{min(known, default='(none)')!r}, those of the captions like "
            f"{shown(next(iter(unknown), '(none)'))}"
        )
    report = dataclasses.replace(
        report_of(texts, known),
        num_unknown=len(unknown),
        num_repeated=num_repeated,
        num_conflicting=len(conflicting),
        unknown=tuple(dict.fromkeys(unknown))[:_NUM_SHOWN],
        conflicting=tuple(dict.fromkeys(conflicting))[:_NUM_SHOWN],
    )
    return texts, report


def report_of(texts: Mapping[str, str], images: Collection[str]) -> ContextReport:
    """The counts of a context set in which nothing was unknown, repeated or conflicting.

    Args:
        texts: Image id to caption.
        images: The image ids of the data set.
    """
    without = sorted(set(images) - set(texts))
    return ContextReport(
        num_captions=sum(bool(text) for text in texts.values()),
        num_empty=sum(not text for text in texts.values()),
        num_without=len(without),
        num_unknown=0,
        num_repeated=0,
        num_conflicting=0,
        without=tuple(without[:_NUM_SHOWN]),
    )


def _captions(file: Path) -> Iterator[Caption]:
    """Captions of a file, whatever its form."""
    lines = [(number, line.strip()) for number, line in numbered_lines(file)]
    lines = [(number, line) for number, line in lines if line]
    if not lines:
        raise InputError(f"{file}: empty; expected {FORMS}")
    first_number, first = lines[0]
    if not first.startswith("{"):
        if first.startswith("[") or " :" not in first:
            raise InputError(
                f"{file}:{first_number}: unknown form ({first[:60]!r} …); expected {FORMS}"
            )
        return _colon_lines(file, lines)
    if (record := _parsed(json.loads, first)) is not None:
        if len(lines) > 1 or (record.keys() & set(ID_KEYS) and record.keys() & set(TEXT_KEYS)):
            return _record_lines(file, lines, json.loads, "a JSON object")
    elif _parsed(literal, first) is not None:
        return _record_lines(file, lines, literal, "a Python-literal dict")
    return _json_object(file)


def _parsed(parse: Callable[[str], Any], text: str) -> dict[str, Any] | None:
    """A dict from its text; `None` where the text is something else."""
    try:
        value = parse(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _colon_lines(file: Path, lines: list[tuple[int, str]]) -> Iterator[Caption]:
    for number, line in lines:
        name, colon, caption = line.partition(" :")
        if not colon or not name or any(character.isspace() for character in name):
            raise InputError(
                f"{file}:{number}: {line[:60]!r} … is not of the form 'ID.jpg :caption'"
            )
        yield name, caption, number


def _record_lines(
    file: Path, lines: list[tuple[int, str]], parse: Callable[[str], Any], form: str
) -> Iterator[Caption]:
    for number, line in lines:
        place = f"{file}:{number}"
        if (record := _parsed(parse, line)) is None:
            raise InputError(f"{place}: {line[:60]!r} … is not {form}, as the lines above are")
        name = _field(record, ID_KEYS, "an image id", place)
        text = _field(record, TEXT_KEYS, "a caption", place)
        if is_generated(record):
            try:
                text = accepted_text(record)
            except ValueError as error:
                raise InputError(f"{place}: no record of a generated context: {error}") from error
        yield name, text, number


def _field(record: dict[str, Any], keys: tuple[str, ...], what: str, place: str) -> str:
    present = [key for key in keys if key in record]
    if not present or not isinstance(record[present[0]], str):
        quoted = ", ".join(repr(key) for key in keys)
        raise InputError(f"{place}: expected {what}, as text under one of {quoted}")
    value: str = record[present[0]]
    return value


def _json_object(file: Path) -> Iterator[Caption]:
    pairs: list[tuple[str, Any]] = []

    def keep(items: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = items  # the outermost object comes last, and repeated keys are kept
        return dict(items)

    try:
        json.loads(read_text(file), object_pairs_hook=keep)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise InputError(f"{file}:{line}: unknown form ({error}); expected {FORMS}") from error
    for key, value in pairs:
        if not isinstance(value, str):
            raise InputError(f"{file}: {shown(key)} has the caption {shown(value)}, expected text")
        yield key, value, 0
