"""What every reader gives, and the steps that they share: files, image ids, unique example ids."""

from __future__ import annotations

import ast
import dataclasses
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shapca.data.decoding import Embedded
from shapca.data.images import image_id
from shapca.data.schema import SPLITS, Entity, Example, Labels, Relation, Span
from shapca.errors import InputError

LONGEST_SHOWN = 80
"""Characters of a value that a message shows."""
NUM_SHOWN = 5
"""Examples that a note names."""


@dataclass(frozen=True)
class SourceData:
    """A data set as read, before parts of speech, caption files and images.

    Attributes:
        labels: Task and label sets.
        splits: Train, valid and test examples, `pos` still empty unless the source has it.
        files: The files that were read, in order.
        notes: What was met on the way: `num_x` counts it, `x` names the first few.
        paths: Image id to the picture's path below the folder of images, where the source names it.
        embedded: Image id to the picture, where the source holds it.
        contexts: Context set to {image id: text}, where the source holds them.
        many_images: Pictures are named `ID_…`, several a post.
    """

    labels: Labels
    splits: Mapping[str, Sequence[Example]]
    files: tuple[Path, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    embedded: Mapping[str, Embedded] = field(default_factory=dict)
    contexts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    many_images: bool = False


@dataclass(frozen=True)
class RawPost:
    """A post as a file has it, before its tags and types are held against those of the others.

    Attributes:
        place: File and line, for messages.
        words: Its words.
        id: As written; `None` where the file has none.
        tags: One a word, of any scheme; `None` where entities are given as spans.
        places: File and line of each word, where words have lines of their own.
        pos: Parts of speech, where the file has them.
        entities: Where there are no tags.
        has_entities: Whether the file says which entities there are, be it none.
        relations: Between spans.
        image: Image id.
        path: Of the picture, where it was written with folders.
        picture: Where the file holds it.
        contexts: Context set to text.
        further_images: Images after the first.
        differing_names: Names of entities that are not those of their words.
    """

    place: str
    words: tuple[str, ...]
    id: str | None = None
    tags: tuple[str, ...] | None = None
    places: tuple[str, ...] = ()
    pos: tuple[str, ...] = ()
    entities: tuple[Entity, ...] = ()
    has_entities: bool = False
    relations: tuple[Relation, ...] = ()
    image: str | None = None
    path: str | None = None
    picture: Embedded | None = None
    contexts: Mapping[str, str] = field(default_factory=dict)
    further_images: int = 0
    differing_names: tuple[str, ...] = ()

    def place_of(self, word: int) -> str:
        """File and line of a word."""
        return self.places[word] if self.places else f"{self.place}: word {word + 1}"


LONGEST_LITERAL = 200_000
"""Characters of one post or caption as a Python literal; published ones have a few thousand."""

Reader = Callable[[Path], SourceData]
"""Reads a benchmark's public files from a folder."""


def split_files(source: Path, candidates: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """Find the file of each split.

    Args:
        source: The folder of the public files.
        candidates: For each split, the names under which its file goes round.

    Raises:
        InputError: the folder or a split is missing, or two files claim one split.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; expected the data set's public files")
    files = {}
    for split in SPLITS:
        names = candidates[split]
        present = [source / name for name in names if (source / name).is_file()]
        if not present:
            quoted = " or ".join(repr(name) for name in names)
            there = ", ".join(sorted(file.name for file in source.iterdir())[:9]) or "nothing"
            raise InputError(
                f"{source}: the {split} split is missing; expected {quoted}, found {there}"
            )
        if len(present) > 1:
            both = " and ".join(repr(file.name) for file in present)
            raise InputError(f"{source}: {both} both claim the {split} split; remove one")
        files[split] = present[0]
    return files


def read_text(file: Path) -> str:
    """A file's text, any byte-order mark removed.

    Raises:
        InputError: it cannot be read or is not UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 text (byte {error.start})") from error


def read_json(file: Path) -> Any:
    """A file's JSON.

    Raises:
        InputError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise InputError(f"{file}:{error.lineno}: not JSON ({error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON that can be read ({error})") from error


def shown(value: Any) -> str:
    """A value as a message shows it, whatever its length."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} …"


def literal(text: str) -> Any:
    """A Python literal; `None` where the text is none."""
    if len(text) > LONGEST_LITERAL:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that are none
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines from number 1, ended by LF or CRLF alone: U+2028 and its kin may be part of a word."""
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        yield number, line.removesuffix("\r")


def checked_image(name: Any, place: str) -> str:
    """The image id of a source.

    Raises:
        InputError: no plain file name; the message begins with `place` (file:line).
    """
    if not isinstance(name, str):
        raise InputError(f"{place}: expected an image id as text, found {shown(name)}")
    try:
        return image_id(name)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error


def checked_text(text: str, place: str) -> str:
    """A text that any file can hold: an escape or a wrong byte may have left half a character.

    Raises:
        InputError: a lone surrogate in it; the message begins with `place` (file:line).
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = text[max(0, error.start - 20) : error.start + 20]
        raise InputError(
            f"{place}: {text[error.start]!r} in {around!r} is half a character, or a byte that is "
            "not UTF-8; expected valid Unicode text"
        ) from error
    return text


def checked_words(words: Any, place: str) -> tuple[str, ...]:
    """The words of a record.

    Raises:
        InputError: no list of non-empty strings, or a word with half a character.
    """
    valid = isinstance(words, list) and words and all(isinstance(w, str) and w for w in words)
    if not valid:
        raise InputError(f"{place}: 'token' is {shown(words)}, expected a list of non-empty words")
    return tuple(checked_text(word, place) for word in words)


def checked_span(record: Any, key: str, num_words: int, place: str) -> Span:
    """The span under `pos` of one of a record's entities.

    Raises:
        InputError: the entity or its span is missing or out of range.
    """
    entity = record.get(key)
    if not isinstance(entity, dict) or "pos" not in entity:
        raise InputError(f"{place}: a relation without its entities: expected {key!r} with 'pos'")
    span = entity["pos"]
    numbers = isinstance(span, list | tuple) and len(span) == 2
    if not numbers or not all(type(number) is int for number in span):
        raise InputError(f"{place}: {key!r} has the span {shown(span)}, expected [start, end]")
    start, end = span
    if not 0 <= start < end <= num_words:
        raise InputError(
            f"{place}: {key!r} has the span [{start}, {end}], out of range: "
            f"expected 0 <= start < end <= {num_words} (words; the end is exclusive)"
        )
    return Span(start, end)


def differing_name(entity: Any, key: str, words: Sequence[str], place: str) -> str | None:
    """How an entity's `name` differs from the words of its span; `None` where it does not.

    White space does not count, since words were joined in many ways.
    """
    name = entity.get("name")
    spelled = "".join(words)
    if name is None or "".join(str(name).split()) == "".join(spelled.split()):
        return None
    return f"{place}: {key} is named {shown(name)}, its words are {shown(' '.join(words))}"


def notes_of_names(differing: Sequence[str]) -> dict[str, Any]:
    """What is noted of names that differ; empty where none does."""
    if not differing:
        return {}
    return {"num_differing_names": len(differing), "differing_names": list(differing[:NUM_SHOWN])}


def with_unique_ids(splits: Mapping[str, Sequence[Example]]) -> dict[str, tuple[Example, ...]]:
    """Number repeated ids in reading order: `a`, `a#2`, `a#3`, over train, valid and test.

    Several examples may share a post (one relation each), hence its image id.
    """
    seen: Counter[str] = Counter()
    unique: dict[str, tuple[Example, ...]] = {}
    for split in SPLITS:
        numbered = []
        for example in splits[split]:
            seen[example.id] += 1
            count = seen[example.id]
            new_id = example.id if count == 1 else f"{example.id}#{count}"
            numbered.append(dataclasses.replace(example, id=new_id))
        unique[split] = tuple(numbered)
    return unique
