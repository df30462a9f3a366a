"""Posts to extract from, read from a file of JSON lines: the keys are those of own data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shapca.config import ExperimentConfig
from shapca.data.preparation.readers.records import (
    KEYS,
    RecordForm,
    check_columns,
    read_record,
)
from shapca.data.preparation.readers.source import numbered_lines, shown
from shapca.data.word_splitter import Word, WordSplitter
from shapca.errors import InputError
from shapca.prediction.extraction import Post
from shapca.prediction.extractor import Extractor


@dataclass(frozen=True)
class NumberedPost:
    """A post of a file.

    Attributes:
        place: File and line, for messages.
        id: As the line has it; its number in order where it has none.
        post: What is extracted from.
    """

    place: str
    id: str | int
    post: Post


@dataclass(frozen=True)
class PostForm:
    """How the lines of a file are read.

    Attributes:
        images: Folder of the pictures; `None`: no line may name one.
        columns: Key to the name under which the lines have it.
        unread: Names that are passed over.
        characters: In a `text` each character but white space is a word.
    """

    images: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    characters: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside what was found."""
        images = None if self.images is None else str(self.images)
        return {
            "images": images,
            "columns": dict(self.columns),
            "unread": list(self.unread),
            "characters": self.characters,
        }


Line = tuple[str, Any]
"""File and line, and the JSON that is there."""


def read_lines(file: Path) -> list[Line]:
    """The JSON of each line that is not blank.

    Raises:
        InputError: the file cannot be read or has no lines, or a line is no JSON (file:line).
    """
    lines = []
    for number, line in numbered_lines(file):
        if line.strip():
            place = f"{file}:{number}"
            try:
                lines.append((place, json.loads(line)))
            except (ValueError, RecursionError) as error:
                reason = getattr(error, "msg", error)
                raise InputError(
                    f"{place}: not JSON ({reason}); expected one object a line"
                ) from error
    if not lines:
        raise InputError(f"{file}: no posts; expected one JSON object a line")
    return lines


def read_posts(lines: Sequence[Line], form: PostForm, extractor: Extractor) -> list[NumberedPost]:
    """Lines as posts that a model can read; pictures are looked for, and not opened.

    Raises:
        InputError: a line that is not as expected, that holds what the model does not read, or
            whose id was there before; the message begins with file and line.
    """
    check_columns(form.columns)
    posts, seen = [], {}
    for number, (place, record) in enumerate(lines, start=1):
        post = _read_post(record, place, form, extractor.config)
        try:
            extractor.read(post)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        given = record.get(form.columns.get("id", "id"))
        name = number if given is None else given
        if (before := seen.setdefault(str(name).strip(), place)) != place:
            raise InputError(f"{place}: the id {shown(name)} is that of {before} too")
        posts.append(NumberedPost(place, name, post))
    return posts


def _read_post(record: Any, place: str, form: PostForm, config: ExperimentConfig) -> Post:
    raw = read_record(record, place, RecordForm(form.columns, form.unread, form.characters))
    keys = {key: form.columns.get(key, key) for key in KEYS}
    values = {key: record.get(name) for key, name in keys.items() if name not in form.unread}
    for key in sorted(set(KEYS) - _keys_read(config)):
        if values.get(key) not in (None, [], {}):
            raise InputError(
                f"{place}: the model does not read {keys[key]!r}; --ignore {keys[key]} passes "
                "over it"
            )
    text, words = values["text"], None
    if text is None:
        text, words = " ".join(raw.words), _joined(raw.words)
    elif form.characters:
        words = tuple(Word(c, i, i + 1) for i, c in enumerate(text) if not c.isspace())
    if raw.pos and words is None:
        raise InputError(f"{place}: {keys['pos']!r} counts words; expected 'words', not 'text'")
    places = WordSplitter().split(text) if words is None else words
    return Post(
        text,
        image=_picture(values["image"], place, form),
        context=_context(raw.contexts, config.data.contexts, place),
        entities=tuple((places[e.start].start, places[e.end - 1].end) for e in raw.entities),
        words=words,
        pos=raw.pos,
    )


def _keys_read(config: ExperimentConfig) -> set[str]:
    """What the lines may hold for a model; the rest is what it finds, or what it has no use for."""
    keys = {"id", "text", "words", "pos"}
    if config.image.encoder != "none":
        keys.add("image")
    if config.data.contexts is not None:
        keys.add("context")
    if config.task == "mre":
        keys.add("entities")
    return keys


def _joined(words: Sequence[str]) -> tuple[Word, ...]:
    """Words with their places in the text that blanks make of them."""
    found, start = [], 0
    for word in words:
        found.append(Word(word, start, start + len(word)))
        start += len(word) + 1
    return tuple(found)


def _picture(value: Any, place: str, form: PostForm) -> Path | None:
    names = value if isinstance(value, list) else [] if value is None else [value]
    if not names:
        return None
    if len(names) > 1:
        raise InputError(f"{place}: {len(names)} images; expected one")
    if form.images is None:
        raise InputError(
            f"{place}: an image is named, and no folder of images given; give --images FOLDER"
        )
    name = names[0]["path"] if isinstance(names[0], Mapping) else names[0]  # as tables have it
    file = form.images / name
    if not file.is_file():
        raise InputError(f"{place}: no picture {shown(name)} below {form.images}")
    return file


def _context(contexts: Mapping[str, str], name: str | None, place: str) -> str | None:
    """The context that the model reads: the only one, or the one of its set's name."""
    if name in contexts or not contexts:
        return contexts.get(str(name))
    if len(contexts) > 1:
        raise InputError(
            f"{place}: contexts {', '.join(contexts)}; expected one, or one named {name}, which "
            "the model was trained with"
        )
    return next(iter(contexts.values()))
