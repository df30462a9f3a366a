"""Writing the pictures of a data set into one array, so that a killed run is resumed.

S side of the stored square, N pictures that could be read.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from shapca.data.batches.parallel import in_order
from shapca.data.decoding import Embedded, Pixels, load_square, open_picture
from shapca.data.images import ImageSource, ImageStore, Progress
from shapca.storage.processes import num_cpus

BROKEN_PICTURE = (
    OSError, SyntaxError, ValueError, ArithmeticError, LookupError, EOFError, AttributeError,
    TypeError, AssertionError, RuntimeError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises on damaged files of the formats that are looked for."""

Square = Pixels | str
"""A picture's (S, S, 3) uint8 square, or the reason for which it cannot be read."""
Decode = Callable[[ImageSource, Sequence[str], int], Generator[Square, None, None]]
"""Gives the squares, of side S, of the pictures of these ids, in their order."""


def decode_here(
    images: ImageSource, names: Sequence[str], size: int
) -> Generator[Square, None, None]:
    """Decode on all cores of this machine."""
    cores = num_cpus()  # threads suffice: Pillow decodes without the interpreter's lock
    yield from in_order(
        lambda name: load_or_reason(images[name], size),
        names,
        num_threads=cores,
        ahead=4 * cores,
    )


def write_images(
    array_file: Path,
    index_file: Path,
    images: ImageSource,
    size: int,
    progress: Progress | None = None,
    *,
    journal_file: Path | None = None,
    on_written: Callable[[], None] | None = None,
    decode: Decode = decode_here,
) -> ImageStore:
    """Decode pictures and write them row by row; memory does not grow with them.

    With a journal, the work of a run that died in the middle is taken over: each line of the
    journal names a picture that is done, and the checksum of its row. The result is the same as
    that of an undisturbed run.

    Args:
        array_file: The `.npy` file to write, (N, S, S, 3) uint8.
        index_file: The JSON file to write: ids of the rows, and the broken ids with reasons.
        images: Image id to file or (H, W, 3) array.
        size: Side S in pixels.
        progress: Told after each picture.
        journal_file: What is done so far; whoever names one answers for equal `images` and `size`.
        on_written: Called once, as soon as the array holds a picture.
        decode: How pictures are decoded.

    Returns:
        What was written, broken pictures with the reason for which their file could not be read.
    """
    names = sorted(images)
    ids: list[str] = []
    broken: dict[str, str] = {}

    def note(name: str, reason: str | None) -> None:
        if reason is None:
            if not ids and on_written is not None:
                on_written()
            ids.append(name)
        else:
            broken[name] = reason

    done = 0
    if journal_file is not None:
        for name, reason in _take_over(journal_file, array_file, names, size, progress):
            note(name, reason)
            done += 1
    with (
        _open(array_file) as handle,
        _open(journal_file or Path(os.devnull)) as journal,
        closing(decode(images, names[done:], size)) as squares,
    ):
        _write_header(handle, 0, size)
        handle.seek(_place(len(ids), size))
        handle.truncate()
        journal.seek(0, os.SEEK_END)
        for name, square in zip(names[done:], squares, strict=True):
            entry: dict[str, Any] = {"image": name}
            if isinstance(square, str):
                entry["broken"] = square
            else:
                content = square.tobytes()
                handle.write(content)
                handle.flush()  # the row before its line
                entry["crc32"] = zlib.crc32(content)
            journal.write(json.dumps(entry).encode() + b"\n")
            journal.flush()
            note(name, entry.get("broken"))
            done += 1
            if progress is not None:
                progress("images", done, len(names))
        handle.seek(0)
        _write_header(handle, len(ids), size)  # numpy pads the header so that N may grow in place
    index_file.write_text(
        json.dumps({"ids": ids, "broken": broken}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return ImageStore.open(array_file, index_file)


def _take_over(
    journal_file: Path, array_file: Path, names: list[str], size: int, progress: Progress | None
) -> Iterator[tuple[str, str | None]]:
    """Pictures done by an earlier run, in order, up to the first whose line or row is not whole.

    The journal is cut after them.

    Yields:
        Image id, and the reason where the picture is broken.
    """
    if not journal_file.exists():
        return
    lines = journal_file.read_bytes().splitlines(keepends=True)
    length, row_size, num_rows = 0, size * size * 3, 0
    with _open(array_file) as rows:
        rows.seek(_place(0, size))
        for number, (name, line) in enumerate(zip(names, lines, strict=False), start=1):
            entry = _journal_entry(line)
            if entry.get("image") != name:
                break
            if "broken" not in entry:
                row = rows.read(row_size)
                if len(row) < row_size or zlib.crc32(row) != entry.get("crc32"):
                    break
                num_rows += 1
            length += len(line)
            if progress is not None:
                progress("images of an interrupted run", number, len(lines))
            yield name, entry.get("broken")
    os.truncate(journal_file, length)


def _journal_entry(line: bytes) -> dict[str, Any]:
    """A line of the journal; empty where the process died in the middle of it."""
    if not line.endswith(b"\n"):
        return {}
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _open(file: Path) -> BinaryIO:
    """A file to read and write from its beginning; what it holds stays."""
    return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o666), "r+b")


def _place(row: int, size: int) -> int:
    """Where a row of the array begins in its file."""
    return _HEADER_SIZE + row * size * size * 3


def _write_header(handle: BinaryIO, num_images: int, size: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (num_images, size, size, 3)}
    np.lib.format.write_array_header_1_0(handle, header)
    assert handle.tell() == _HEADER_SIZE


_HEADER_SIZE = 128  # numpy aligns the data to 64 bytes, and pads for a first axis of 21 digits


def load_or_reason(source: Path | Embedded | Pixels | bytes, size: int) -> Square:
    """A picture's square of side `size`, or the reason for which it cannot be read."""
    try:
        return load_square(open_picture(source) if isinstance(source, bytes) else source, size)
    except BROKEN_PICTURE as error:
        return f"{type(error).__name__}: {error}"
