"""Real pictures go the whole way: contexts from a model, a prepared data set, training, predict.

The model is too small to say anything sensible; everything about its words is real but their sense.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from shapca.cli import app, run_application
from shapca.data.prepared import PreparedData
from tests.vision_language import WORDS

pytestmark = pytest.mark.real_data

NUM_VALID = NUM_TEST = 40
"""Posts without a stored picture that fill up a slice's validation and test splits."""


def shapca(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        run_application(app, [str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def pictures(real_data: Path) -> dict[str, Path]:
    return {file.stem: file for file in sorted((real_data / "sample_images").glob("*/*.jpg"))}


def slice_of_twitter(source: Path, out: Path, images: dict[str, Path]) -> list[str]:
    """The posts of these pictures, whatever their split, all as training posts, and some others.

    Returns:
        The image ids of the training posts.
    """
    posts = {
        split: (source / f"{split}.txt").read_text(encoding="utf-8").strip("\n").split("IMGID:")[1:]
        for split in ("train", "valid", "test")
    }
    out.mkdir()
    mine = [
        post
        for split in posts
        for post in posts[split]
        if post.partition("\n")[0].strip() in images
    ]
    others = {"valid": posts["valid"][:NUM_VALID], "test": posts["test"][:NUM_TEST]}
    for split, kept in {"train": mine, **others}.items():
        text = "\n\n".join("IMGID:" + post.strip("\n") for post in kept)
        (out / f"{split}.txt").write_text(text + "\n", encoding="utf-8")
    return [post.partition("\n")[0].strip() for post in mine]


def test_contexts_of_all_sample_pictures(
    real_data: Path, vision_models: dict[str, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    files = pictures(real_data)
    assert len(files) == 22
    out = tmp_path / "contexts.jsonl"
    assert shapca(
        "contexts", "generate", "--images", real_data / "sample_images", "--generator",
        f"hf:{vision_models['llava']}", "--out", out, "--max-new-tokens", 16, "--json",
    ) == 0  # fmt: skip
    report = json.loads(capsys.readouterr().out)
    assert report["num_images"] == report["num_generated"] == 22
    assert report["num_texts"] >= 15
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [record["image"] for record in records] == sorted(files)
    for record in records:
        assert set(record["text"].split()) <= {*WORDS, "<s>", "<unk>"}
    assert len({record["text"] for record in records if record["text"]}) > 10


def test_from_pictures_to_a_prediction(
    real_data: Path, vision_models: dict[str, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    images = real_data / "sample_images" / "twitter2017"
    wanted = {name: file for name, file in pictures(real_data).items() if file.parent == images}
    trained_on = slice_of_twitter(real_data / "twitter2017", tmp_path / "source", wanted)
    assert set(trained_on) == set(wanted)
    data = tmp_path / "data" / "slice"
    assert shapca("data", "prepare", "twitter2017", "--source", tmp_path / "source", "--images",
                  images, "--image-size", 64, "--out", data) == 0  # fmt: skip
    asked = ("contexts", "generate", "--data", data, "--images", images, "--generator",
             f"hf:{vision_models['llava']}", "--out", tmp_path / "contexts.jsonl",
             "--max-new-tokens", 16, "--keep-cut", "--import", "tiny-llava")  # fmt: skip
    assert shapca(*asked) == 0
    texts = PreparedData.load(data).contexts("tiny-llava")
    assert set(texts) == set(wanted)
    assert sum(map(bool, texts.values())) == len(wanted)
    config = {
        "task": "mner",
        "data": {"dataset": "slice", "contexts": "tiny-llava"},
        "text": {"encoder": "tiny", "max_length": 96},
        "image": {"encoder": "resnet18", "weights": "random", "size": 56},
        "fusion": {"width": 32},
        "head": {"hidden": 32},
        "optimisation": {"batch_size": 4, "epochs": 2, "learning_rate": 2e-3},
        "runtime": {"device": "cpu", "num_threads": 1},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    assert shapca("train", tmp_path / "config.yaml", "--data-root", data.parent, "--out", run) == 0
    capsys.readouterr()
    name, file = next(iter(wanted.items()))
    copy = shutil.copy(file, tmp_path / "new.jpg")
    words = "Kevin Durant enters Oracle Arena wearing Off - White x Jordan"
    predicted = []
    for more in ((), ("--image", copy), ("--image", copy, "--context", texts[name])):
        assert shapca("predict", run, "--text", words, *more, "--json") == 0
        predicted.append(json.loads(capsys.readouterr().out))
    assert all(answer["text"] == words for answer in predicted)
    for entity in predicted[-1]["entities"]:
        assert words[entity["start"] : entity["end"]] == entity["text"]
