"""Records of posts, as JSON lines and tables hold them: their keys, and what each may be.

Spans count words where a record has `words`, and characters where it has `text`; ends are
exclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from shapca.data.decoding import Embedded
from shapca.data.preparation.readers.source import (
    RawPost,
    checked_image,
    checked_text,
    differing_name,
    shown,
)
from shapca.data.schema import NONE, POS_TAGS, Entity, Relation, Span
from shapca.data.word_splitter import Word, WordSplitter
from shapca.errors import InputError

KEYS = (
    "id", "words", "text", "tags", "entities", "relations", "image", "image_id", "context", "pos",
)  # fmt: skip
CONTEXT_SET = "captions"
"""Name of the context set that `context` makes, where it is a text."""


@dataclass(frozen=True)
class RecordForm:
    """How records are read.

    Attributes:
        columns: Key to the name under which the records have it.
        unread: Names that are passed over.
        characters: In a `text` each character but white space is a word.
        embed: Takes the bytes of a picture that a record holds; `None`: none may.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    characters: bool = False
    embed: Callable[[bytes], Embedded] | None = None


def read_record(record: Any, place: str, form: RecordForm) -> RawPost:
    """A record as a post.

    Raises:
        InputError: an unknown key, a value of another kind, or a span out of range or inside a
            word; the message begins with `place` (file:line).
    """
    values = _by_key(record, place, form)
    given = [key for key in ("words", "text") if values.get(key) is not None]
    if len(given) != 1:
        raise InputError(f"{place}: expected either 'words' or 'text', found {given or 'neither'}")
    words = _words(values, place, form)
    spelled = tuple(word.text for word in words)
    in_words = given == ["words"]

    def span(value: Any, what: str) -> Span:
        length = len(words) if in_words else len(values["text"])
        return _span(value, words, what, place, "words" if in_words else "characters", length)

    tags = values.get("tags")
    if tags is not None:
        if values.get("entities") is not None:
            raise InputError(f"{place}: both 'tags' and 'entities'; expected one of them")
        tags = _texts(tags, "tags", len(spelled), place)
    differing: list[str] = []
    entities = []
    for number, item in enumerate(_items(values.get("entities"), "entities", place)):
        what = f"entities[{number}]"
        start, end, kind = _triple(item, ("start", "end", "type"), what, place, optional=1)
        words_of = span((start, end), what)
        if isinstance(item, Mapping):
            difference = differing_name(item, what, spelled[slice(*words_of)], place)
            differing += [difference] if difference else []
        entities.append(Entity(*words_of, _optional_name(kind, f"{what}.type", place)))
    relations = []
    for number, item in enumerate(_items(values.get("relations"), "relations", place)):
        what = f"relations[{number}]"
        head, tail, kind = _triple(item, ("head", "tail", "type"), what, place)
        head = _end(head, entities, f"{what}.head", place, span)
        tail = _end(tail, entities, f"{what}.tail", place, span)
        name = _optional_name(kind, f"{what}.type", place)
        if name is None:
            raise InputError(f"{place}: {what}.type is None; expected a name, {NONE!r} for none")
        relations.append(Relation(head, tail, name))
    images = _images(values.get("image"), place)
    post_id = _id(values.get("id"), place)
    image, path, picture = _first_image(images, post_id, place, form)
    if (named := values.get("image_id")) is not None:
        image = checked_image(named, place)
    return RawPost(
        place=place,
        words=spelled,
        id=post_id,
        tags=tags,
        pos=_pos(values.get("pos"), len(spelled), place),
        entities=tuple(entities),
        has_entities=values.get("entities") is not None,
        relations=tuple(relations),
        image=image,
        path=path,
        picture=picture,
        contexts=_contexts(values.get("context"), place),
        further_images=max(0, len(images) - 1),
        differing_names=tuple(differing),
    )


