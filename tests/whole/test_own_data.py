"""The page on own data, word for word: 60 posts of six types go from files to a trained model."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

import shapca.cli
from orchestrator.config.sweep import SweepConfig
from shapca.config import ExperimentConfig
from shapca.data.prepared import PreparedData
from shapca.data.schema import SPLITS
from tests.paths import ROOT
from tests.whole.test_readme import APPLICATIONS, blocks, commands, parse

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = commands(PAGE)
YAML = [block.text for block in blocks(PAGE) if block.language == "yaml"]
NAMES = {
    "PERSON": ("Maro", "Ives Fern"),
    "PLACE": ("Pemberly", "Lake Ostra"),
    "CLUB": ("Ostra Union",),
    "EVENT": ("Summer Fair", "Night Run"),
    "FOOD": ("fish soup",),
    "TEAM": ("the Herons",),
}
# The smallest encoders in place of those that the page recommends.
TINY = {
    "text": {"encoder": "tiny", "max_length": 64},
    "image": {"encoder": "resnet18", "weights": "random", "size": 40},
    "fusion": {"width": 32},
    "head": {"hidden": 32, "channel_width": 8},
}


def write_posts(folder: Path) -> None:
    """60 posts: text with spans of characters, pictures, captions."""
    random = Random(0)
    (folder / "pictures").mkdir()
    lines = []
    for number in range(60):
        first, second = random.sample(list(NAMES), 2)
        name, other = random.choice(NAMES[first]), random.choice(NAMES[second])
        text = f"{name} and {other}, day {number}!"
        start = text.index(other, len(name))
        entities = [
            {"start": 0, "end": len(name), "type": first, "name": name},
            {"start": start, "end": start + len(other), "type": second, "name": other},
        ]
        image = f"{number}.jpg"
        Image.new("RGB", (50, 40), (number * 4, 99, 9)).save(folder / "pictures" / image)
        lines.append(
            {"id": number, "text": text, "entities": entities, "image": image,
             "context": f"a {first.lower()}"}
        )  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "posts.jsonl").write_text(text, encoding="utf-8")


def run(words: list[str]) -> str:
    result = CliRunner().invoke(APPLICATIONS[words[0]], words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def smaller(tree: dict[str, Any]) -> dict[str, Any]:
    """The page's experiment with the smallest encoders."""
    optimisation = {**tree["optimisation"], "epochs": 2, "encoder_learning_rate": 2e-3}
    return {**tree, **TINY, "optimisation": {**optimisation, "batch_size": 8}}


@pytest.mark.parametrize("words", COMMANDS, ids=shlex.join)
def test_every_command_parses(words: list[str]) -> None:
    import typer

    parse(typer.main.get_command(APPLICATIONS[words[0]]), words)


def test_the_examples_of_lines_are_read(tmp_path: Path) -> None:
    for language, form, more in (("json", "jsonl", []), ("", "conll", ["--header", "IMGID:"])):
        (text,) = (b.text for b in blocks(PAGE) if b.language == language and "Maro" in b.text)
        for number, split in enumerate(SPLITS, start=1):
            own = text.replace('"id": ', f'"id": {number}').replace("IMGID:1", f"IMGID:{split}")
            (tmp_path / f"{split}.{form}").write_text(own, encoding="utf-8")
        out = tmp_path / form
        command = ["data", "prepare", "own", "--format", form, "--source", str(tmp_path)]
        result = CliRunner().invoke(shapca.cli.app, [*command, *more, "--out", str(out)])
        assert result.exit_code == 0, result.output
        expected = {"jsonl": ("EVENT", "FOOD", "PERSON"), "conll": ("FOOD", "PERSON")}[form]
        assert PreparedData.load(out).labels.entity_types == expected


def test_own_posts_become_a_trained_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_posts(tmp_path)
    experiment, search = map(yaml.safe_load, YAML)
    assert ExperimentConfig.model_validate(experiment).text.encoder == "minilm"
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(smaller(experiment)), encoding="utf-8")
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search), encoding="utf-8")
    assert SweepConfig.load(tmp_path / "search.yaml").experiment["data"]["dataset"] == "mine"
    told = {}
    for words in COMMANDS:
        if words[0] == "shapca":
            told[words[1]] = run(words)
    data = PreparedData.load(tmp_path / "data" / "mine")
    assert data.labels.entity_types == tuple(sorted(NAMES))
    sizes = {split: len(data.splits[split]) for split in SPLITS}
    assert sum(sizes.values()) == 60
    assert sizes["valid"] >= 6
    assert data.manifest.counts["train"]["missing_images"] == 0
    assert data.contexts("captions")[data.splits["train"][0].image or ""].startswith("a ")
    found = json.loads(told["predict"])
    assert {entity["type"] for entity in found["entities"]} <= set(NAMES)
    assert "f1" in told["evaluate"]
    assert (tmp_path / "exported" / "train.jsonl").is_file()


@pytest.mark.slow
def test_own_posts_go_through_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import subprocess
    import sys

    monkeypatch.chdir(tmp_path)
    write_posts(tmp_path)
    search = yaml.safe_load(YAML[1])
    search["experiment"] = smaller(search["experiment"])
    # Enough to find something: a score of 0 wins nothing.
    search["experiment"]["optimisation"]["epochs"] = 20
    search["protocol"]["trials"] = 2
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search), encoding="utf-8")
    run(COMMANDS[0])
    for words in COMMANDS:
        if words[0] == "orchestrator":
            done = subprocess.run(
                [sys.executable, "-m", *words],
                capture_output=True,
                text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=False,
            )
            assert done.returncode == 0, done.stderr
    assert list((tmp_path / "storage").rglob("report/*"))
