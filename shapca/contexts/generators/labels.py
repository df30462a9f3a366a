"""Contexts that name what ImageNet knows of a picture: `seashore, promontory`.

An EfficientNet-Lite with its classifier tells; nothing is downloaded or drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shapca.contexts.generators.generator import Answer, Request
from shapca.data.decoding import load_square
from shapca.errors import InputError
from shapca.model.device import choose_device
from shapca.model.encoders.fingerprints import file_fingerprint
from shapca.model.encoders.image import load_image_encoder
from shapca.model.encoders.weights import LITE_ENCODERS, read_state_dict, weights_file

SIZE, SQUARE = 224, 256  # the network was trained on the centre of pictures of 256 pixels
LEAST_SCORE, MOST = 0.1, 5
"""A name is given for a probability of at least this, and so many names at most."""


def fingerprint(name: str) -> str:
    """SHA-256 of the classifier's file.

    Raises:
        InputError: no such classifier, or its package is missing.
    """
    if name not in LITE_ENCODERS:
        raise InputError(f"--generator labels:{name}: expected {' or '.join(LITE_ENCODERS)}")
    return file_fingerprint(weights_file(name, "pretrained"))


def sampling() -> dict[str, Any]:
    """What shapes the text beside the weights."""
    return {"least_score": LEAST_SCORE, "most": MOST}


class LabelGenerator:
    """The classifier, loaded; it sees one picture at a time, so that its batch mates do not matter.

    Args:
        name: `efficientnet-lite0` or `efficientnet-lite2`.
        device: As `--device` says.

    Raises:
        InputError: no such classifier, its package is missing, or no such device.
    """

    def __init__(self, name: str, device: str) -> None:
        from torchvision.models import ResNet18_Weights

        fingerprint(name)
        self._device = choose_device(device, "--device")
        encoder = load_image_encoder(name, "pretrained", size=SIZE, freeze=True)
        self._encoder = encoder.eval().to(self._device)
        state = read_state_dict(weights_file(name, "pretrained"), "--generator")
        self._weight, self._bias = (
            state[f"_fc.{part}"].to(self._device) for part in ("weight", "bias")
        )
        self._names: list[str] = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """The likeliest names of each picture, or an empty text."""
        margin = (SQUARE - SIZE) // 2
        centre = slice(margin, margin + SIZE)
        answers = []
        for request in requests:
            square = load_square(np.asarray(request.picture), SQUARE)[centre, centre]
            pixels = torch.from_numpy(square.transpose(2, 0, 1)[None].copy())
            scores, classes = self._probabilities(pixels).topk(MOST)
            kept = classes[scores >= LEAST_SCORE].tolist()
            answers.append(Answer(text=", ".join(self._names[number] for number in kept)))
        return answers

    @torch.inference_mode()
    def _probabilities(self, pixels: Tensor) -> Tensor:
        """(1, 3, S, S) uint8 to (1000,)."""
        present = torch.ones(1, dtype=torch.bool, device=self._device)
        pooled = self._encoder(pixels.to(self._device), present).pooled[0]  # (H_v,)
        return (self._weight @ pooled + self._bias).softmax(0)
