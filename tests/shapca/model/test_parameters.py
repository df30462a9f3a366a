"""The table of parameters and its command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from shapca.build import build_on_meta
from shapca.cli import app
from shapca.config import ExperimentConfig, Task
from shapca.config.variants import VARIANTS, applies_to, apply_variant
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.model.parameters import default_labels, model_size
from tests.paths import ROOT

TASKS = get_args(Task)
PAPER = {"data": {"dataset": "twitter2015"}}
ROWS = [(name, task) for name in VARIANTS for task in TASKS if applies_to(name, task)]
# Studies, in `paper/`, name their data sets row by row; `test_paper` builds their models.
SHIPPED = sorted((ROOT / "search_spaces").glob("*.yaml"))


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    file = tmp_path / "paper.yaml"
    file.write_text("data: {dataset: twitter2015}\nruntime: {device: cpu}\n")
    return file


def test_the_papers_model_line_by_line() -> None:
    size = model_size(build_on_meta(ExperimentConfig.model_validate(PAPER), default_labels("mner")))
    lines = {module.name: module.parameters for module in size.modules}
    assert size.parameters == 170_701_192
    assert lines["text"] + lines["text.bert.pooler"] == 109_482_240
    assert lines["text.bert.pooler"] == 768 * 768 + 768
    assert lines["image"] == 58_143_808
    rest = {
        "fusion.query": 2048 * 256 + 256,
        "fusion.key": 768 * 256 + 256,
        "fusion.value": 768 * 256 + 256,
        "fusion.context": 768 * 256 + 256,
        "fusion.query_gate.linear": 512 * 256 + 256,
        "fusion.key_gate.linear": 512 * 256 + 256,
        "fusion.norm": 2 * 256,
        "channels.pos": 20 * 100,
        "channels.position": 512 * 100,
        "head.emissions": 150 * 9 + 9,
        "head.crf": 9 + 9 + 9 * 9,
    }
    assert {name: lines[name] for name in rest} == rest
    (projection,) = (name for name in lines if name.startswith("alignment"))
    assert lines[projection] == 2048 * 768 + 768
    (hidden,) = (name for name in lines if name.startswith("head.channels"))
    assert lines[hidden] == 456 * 150 + 150
    assert len(lines) == len(rest) + 5
    assert size.trainable == size.parameters - lines["text.bert.pooler"]


@pytest.mark.parametrize(("name", "task"), ROWS)
def test_no_parameter_is_forgotten_or_counted_twice(name: str, task: Task) -> None:
    tree = apply_variant(PAPER | {"task": task, "text": {"encoder": "tiny"}}, name)
    model = build_on_meta(ExperimentConfig.model_validate(tree), default_labels(task))
    size = model_size(model)
    assert size.parameters == sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert size.trainable == trainable
    assert len({module.name for module in size.modules}) == len(size.modules)


def test_a_learnt_temperature_is_a_line() -> None:
    tree = PAPER | {"alignment": {"negatives": "softmax", "learn_temperature": True}}
    size = model_size(build_on_meta(ExperimentConfig.model_validate(tree), default_labels("mner")))
    lines = {module.name: module.parameters for module in size.modules}
    assert lines["alignment"] == 1
    assert size.parameters == 170_701_193


def test_default_labels_have_the_benchmarks_sizes() -> None:
    assert [default_labels(task).num_outputs for task in TASKS] == [9, 23, 26]


def test_the_command_prints_a_table(paper: Path) -> None:
    result = CliRunner().invoke(app, ["parameters", str(paper)], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    assert "total (170.70 M)" in result.output
    assert "170,701,192" in result.output
    assert "58,143,808" in result.output


def test_the_command_prints_json_and_takes_overrides(paper: Path) -> None:
    arguments = ["parameters", str(paper), "--json", "--set", "image.encoder=resnet50"]
    result = CliRunner().invoke(app, arguments)
    record = json.loads(result.output)
    assert record["parameters"] == 170_701_192 - 58_143_808 + 23_508_032
    assert record["trainable"] == record["parameters"] - 590_592
    assert sum(module["parameters"] for module in record["modules"]) == record["parameters"]


def test_labels_come_from_a_data_set_where_one_is_given(
    paper: Path, tiny_mner: PreparedData
) -> None:
    arguments = ["parameters", str(paper), "--json", "--data", str(tiny_mner.folder)]
    result = CliRunner().invoke(app, arguments)
    num_tags = len(tiny_mner.labels.tags)
    (crf,) = (m for m in json.loads(result.output)["modules"] if m["name"] == "head.crf")
    assert crf["parameters"] == num_tags * (num_tags + 2)


def test_a_search_space_is_read_through_its_experiment(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("name: x\nexperiment: {data: {dataset: a}, text: {encoder: minilm}}\nspace: {}")
    result = CliRunner().invoke(app, ["parameters", str(file), "--json"])
    assert json.loads(result.output)["modules"][0]["parameters"] < 25e6


def test_bad_input_names_the_key(paper: Path) -> None:
    result = CliRunner().invoke(app, ["parameters", str(paper), "--set", "text.encodr=x"])
    assert isinstance(result.exception, InputError)
    assert "text.encodr: unknown key" in str(result.exception)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_file_can_be_counted(file: Path) -> None:
    result = CliRunner().invoke(app, ["parameters", str(file), "--json"])
    assert result.exit_code == 0, result.exception
    assert json.loads(result.output)["parameters"] > 0
