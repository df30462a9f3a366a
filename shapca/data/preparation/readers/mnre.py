"""MNRE (MRE): one dict a line, with one pair of given entities and its relation.

The public files hold Python literals; a line that is JSON is read as JSON, whose escapes differ.

Zheng et al., ICME 2021 and ACM MM 2021, version 2. Spans are in words and end-exclusive; the head
may follow the tail or overlap it. Entities have no type of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shapca.data.preparation.readers.source import (
    SourceData,
    checked_image,
    checked_span,
    checked_text,
    checked_words,
    differing_name,
    literal,
    notes_of_names,
    numbered_lines,
    read_json,
    shown,
    split_files,
    with_unique_ids,
)
from shapca.data.schema import NONE, SPLITS, Entity, Example, Labels, Relation
from shapca.errors import InputError

FILES = {
    "train": ("mnre_train.txt", "ours_train.txt"),
    "valid": ("mnre_val.txt", "mnre_val .txt", "ours_val.txt"),  # public name: with a space
    "test": ("mnre_test.txt", "ours_test.txt"),
}
RELATIONS = "ours_rel2id.json"


def read(source: Path) -> SourceData:
    """Read the three splits of a folder, and its list of relations where it has one.

    Raises:
        InputError: a split is missing, a line is no literal, a span is out of range, a relation is
            unknown (where `ours_rel2id.json` lists them) or lacks an entity (file:line).
    """
    files = split_files(source, FILES)
    listed = _listed_relations(source / RELATIONS)
    differing: list[str] = []
    splits = {split: list(_read_rows(file, listed, differing)) for split, file in files.items()}
    relations = [r for split in SPLITS for example in splits[split] for r in example.relations]
    types = listed if listed is not None else {relation.type for relation in relations}
    return SourceData(
        labels=Labels("mre", relation_types=tuple(sorted(types - {NONE}))),
        splits=with_unique_ids(splits),
        files=(*files.values(), *([source / RELATIONS] if listed is not None else [])),
        notes=notes_of_names(differing),
    )


def _listed_relations(file: Path) -> set[str] | None:
    if not file.exists():
        return None
    listed = read_json(file)
    if not isinstance(listed, dict) or NONE not in listed:
        raise InputError(f"{file}: expected an object of relation names, {NONE!r} among them")
    return {checked_text(name, f"{file}") for name in listed}


def _read_rows(file: Path, listed: set[str] | None, differing: list[str]) -> Iterator[Example]:
    empty = True
    for number, line in numbered_lines(file):
        if line.strip():
            empty = False
            place = f"{file}:{number}"
            yield _example(_record(line.strip(), place), listed, place, differing)
    if empty:
        raise InputError(f"{file}: no rows; expected one Python-literal dict or JSON object a line")


def _record(line: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = literal(line)
    if record is None:
        raise InputError(f"{place}: not a Python-literal dict, nor a JSON object ({line[:60]!r} …)")
    if not isinstance(record, dict):
        raise InputError(f"{place}: expected a dict, found {type(record).__name__}")
    return record


def _example(
    record: dict[str, Any], listed: set[str] | None, place: str, differing: list[str]
) -> Example:
    words = checked_words(record.get("token"), place)
    head = checked_span(record, "h", len(words), place)
    tail = checked_span(record, "t", len(words), place)
    for key, span in (("h", head), ("t", tail)):
        difference = differing_name(record[key], repr(key), words[slice(*span)], place)
        differing += [difference] if difference else []
    relation = record.get("relation")
    if not isinstance(relation, str) or not relation:
        raise InputError(f"{place}: 'relation' is {shown(relation)}, expected a relation's name")
    checked_text(relation, place)
    if listed is not None and relation not in listed:
        raise InputError(
            f"{place}: unknown relation {shown(relation)}; expected one of {RELATIONS}: "
            + ", ".join(sorted(listed))
        )
    image = checked_image(record.get("img_id"), place)
    return Example(
        id=image,
        words=words,
        image=image,
        entities=tuple(dict.fromkeys([Entity(*head, None), Entity(*tail, None)])),
        relations=(Relation(head, tail, relation),),
    )
