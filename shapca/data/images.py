"""Pictures: found in a folder by id, squared once, kept in one memory-mapped array.

S side of the stored square in pixels.

An **image id** is a picture's file name without folder and without image suffix: `IMGID:123`,
`123.jpg` and the file `pictures/123.png` all mean the id `123`. `Example.image`, context sets and
the stored images share these ids.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shapca.data.schema import STORED_SIZE
from shapca.errors import InputError

_WHITE_8, _WHITE_16 = 2**8 - 1, 2**16 - 1
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")

Pixels = NDArray[np.uint8]
ImageSource = Mapping[str, Path | Pixels]
Progress = Callable[[str, int, int], None]
"""Told of long work: what is done, how many are done, of how many."""


def image_id(name: str) -> str:
    """The id that a picture's file name or a bare id stands for.

    Raises:
        ValueError: the name is empty, absolute, has a folder or `..` in it, or control characters.
    """
    stem, dot, suffix = name.rpartition(".")
    identifier = stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name
    if not identifier.strip():
        raise ValueError(f"image id {name!r} is empty")
    if "/" in name or "\\" in name or ".." in name or not name.isprintable():
        raise ValueError(
            f"image id {name!r} is not allowed: expected a plain file name, "
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
            if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                yield Path(parent) / name


def find_images(folder: Path, wanted: Iterable[str]) -> dict[str, Path]:
    """Look for pictures by id in a folder and in the folders below it.

    Args:
        folder: Where pictures lie, e.g. one folder, or one a split.
        wanted: Image ids to look for; other pictures are passed over.

    Returns:
        Image id to file, for the ids that are there; only regular files count, or links to them.

    Raises:
        InputError: the folder does not exist, or two different pictures claim one id.
    """
    wanted = set(wanted)
    found: dict[str, Path] = {}
    for file in picture_files(folder):
        if file.stem not in wanted or not file.is_file():
            continue
        other = found.setdefault(file.stem, file)
        if other != file and other.read_bytes() != file.read_bytes():
            raise InputError(
                f"{file}: another picture than {other}, yet both have the image id {file.stem!r}; "
                "remove one of them"
            )
    return found


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has one channel of more than 8 bits, which Pillow's conversion clips."""
    return image.mode.startswith("I") or image.mode == "F"


def upright_rgb(image: Image.Image) -> Image.Image:
    """A picture as RGB of 8 bits a channel, turned as its camera says.

    Grey values of 16 bits are divided by 257, so that white stays white. Integers of 32 bits are
    taken for 8 or 16 bits, whichever holds them all.

    Raises:
        OSError, ValueError, …: damaged, or of values that do not tell which of them is white.
    """
    upright = ImageOps.exif_transpose(image)
    if not is_deep(upright):
        return upright.convert("RGB")
    values = np.asarray(upright)
    low, high = values.min(), values.max()
    if upright.mode == "F" or low < 0 or high > _WHITE_16:
        raise ValueError(
            f"values of mode {upright.mode} from {low} to {high}: expected 8 or 16 bits a channel"
        )
    if upright.mode == "I" and high <= _WHITE_8:
        grey = values.astype(np.uint8)
    else:
        grey = np.rint(values / (_WHITE_16 // _WHITE_8)).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def load_square(source: Path | Pixels | Image.Image, size: int = STORED_SIZE) -> Pixels:
    """Read a picture, scale its shorter side to `size` and crop the centre.

    Args:
        source: A file, an (H, W, 3) uint8 array or a Pillow image.
        size: Side S of the result in pixels.

    Returns:
        (S, S, 3) uint8, RGB, upright.

    Raises:
        OSError, ValueError, …: the file is missing, damaged or no picture.
    """
    if isinstance(source, np.ndarray):
        source = Image.fromarray(source)
    image = source if isinstance(source, Image.Image) else Image.open(source)
    with image:
        image.draft("RGB", (size, size))  # JPEG: decode at 1/2, 1/4 or 1/8 where that suffices
        upright = upright_rgb(image)
    side = min(upright.size)
    left, top = (upright.width - side) / 2, (upright.height - side) / 2
    square = upright.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    return np.asarray(square, dtype=np.uint8)


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
        """Open what `shapca.data.preparation.image_writing.write_images` wrote."""
        record = json.loads(index_file.read_text(encoding="utf-8"))
        index = {name: row for row, name in enumerate(record["ids"])}
        return cls(array_file, index, record["broken"])

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
