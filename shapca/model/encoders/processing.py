"""The pictures that an image encoder was trained with: their size, mean and deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shapca.config.image import NAMED, ImageConfig
from shapca.errors import InputError
from shapca.model.encoders import efficientnet
from shapca.model.encoders.weights import (
    LITE_ENCODERS,
    PROCESSOR_FILES,
    WEIGHTS_FILES,
    find_file,
    read_json_file,
    torchvision_weights,
)

IMAGE_FILES = (*WEIGHTS_FILES, *PROCESSOR_FILES)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
LITE_SIZES = {"efficientnet-lite0": 224, "efficientnet-lite2": 260}


@dataclass(frozen=True)
class ImageProcessing:
    """What pictures are made before an encoder reads them.

    Attributes:
        size: Side in pixels.
        mean: Of each colour channel, on a scale of 0 to 1.
        std: Of each colour channel.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def image_size(config: ImageConfig) -> int:
    """Side of the pictures that a configuration's encoder sees, in pixels.

    Raises:
        InputError: the encoder's own is asked for, and its files are missing or do not say.
    """
    if config.size is not None:
        return config.size
    return image_processing(config.encoder, config.weights).size


def image_processing(architecture: str, weights: str) -> ImageProcessing:
    """The pictures that an image encoder was trained with.

    Args:
        architecture: As `image.encoder` names it.
        weights: As `image.weights` names them.

    Raises:
        InputError: a model of transformers without the files that say it.
    """
    if architecture == "clip-vit-b-32":
        return ImageProcessing(224, CLIP_MEAN, CLIP_STD)
    if architecture in LITE_ENCODERS:
        size = LITE_SIZES[architecture]
        return ImageProcessing(size, efficientnet.MEAN, efficientnet.STD)
    if architecture in NAMED:
        known = torchvision_weights(architecture, weights)
        known = known or torchvision_weights(architecture, "pretrained")
        assert known is not None, "torchvision has weights of each of its architectures"
        shown = known.transforms()
        return ImageProcessing(shown.crop_size[0], tuple(shown.mean), tuple(shown.std))
    from shapca.model.encoders.architecture import image_architecture

    image_architecture(architecture, "image.encoder")  # what is no encoder needs no pictures
    return _of_model(architecture)


def _of_model(name: str) -> ImageProcessing:
    place = f"image.encoder: {name}"
    found = (find_file(name, "image.encoder", file) for file in PROCESSOR_FILES)
    file = next((file for file in found if file is not None), None)
    if file is None:
        raise InputError(
            f"{place}: expected {' or '.join(PROCESSOR_FILES)}, which says the size, mean and "
            "deviation of its pictures"
        )
    tree = read_json_file(file, place)
    tree = tree.get("image_processor", tree)
    place = f"{place}: {file.name}"
    if not isinstance(tree, dict):
        raise InputError(f"{place}: image_processor: expected a section")
    size = tree.get("size")
    if tree.get("crop_size") is not None and tree.get("do_center_crop", True):
        size = tree["crop_size"]
    if isinstance(size, Mapping):
        sides = {size[side] for side in ("height", "width", "shortest_edge") if side in size}
        size = sides.pop() if len(sides) == 1 else None
    if type(size) is not int or not 16 <= size <= 2048:
        raise InputError(f"{place}: size: expected a square of 16 to 2,048 pixels, got {size}")
    factor = tree.get("rescale_factor", 1 / 255)
    if not tree.get("do_rescale", True) or not _is_number(factor) or abs(factor * 255 - 1) > 1e-3:
        raise InputError(f"{place}: rescale_factor: expected 1 / 255, got {factor}")
    if not tree.get("do_normalize", True):
        return ImageProcessing(size, (0.0,) * 3, (1.0,) * 3)
    values = (_three(tree, "image_mean", place), _three(tree, "image_std", place))
    if min(values[1]) <= 0:
        raise InputError(f"{place}: image_std: expected three numbers above 0, got {values[1]}")
    return ImageProcessing(size, *values)


def _three(tree: Mapping[str, Any], key: str, place: str) -> tuple[float, ...]:
    value = tree.get(key)
    if not (isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))):
        raise InputError(f"{place}: {key}: expected three numbers, got {str(value)[:60]}")
    return tuple(float(part) for part in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e3