def check_columns(columns: Mapping[str, str]) -> None:
    """Hold renamed keys against those that are read.

    Raises:
        InputError: an unknown key, or a name that would be read as two.
    """
    if unknown := sorted(set(columns) - set(KEYS)):
        raise InputError(f"--column {unknown[0]}: expected one of {', '.join(KEYS)}")
    read = [columns.get(key, key) for key in KEYS]
    if twice := [name for name in read if read.count(name) > 1]:
        raise InputError(f"--column: {shown(twice[0])} would be read as two keys")


def _by_key(record: Any, place: str, form: RecordForm) -> dict[str, Any]:
    if not isinstance(record, Mapping):
        raise InputError(f"{place}: expected an object, found {type(record).__name__}")
    keys = {form.columns.get(key, key): key for key in KEYS}
    unknown = sorted(str(name) for name in record if name not in keys and name not in form.unread)
    if unknown:
        raise InputError(
            f"{place}: unknown key {shown(unknown[0])}; expected {', '.join(keys)} (--column "
            "KEY=NAME reads a name as one of them, --ignore NAME passes over it)"
        )
    return {keys[name]: value for name, value in record.items() if name not in form.unread}


def _words(values: Mapping[str, Any], place: str, form: RecordForm) -> list[Word]:
    """Words with their places; those of given words are numbers of words."""
    if values.get("words") is not None:
        texts = _texts(values["words"], "words", None, place)
        if not texts or not all(texts):
            raise InputError(f"{place}: 'words' is empty, or has an empty word")
        return [Word(text, index, index + 1) for index, text in enumerate(texts)]
    text = values["text"]
    if not isinstance(text, str):
        raise InputError(f"{place}: 'text' is {shown(text)}, expected a text")
    checked_text(text, place)
    if form.characters:
        found = [Word(c, index, index + 1) for index, c in enumerate(text) if not c.isspace()]
    else:
        found = WordSplitter().split(text)
    if not found:
        raise InputError(f"{place}: 'text' has no words")
    return found


def _span(
    value: tuple[Any, Any], words: Sequence[Word], what: str, place: str, unit: str, length: int
) -> Span:
    start, end = value
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        raise InputError(
            f"{place}: {what} has the span [{shown(start)}, {shown(end)}]; expected "
            f"0 <= start < end <= {length} ({unit}; the end is exclusive)"
        )
    inside = [number for number, word in enumerate(words) if word.start < end and start < word.end]
    if not inside:
        raise InputError(f"{place}: {what} has the span [{start}, {end}], where there is no word")
    for word in (words[inside[0]], words[inside[-1]]):
        if word.start < start or word.end > end:
            raise InputError(
                f"{place}: {what} has the span [{start}, {end}], which ends or begins inside the "
                f"word {shown(word.text)}; give 'words' with spans of words where yours are others"
            )
    return Span(inside[0], inside[-1] + 1)


def _end(
    value: Any,
    entities: Sequence[Entity],
    what: str,
    place: str,
    span: Callable[[Any, str], Span],
) -> Span:
    """Head or tail of a relation: an entity by its number, or a span."""
    if type(value) is int:
        if not 0 <= value < len(entities):
            raise InputError(
                f"{place}: {what} is entity {value}; expected 0 to {len(entities) - 1}, or a span"
            )
        return entities[value].span
    if isinstance(value, Mapping) and set(value) == {"start", "end"}:
        value = (value["start"], value["end"])
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InputError(
            f"{place}: {what} is {shown(value)}; expected the number of an entity or [start, end]"
        )
    return span((value[0], value[1]), what)


def _items(value: Any, key: str, place: str) -> list[Any]:
    if isinstance(value, Mapping) and all(isinstance(part, list) for part in value.values()):
        lengths = {len(part) for part in value.values()}  # a table's struct of lists
        if len(lengths) <= 1:
            return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if not isinstance(value, list | None):
        raise InputError(f"{place}: {key!r} is {shown(value)}, expected a list")
    return value or []


