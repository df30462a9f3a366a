"""Pictures from files: which formats, how large, and as which pixels.

S side of the stored square in pixels.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from shapca.data.schema import STORED_SIZE

_WHITE_8, _WHITE_16 = 2**8 - 1, 2**16 - 1
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What is decoded; Pillow knows more, some of which starts other programs."""
MAX_PIXELS = 40_000_000

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Embedded:
    """A picture that another file holds, kept in a file without a name that ends with the process.

    Attributes:
        file: That file.
        offset: Where the picture begins, in bytes.
        size: Its bytes.
        crc32: Checksum of its content.
    """

    file: BinaryIO
    offset: int
    size: int
    crc32: int

    def read(self) -> bytes:
        """The picture's file, as it was."""
        return os.pread(self.file.fileno(), self.size, self.offset)


def open_picture(source: Path | bytes) -> Image.Image:
    """Open a picture of one of the named formats; nothing of it is decoded yet.

    Raises:
        OSError, ValueError, …: missing, damaged, of another format, or of too many pixels.
    """
    stream: Any = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError as error:
        expected = ", ".join(FORMATS)
        raise UnidentifiedImageError(f"no readable picture; expected {expected}") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ValueError(f"{width} × {height} pixels, expected {MAX_PIXELS:,} at most")
    return image


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
        step = _WHITE_16 // _WHITE_8  # an odd number: nothing lies half-way
        grey = ((values.astype(np.uint32) + step // 2) // step).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def load_square(source: Path | Embedded | Pixels | Image.Image, size: int = STORED_SIZE) -> Pixels:
    """Read a picture, scale its shorter side to `size` and crop the centre.

    Args:
        source: A picture's file, an (H, W, 3) uint8 array or a Pillow image.
        size: Side S of the result in pixels.

    Returns:
        (S, S, 3) uint8, RGB, upright.

    Raises:
        OSError, ValueError, …: the file is missing, damaged, no picture or too large a one.
    """
    if isinstance(source, np.ndarray):
        image = Image.fromarray(source)
    elif isinstance(source, Image.Image):
        image = source
    else:
        image = open_picture(source.read() if isinstance(source, Embedded) else source)
    with image:
        image.draft("RGB", (size, size))  # JPEG: decode at 1/2, 1/4 or 1/8 where that suffices
        upright = upright_rgb(image)
    side = min(upright.size)
    left, top = (upright.width - side) / 2, (upright.height - side) / 2
    square = upright.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    return np.asarray(square, dtype=np.uint8)
