"""Small pictures as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def draw_pictures(folder: Path, number: int, side: int = 12) -> Path:
    """`p0.png` and so on, each with colours of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        pixels = np.random.default_rng(index).integers(256, size=(side, side + index % 3, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"p{index}.png")
    return folder
