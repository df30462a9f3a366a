"""JMERE (MJERE), version 1: a JSON list of posts, each with pairs of typed entities and a relation.

Yuan et al., AAAI 2023. `label_list` is a list of one-element lists. There are 4 entity types and
21 relation types (MNRE's names without their path, `alternate_names` of persons and of
organisations being one), which with `None` make the 26 labels of a word pair. Version 1 does not
merge posts: one sentence may be spread over several rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shapca.data.preparation.readers.source import (
    SourceData,
    checked_image,
    checked_span,
    checked_words,
    differing_name,
    notes_of_names,
    read_json,
    shown,
    split_files,
    with_unique_ids,
)
from shapca.data.schema import Entity, Example, Labels, Relation, Span
from shapca.errors import InputError

# In the order of EEGA's labels: of relations with equally many cells the first one is read.
ENTITY_TYPES = ("per", "org", "misc", "loc")
RELATION_TYPES = (
    "parent", "siblings", "couple", "neighbor", "peer", "charges", "alumi", "alternate_names",
    "place_of_residence", "place_of_birth", "member_of", "subsidiary", "locate_at", "contain",
    "present_in", "awarded", "race", "religion", "nationality", "part_of", "held_on",
)  # fmt: skip
FILES = {
    "train": ("train.json",),
    "valid": ("val.json", "valid.json", "dev.json"),
    "test": ("test.json",),
}


def read(source: Path) -> SourceData:
    """Read `train.json`, `val.json` and `test.json` of a folder.

    Raises:
        InputError: a split is missing or no JSON, or a record is not as expected (file: record n).
    """
    files = split_files(source, FILES)
    differing: list[str] = []
    splits = {split: list(_read_posts(file, differing)) for split, file in files.items()}
    return SourceData(
        labels=Labels("mjere", entity_types=ENTITY_TYPES, relation_types=RELATION_TYPES),
        splits=with_unique_ids(splits),
        files=tuple(files.values()),
        notes=notes_of_names(differing),
    )


def _read_posts(file: Path, differing: list[str]) -> Iterator[Example]:
    records = read_json(file)
    if not isinstance(records, list) or not records:
        raise InputError(f"{file}: expected a JSON list of posts")
    for number, record in enumerate(records, start=1):
        place = f"{file}: record {number}"
        if not isinstance(record, dict):
            raise InputError(f"{place}: expected an object, found {shown(record)}")
        yield _post(record, place, differing)


def _post(record: dict[str, Any], place: str, differing: list[str]) -> Example:
    words = checked_words(record.get("token"), place)
    image = checked_image(record.get("img_id"), place)
    items = record.get("label_list")
    if not isinstance(items, list):
        raise InputError(f"{place}: 'label_list' is {shown(items)}, expected a list of [item]")
    entities: list[Entity] = []
    relations: list[Relation] = []
    types: dict[Span, str | None] = {}
    for item in items:
        if not isinstance(item, list) or len(item) != 1 or not isinstance(item[0], dict):
            raise InputError(
                f"{place}: 'label_list' holds {shown(item)}, expected one-element lists of objects"
            )
        first = _entity(item[0], "beg_ent", words, place, differing)
        second = _entity(item[0], "sec_ent", words, place, differing)
        relation = item[0].get("relation")
        if relation not in RELATION_TYPES:
            expected = ", ".join(RELATION_TYPES)
            raise InputError(
                f"{place}: unknown relation {shown(relation)}; expected one of {expected}"
            )
        for entity in (first, second):
            if types.setdefault(entity.span, entity.type) != entity.type:
                raise InputError(
                    f"{place}: words [{entity.start}, {entity.end}) are both "
                    f"{types[entity.span]!r} and {entity.type!r}; expected one type a span"
                )
        entities += [first, second]
        relations.append(Relation(first.span, second.span, relation))
    return Example(
        id=image,
        words=words,
        image=image,
        entities=tuple(dict.fromkeys(entities)),
        relations=tuple(dict.fromkeys(relations)),
    )


def _entity(
    item: dict[str, Any], key: str, words: tuple[str, ...], place: str, differing: list[str]
) -> Entity:
    span = checked_span(item, key, len(words), place)
    difference = differing_name(item[key], repr(key), words[slice(*span)], place)
    differing += [difference] if difference else []
    kind = item[key].get("tags")
    if kind not in ENTITY_TYPES:
        expected = ", ".join(ENTITY_TYPES)
        raise InputError(f"{place}: unknown entity type {shown(kind)}; expected one of {expected}")
    return Entity(*span, kind)