def _triple(
    item: Any, keys: tuple[str, str, str], what: str, place: str, optional: int = 0
) -> tuple[Any, Any, Any]:
    """The three values of an entity or relation, which may be an object or a list."""
    needed = keys[: len(keys) - optional]
    if isinstance(item, Mapping):
        unknown = set(item) - {*keys, "name"}
        if not unknown and set(needed) <= set(item):
            return item[keys[0]], item[keys[1]], item.get(keys[2])
    elif isinstance(item, list | tuple) and len(needed) <= len(item) <= 3:
        return item[0], item[1], item[2] if len(item) == 3 else None
    raise InputError(f"{place}: {what} is {shown(item)}; expected {', '.join(keys)}")


def _optional_name(value: Any, what: str, place: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not value or not value.isprintable()):
        raise InputError(f"{place}: {what} is {shown(value)}, expected a name")
    return value if value is None else checked_text(value.strip(), place)


def _texts(value: Any, key: str, length: int | None, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{place}: {key!r} is {shown(value)}, expected a list of texts")
    if length is not None and len(value) != length:
        raise InputError(f"{place}: {key!r} has {len(value)} items, expected {length}, one a word")
    return tuple(checked_text(item, place) for item in value)


def _pos(value: Any, num_words: int, place: str) -> tuple[str, ...]:
    if value is None:
        return ()
    tags = _texts(value, "pos", num_words, place)
    if unknown := sorted(set(tags) - set(POS_TAGS)):
        raise InputError(
            f"{place}: part of speech {shown(unknown[0])}; expected one of "
            + ", ".join(POS_TAGS[1:])
        )
    return tags


def _id(value: Any, place: str) -> str | None:
    if value is None:
        return None
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InputError(f"{place}: 'id' is {shown(value)}, expected a name or a number")
    return checked_text(value.strip(), place)


def _images(value: Any, place: str) -> list[Any]:
    if value is None:
        return []
    images = value if isinstance(value, list) else [value]
    for image in images:
        if not isinstance(image, str | Mapping) or (
            isinstance(image, Mapping) and set(image) != {"bytes", "path"}
        ):
            raise InputError(f"{place}: 'image' is {shown(image)}, expected a file's name or path")
    return images


def _first_image(
    images: Sequence[Any], post_id: str | None, place: str, form: RecordForm
) -> tuple[str | None, str | None, Embedded | None]:
    """Image id, path with folders, and content of the first image."""
    if not images:
        return None, None, None
    first, picture = images[0], None
    if isinstance(first, Mapping):
        content, first = first["bytes"], first["path"]
        if content is not None:
            if form.embed is None or not isinstance(content, bytes):
                raise InputError(f"{place}: 'image' holds no picture's bytes")
            picture = form.embed(content)
            first = post_id if first is None else str(first).replace("\\", "/").rpartition("/")[2]
        if first is None and content is None:
            return None, None, None
        if first is None:
            raise InputError(f"{place}: a picture without a path needs an 'id' for its post")
    path = PurePosixPath(first)
    if path.is_absolute() or ".." in path.parts or "\\" in first or "\0" in first:
        raise InputError(
            f"{place}: the image {shown(first)} lies outside the folder of images; expected a path "
            "below it"
        )
    return checked_image(path.name, place), str(path) if len(path.parts) > 1 else None, picture


def _contexts(value: Any, place: str) -> dict[str, str]:
    if value is None:
        return {}
    sets = value if isinstance(value, Mapping) else {CONTEXT_SET: value}
    found = {}
    for name, text in sets.items():
        if text is None:  # of a table, whose rows have all the sets
            continue
        if not isinstance(text, str):
            raise InputError(
                f"{place}: 'context' is {shown(value)}, expected a text, or texts by context set"
            )
        found[str(name)] = " ".join(checked_text(text, place).split())
    return found
