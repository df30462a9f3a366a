"""Records of a Hugging Face `datasets` folder, saved or as on its hub, and of parquet files.

Read by pyarrow alone: no code of the folder runs. Pictures of an image column are kept in a file
without a name, so that memory does not grow with them.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from shapca.data.decoding import Embedded
from shapca.data.preparation.readers.source import NUM_SHOWN
from shapca.errors import InputError

ROWS = 64  # that are in memory at once


class PictureFile:
    """Keeps pictures in a file without a name, which ends with the process at the latest."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None

    def embed(self, content: bytes) -> Embedded:
        """Keep a picture."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - the pictures are read from it
        offset = self._file.seek(0, 2)
        self._file.write(content)
        self._file.flush()
        return Embedded(self._file, offset, len(content), zlib.crc32(content))


def table_files(source: Path, names: tuple[str, ...]) -> list[Path]:
    """The files of a split: `train/data-….arrow` as saved, or `train-….parquet`.

    Args:
        source: The folder.
        names: What the split may be called.
    """
    found = []
    for file in sorted(source.rglob("*")):
        if file.suffix == ".arrow":
            inside = file.parent.name
        elif file.suffix == ".parquet":
            inside = file.stem.partition("-")[0]
            if inside not in names:
                inside = file.parent.name
        else:
            continue
        if inside in names and not file.name.startswith("cache-"):
            found.append(file)
    return found


def read_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a file from number 1; numbers of classes become their names.

    Raises:
        InputError: no such file, or one that pyarrow cannot read.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{file}: reading tables needs pyarrow; pip install 'shap-ca[tables]'"
        ) from error
    number = 0
    try:
        if file.suffix == ".arrow":
            with pyarrow.memory_map(str(file)) as mapped:
                reader = pyarrow.ipc.open_stream(mapped)
                classes = _classes(reader.schema, file)
                for batch in reader:
                    batch.validate(full=True)
                    for start in range(0, batch.num_rows, ROWS):
                        for row in batch.slice(start, ROWS).to_pylist():
                            number += 1
                            yield number, _named(row, classes, f"{file}: row {number}")
        else:
            with pyarrow.parquet.ParquetFile(file) as parquet:
                classes = _classes(parquet.schema_arrow, file)
                for batch in parquet.iter_batches(ROWS):
                    batch.validate(full=True)
                    for row in batch.to_pylist():
                        number += 1
                        yield number, _named(row, classes, f"{file}: row {number}")
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = f"{error}".partition("\n")[0][:200]
        raise InputError(f"{file}: no table that can be read ({reason})") from error


def _classes(schema: Any, file: Path) -> dict[str, list[str]]:
    """Columns that hold numbers of classes, with the classes' names, as `datasets` notes them."""
    noted = (schema.metadata or {}).get(b"huggingface")
    if noted is None:
        return {}
    try:
        features = json.loads(noted)["info"]["features"]
        found = {}
        for name, feature in features.items():
            inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
            if isinstance(inner, dict) and inner.get("_type") == "ClassLabel":
                found[name] = [str(label) for label in inner["names"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file}: what `datasets` notes of its columns is damaged") from error
    return found


def _named(row: dict[str, Any], classes: dict[str, list[str]], place: str) -> dict[str, Any]:
    for column, names in classes.items():
        value = row.get(column)
        if isinstance(value, int):
            row[column] = _name_of(value, names, column, place)
        elif isinstance(value, list):
            row[column] = [_name_of(number, names, column, place) for number in value]
    return row


def _name_of(number: Any, names: list[str], column: str, place: str) -> str:
    if type(number) is not int or not 0 <= number < len(names):
        some = ", ".join(names[:NUM_SHOWN])
        raise InputError(f"{place}: {column!r} is {number!r}, no number of the classes {some} …")
    return names[number]
