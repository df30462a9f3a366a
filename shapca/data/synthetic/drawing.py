"""Pictures of the synthetic posts: an icon of each entity's type on a scene's own colour.

S side of the picture in pixels. Places inside a picture are shares of S.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shapca.data.synthetic.language import ENTITY_TYPES, PAIR_SCENES, PairScene

Point = tuple[float, float]
Color = tuple[int, int, int]

HUES = {"PER": 0.02, "ORG": 0.60, "LOC": 0.33, "MISC": 0.14}
NOISE = 12.0
"""Standard deviation of the pixels' noise, of 255."""


def draw(
    scene: str | PairScene, style: str, size: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw what a post is about.

    Args:
        scene: An entity type, or a pair scene, whose two icons stand side by side.
        style: `street` (flat shapes by day) or `festival` (outlined shapes on a darker ground).
        size: S.
        generator: Source of colours, places, distractors and noise.

    Returns:
        (S, S, 3) uint8.
    """
    dark = style == "festival"
    if isinstance(scene, str):
        hue, saturation = HUES[scene], 0.75
        icons = [(scene, 0.5, 0.36)]
    else:
        number = PAIR_SCENES.index(scene)
        hue, saturation = number / len(PAIR_SCENES), 0.0 if scene.relation == "None" else 0.75
        icons = [(scene.head, 0.28, 0.22), (scene.tail, 0.72, 0.22)]
    ground = _color(hue + generator.normal(0, 0.015), saturation, 0.7 if dark else 0.85)
    image = Image.new("RGB", (size, size), ground)
    canvas = ImageDraw.Draw(image)
    for _ in range(6 if dark else 3):
        _distract(canvas, size, generator)
    for kind, x, radius in icons:
        center = (x + generator.normal(0, 0.03), 0.5 + generator.normal(0, 0.05))
        _icon(canvas, kind, center, radius * generator.uniform(0.85, 1.1), size, outlined=dark)
    pixels = np.asarray(image, dtype=np.float64) + generator.normal(0, NOISE, (size, size, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _color(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _distract(canvas: ImageDraw.ImageDraw, size: int, generator: np.random.Generator) -> None:
    """A small spot of any colour."""
    x, y = generator.uniform(0, size, 2)
    radius = generator.uniform(0.02, 0.07) * size
    fill = _color(generator.uniform(), 0.8, 0.9)
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _icon(
    canvas: ImageDraw.ImageDraw,
    kind: str,
    center: Point,
    radius: float,
    size: int,
    *,
    outlined: bool,
) -> None:
    """The sign of an entity type: a figure, a building, a mountain or a star."""
    bright = (250, 245, 235)
    fill = None if outlined else (40, 35, 45)
    outline = bright if outlined else None
    width = max(1, size // 24)

    def at(x: float, y: float) -> Point:
        return (center[0] + radius * x) * size, (center[1] + radius * y) * size

    def polygon(points: Sequence[Point]) -> None:
        canvas.polygon([at(*point) for point in points], fill, outline, width)

    def ellipse(left: float, top: float, right: float, bottom: float) -> None:
        canvas.ellipse((*at(left, top), *at(right, bottom)), fill, outline, width)

    if kind == "PER":
        ellipse(-0.4, -1.0, 0.4, -0.2)
        polygon([(-0.75, 1.0), (-0.45, -0.1), (0.45, -0.1), (0.75, 1.0)])
    elif kind == "ORG":
        polygon([(-0.8, 1.0), (-0.8, -1.0), (0.8, -1.0), (0.8, 1.0)])
        for x in (-0.45, 0.15):
            for y in (-0.7, -0.1, 0.5):
                canvas.rectangle((*at(x, y), *at(x + 0.3, y + 0.3)), fill=bright)
    elif kind == "LOC":
        polygon([(-1.0, 1.0), (-0.3, -0.9), (0.4, 1.0)])
        polygon([(-0.2, 1.0), (0.5, -0.3), (1.0, 1.0)])
    else:
        angles = [math.pi * (index / 5 - 0.5) for index in range(10)]
        radii = [1.0, 0.42] * 5
        polygon([(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)])


assert set(HUES) == set(ENTITY_TYPES)
