"""Posts to extract from, read from a file of JSON lines: the keys are those of own data sets."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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

logger = logging.getLogger(__name__)


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

    A picture that is not there is one that a post has not, as in a prepared data set; how many
    are missing is logged.

    Raises:
        InputError: a line that is not as expected, that holds what the model does not read, or
            whose id was there before, the message beginning with file and line; or none of the
            pictures is there.
    """
    check_columns(form.columns)
    posts: list[NumberedPost] = []
    seen: dict[str, str] = {}
    missing: list[str] = []
    num_named = 0
    for number, (place, record) in enumerate(lines, start=1):
        if isinstance(record, Mapping):
            record = {name: value for name, value in record.items() if name not in form.unread}
        post = _read_post(record, place, form, extractor.config)
        try:
            extractor.read(post)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        if post.image is not None:
            num_named += 1
            if not post.image.is_file():
                missing.append(f"{place}: {post.image}")
                post = replace(post, image=None)
        given = record.get(form.columns.get("id", "id"))
        name = number if given is None else given
        if (before := seen.setdefault(str(name).strip(), place)) != place:
            raise InputError(f"{place}: the id {shown(name)} is that of {before} too")
        posts.append(NumberedPost(place, name, post))
    if missing:
        if len(missing) == num_named:
            raise InputError(f"{missing[0]} is not there, nor any other picture")
        logger.warning("%d of %d pictures are not there: %s …", len(missing), num_named, missing[0])
    return posts


def _read_post(record: Any, place: str, form: PostForm, config: ExperimentConfig) -> Post:
    keys = {key: form.columns.get(key, key) for key in KEYS}
    given = record if isinstance(record, Mapping) else {}
    values = {key: given.get(name) for key, name in keys.items()}
    for key in sorted(set(KEYS) - _keys_read(config)):
        if values[key] not in (None, [], {}):
            raise InputError(
                f"{place}: the model does not read {keys[key]!r}; --ignore {keys[key]} passes "
                "over it"
            )
    raw = read_record(record, place, RecordForm(form.columns, characters=form.characters))
    text, words = values["text"], None
    if text is None:
        text, words = " ".join(raw.words), _joined(raw.words)
    elif form.characters:
        words = tuple(Word(c, i, i + 1) for i, c in enumerate(text) if not c.isspace())
    if raw.pos and words is None:
        raise InputError(f"{place}: {keys['pos']!r} counts words; expected 'words', not 'text'")
    if len(raw.relations) > 1:
        raise InputError(f"{place}: {len(raw.relations)} relations; expected one at most")
    places = WordSplitter().split(text) if words is None else words
    spans = [entity.span for entity in raw.entities]
    for relation in raw.relations:
        spans = [relation.head, relation.tail]
    return Post(
        text,
        image=_picture(values["image"], place, form),
        context=_context(raw.contexts, config.data.contexts, place),
        entities=tuple((places[start].start, places[end - 1].end) for start, end in spans),
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
        keys |= {"entities", "relations"}  # a relation says which one is the head
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
    return form.images / name


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
