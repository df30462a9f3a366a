"""Pictures: found in a folder by id, squared once, kept in one memory-mapped array.

S side of the stored square in pixels.

An **image id** is a picture's file name without folder and without image suffix: `IMGID:123`,
`123.jpg` and the file `pictures/123.png` all mean the id `123`. `Example.image`, context sets and
the stored images share these ids.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from shapca.data.decoding import Embedded, Pixels
from shapca.data.schema import first_problem
from shapca.errors import InputError

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".jpg_large", ".png_large",
    ".jpg-large", ".png-large",
)  # fmt: skip

ImageSource = Mapping[str, Path | Embedded | Pixels]
Progress = Callable[[str, int, int], None]
"""Told of long work: what is done, how many are done, of how many."""


def image_id(name: str) -> str:
    """The id that a picture's file name or a bare id stands for, without blanks around it.

    Raises:
        ValueError: the name is empty, absolute, has a folder or `..` in it, or control characters.
    """
    stem, dot, suffix = name.strip().rpartition(".")
    identifier = (stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name).strip()
    if not identifier:
        raise ValueError(f"image id {name[:80]!r} is empty")
    if "/" in name or "\\" in name or ".." in name or not name.isprintable():
        raise ValueError(
            f"image id {name[:80]!r} is not allowed: expected a plain file name, "
            "without '/', '\\', '..' or control characters"
        )
    return identifier


def picture_files(folder: Path) -> Iterator[Path]:
    """Files with a picture's suffix in a folder and in the folders below it, ordered by name.

    Links are followed, each folder being entered once; a link to nothing is given too.

    Raises:
        InputError: the folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a folder of pictures")
    entered: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted(files):
            if suffix_of(name):
                yield Path(parent) / name


def find_images(
    folder: Path, wanted: Iterable[str], further: dict[str, int] | None = None
) -> dict[str, Path]:
    """Look for pictures by id in a folder and in the folders below it.

    Args:
        folder: Where pictures lie, e.g. one folder, or one a split.
        wanted: Image ids to look for; other pictures are passed over.
        further: A post's pictures are named `ID_…`: the first by name is taken for a post, and the
            others are counted here. `None`: one picture an id.

    Returns:
        Image id to file, for the ids that are there; only regular files count, or links to them.

    Raises:
        InputError: the folder does not exist, or two different pictures claim one id.
    """
    wanted = set(wanted)
    found: dict[str, Path] = {}
    for file in picture_files(folder):
        name = file.name.strip()[: -len(suffix_of(file.name))].strip()
        if further is not None and name not in wanted:
            name = name.rpartition("_")[0]
        if name not in wanted or not file.is_file():
            continue
        other = found.setdefault(name, file)
        if further is not None and other != file:
            further[name] = further.get(name, 0) + 1
            found[name] = min(other, file, key=lambda path: (path.name, path))
        elif other != file and other.read_bytes() != file.read_bytes():
            raise InputError(
                f"{file}: another picture than {other}, yet both have the image id {name!r}; "
                "remove one of them"
            )
    return found


def near_misses(folder: Path, missing: Iterable[str]) -> dict[str, str]:
    """Missing ids with a file whose name is theirs but for case, blanks or its ending.

    Returns:
        Image id to the path of such a file, below the folder.
    """
    by_name: dict[str, str] = {}
    for parent, _, files in os.walk(folder):
        for name in sorted(files):
            path = (Path(parent) / name).relative_to(folder).as_posix()
            for spelling in (name, name.partition(".")[0], name.rpartition(".")[0]):
                by_name.setdefault("".join(spelling.split()).casefold(), path)
    near = ((image, by_name.get("".join(image.split()).casefold())) for image in missing)
    return {image: path for image, path in near if path is not None}


def shown_near_misses(near: Mapping[str, str]) -> str:
    """The end of a message that names a few of them; empty where there is none."""
    shown = ", ".join(f"{path!r} for {image!r}" for image, path in list(near.items())[:3])
    return f" (near misses: {shown})" if shown else ""


def suffix_of(name: str) -> str:
    """The ending by which a file name is taken for a picture's; empty for others."""
    ending = os.path.splitext(name.strip())[1]
    return ending if ending.lower() in IMAGE_SUFFIXES else ""


@dataclass(frozen=True)
class _Index:
    ids: list[str]
    broken: dict[str, str]


_INDEX = TypeAdapter(_Index)


@dataclass(frozen=True)
class ImageStore:
    """The stored pictures of a data set, opened without being read.

    Attributes:
        array_file: The `.npy` file.
        index: Image id to row.
        broken: Image id to the reason for which there is no row.
    """

    array_file: Path
    index: Mapping[str, int]
    broken: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, array_file: Path, index_file: Path) -> ImageStore:
        """Open what `shapca.data.preparation.image_writing.write_images` wrote.

        Raises:
            InputError: no such files, or pictures and ids that do not fit together.
        """
        try:
            record = _INDEX.validate_json(index_file.read_bytes(), strict=True)
        except (OSError, ValueError) as error:
            raise InputError(f"{index_file}: damaged ({first_problem(error)})") from error
        index = {name: row for row, name in enumerate(record.ids)}
        if len(index) != len(record.ids) or index.keys() & record.broken.keys():
            raise InputError(f"{index_file}: damaged (an id twice); expected each image id once")
        store = cls(array_file, index, record.broken)
        try:
            kind, shape = store.array.dtype, store.array.shape
        except Exception as error:  # numpy reads the header as a Python literal
            raise InputError(
                f"{array_file}: no array of pictures ({first_problem(error)})"
            ) from error
        square = len(shape) == 4 and shape[1] == shape[2] > 0 and shape[3] == 3
        if kind != np.uint8 or not square or shape[0] != len(index):
            raise InputError(
                f"{array_file}: holds {kind} numbers of shape {shape}; expected uint8 pictures "
                f"({len(index)}, S, S, 3), one for each id of {index_file.name}"
            )
        return store

    @cached_property
    def array(self) -> Pixels:
        """(N, S, S, 3) uint8, memory-mapped and read-only."""
        array: Pixels = np.load(self.array_file, mmap_mode="r", allow_pickle=False)
        return array

    @property
    def size(self) -> int:
        """Side S in pixels."""
        return int(self.array.shape[1])

    def __len__(self) -> int:
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the file again instead of receiving its content.
        return {"array_file": self.array_file, "index": self.index, "broken": self.broken}
