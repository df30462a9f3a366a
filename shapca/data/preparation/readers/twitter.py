"""Twitter-15 and Twitter-17 (MNER): `word<TAB>tag` lines after an `IMGID:<id>` line.

Zhang et al., AAAI 2018, and Lu et al., ACL 2018, in the form of Yu et al., ACL 2020. Twitter-15
calls its fourth type `OTHER`, Twitter-17 `MISC`; both become `MISC`. Tags stay as annotated.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shapca.data.preparation.readers.source import (
    SourceData,
    checked_image,
    numbered_lines,
    split_files,
    with_unique_ids,
)
from shapca.data.schema import SPLITS, Example, Labels
from shapca.data.tags import lenient_entities, num_orphans
from shapca.errors import InputError

ENTITY_TYPES = ("LOC", "MISC", "ORG", "PER")
FILES = {
    "train": ("train.txt",),
    "valid": ("valid.txt", "val.txt", "dev.txt"),
    "test": ("test.txt",),
}
_IMAGE = "IMGID:"
_TAGS = {"O": "O"} | {
    f"{prefix}-{kind}": f"{prefix}-{'MISC' if kind == 'OTHER' else kind}"
    for prefix in "BI"
    for kind in (*ENTITY_TYPES, "OTHER")
}


def read(source: Path) -> SourceData:
    """Read `train.txt`, `valid.txt` and `test.txt` of a folder.

    Raises:
        InputError: a split is missing, or a line is not as expected (file:line).
    """
    files = split_files(source, FILES)
    splits = {split: list(_read_posts(file)) for split, file in files.items()}
    examples = [example for split in SPLITS for example in splits[split]]
    return SourceData(
        labels=Labels("mner", entity_types=ENTITY_TYPES),
        splits=with_unique_ids(splits),
        files=tuple(files.values()),
        notes={"num_orphan_tags": sum(num_orphans(example.tags or ()) for example in examples)},
    )


def _read_posts(file: Path) -> Iterator[Example]:
    """Posts of a file. A post ends at the next `IMGID:` line or at the end of the file."""
    image: str | None = None
    start = 0
    words: list[str] = []
    tags: list[str] = []
    for number, line in numbered_lines(file):
        if not line:
            continue
        if line.startswith(_IMAGE) and "\t" not in line:
            if image is not None:
                yield _post(image, words, tags, f"{file}:{start}")
            image = checked_image(line.removeprefix(_IMAGE), f"{file}:{number}")
            start, words, tags = number, [], []
            continue
        if image is None:
            raise InputError(f"{file}:{number}: a word before the first {_IMAGE}<id> line")
        fields = line.split("\t")
        if len(fields) != 2 or not fields[0]:
            raise InputError(f"{file}:{number}: {line!r} is not of the form word<TAB>tag")
        word, tag = fields
        if tag not in _TAGS:
            expected = ", ".join(_TAGS)
            raise InputError(f"{file}:{number}: unknown tag {tag!r}; expected one of {expected}")
        words.append(word)
        tags.append(_TAGS[tag])
    if image is None:
        raise InputError(f"{file}: no posts; expected {_IMAGE}<id> lines, each with words below it")
    yield _post(image, words, tags, f"{file}:{start}")


def _post(image: str, words: list[str], tags: list[str], place: str) -> Example:
    if not words:
        raise InputError(f"{place}: a post without words")
    return Example(
        id=image,
        words=tuple(words),
        image=image,
        tags=tuple(tags),
        entities=lenient_entities(tags),
    )
