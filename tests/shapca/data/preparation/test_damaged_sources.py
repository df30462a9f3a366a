"""Readers of files that were damaged, or made by someone who meant harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shapca.data.preparation.captions import import_contexts
from shapca.data.preparation.readers import READERS
from shapca.data.preparation.readers.conll import Layout
from shapca.data.preparation.readers.own import OwnFormat
from tests.damage import damaged_bytes, damaged_json, damaged_lines, read_damaged
from tests.paths import FIXTURES

Damage = Callable[[bytes, Random], bytes]
OWN_LINES = (
    b'{"id": 1, "words": ["Maro", "in", "Pemberly"], "entities": [[0, 1, "PER"], {"start": 2, '
    b'"end": 3, "type": "LOC", "name": "Pemberly"}], "image": "a.jpg", "context": "a port"}\n'
    b'{"id": 2, "text": "Ives left Ostra", "entities": [{"start": 0, "end": 4, "type": "PER"}], '
    b'"image": ["b/c.jpg", "d.jpg"], "relations": [], "context": {"x": "a", "y": "b"}}\n'
    b'{"id": 3, "words": ["no"], "tags": ["O"], "pos": null}\n'
)
OWN_RELATIONS = (
    b'{"id": 1, "words": ["Maro", "in", "Pemberly"], "entities": [[0, 1, "PER"], [2, 3, "LOC"]], '
    b'"relations": [{"head": 0, "tail": 1, "type": "in"}, [[0, 1], [2, 3], "of"]]}\n'
)
BLANKS = b"a O\nb B-X\n\nc I-X\n"
TAGGED = b"# id = 1\n# image = a.jpg\nMaro\tX\tB-PER\nFern\tX\tE-PER\n\n# id = 2\nOstra\tX\tS-LOC\n"


@pytest.mark.parametrize("name", sorted({"twitter2015", "fmnerg", "mnre", "jmere"}))
def test_a_damaged_benchmark_is_one_message(name: str, tmp_path: Path) -> None:
    for file in (FIXTURES / name).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    train = READERS[name](FIXTURES / name).files[0]

    def read(content: bytes) -> None:
        (tmp_path / train.name).write_bytes(content)
        READERS[name](tmp_path)

    damage: Damage = damaged_json if name == "jmere" else damaged_bytes
    messages = list(read_damaged(train.read_bytes(), damage, read, 150))
    assert all(str(tmp_path) in message and "\n" not in message for message in messages)
    assert len(messages) > 40


@pytest.mark.parametrize(
    ("own", "content", "damage"),
    [
        (OwnFormat("jsonl"), OWN_LINES, damaged_lines),
        (OwnFormat("jsonl", task="mjere"), OWN_RELATIONS, damaged_lines),
        (OwnFormat("jsonl", task="mre"), OWN_RELATIONS, damaged_lines),
        (OwnFormat("conll", layout=Layout("# id =", pos_column=2)), TAGGED, damaged_bytes),
        (
            OwnFormat("conll", layout=Layout(separator="blank")),
            b"a O\nb B-X\n\nc I-X\n",
            damaged_bytes,
        ),
    ],
    ids=["jsonl", "mjere", "mre", "conll", "blank"],
)
def test_damaged_files_of_ones_own_are_one_message(
    own: OwnFormat, content: bytes, damage: Damage, tmp_path: Path
) -> None:
    files = [tmp_path / f"{split}.data" for split in ("train", "valid", "test")]
    sound = content.splitlines(keepends=True)[0] if own.format == "jsonl" else content
    for number, file in enumerate(files):
        file.write_bytes(
            sound.replace(b'"id": 1', b'"id": "%d"' % (number + 7)).replace(
                b"# id = ", b"# id = %d-" % number
            )
        )

    def read(damaged: bytes) -> None:
        files[0].write_bytes(damaged)
        own.read(files)

    messages = list(read_damaged(content, damage, read, 150))
    assert all(".data" in message or "labels" in message for message in messages)
    assert len(messages) > 40


def test_a_damaged_table_is_one_message(tmp_path: Path) -> None:
    pyarrow: Any = pytest.importorskip("pyarrow")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    files = [tmp_path / f"{split}.parquet" for split in ("train", "valid", "test")]
    for number, file in enumerate(files):
        rows = [{"id": str(number), "words": ["Maro"], "tags": ["B-PER"], "context": "a port"}]
        parquet.write_table(pyarrow.Table.from_pylist(rows), file)

    def read(damaged: bytes) -> None:
        files[0].write_bytes(damaged)
        OwnFormat("datasets").read([tmp_path])

    messages = list(read_damaged(files[0].read_bytes(), damaged_bytes, read, 100))
    assert len(messages) > 25


@pytest.mark.parametrize("file", sorted((FIXTURES / "captions").iterdir()), ids=lambda f: f.name)
def test_damaged_captions_are_one_message(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / file.name

    def read(content: bytes) -> None:
        copy.write_bytes(content)
        import_contexts([copy], ["O_12", "17_06_1", "17_06_2", "O_14"])

    damage = damaged_lines if file.suffix == ".jsonl" else damaged_bytes
    messages = list(read_damaged(file.read_bytes(), damage, read, 80))
    assert all(str(copy) in message for message in messages)
    assert len(messages) > 20
