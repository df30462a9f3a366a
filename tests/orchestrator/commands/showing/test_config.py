"""`orchestrator config`: keys, schema and meaning of files of sweeps and studies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.config.sweep import SweepConfig
from orchestrator.studies.config import StudyConfig
from shapca.errors import InputError
from tests.paths import ROOT
from tests.shapca.commands.test_config import yaml_1_2

DEMO = ROOT / "search_spaces/demo.yaml"
TABLE = ROOT / "search_spaces/paper/demo/table1.yaml"
FILES = {
    "sweep": sorted((ROOT / "search_spaces").glob("*.yaml")),
    "study": sorted((ROOT / "search_spaces/paper").rglob("*.yaml")),
    "training": sorted((ROOT / "configs").glob("*.yaml")),
}


def shown(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["config", *map(str, arguments)])
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_keys_of_sweeps_are_told_and_those_of_studies_on_request() -> None:
    lines = shown().splitlines()
    place = lines.index("protocol.trials = 20")
    assert lines[place + 1].startswith("    whole number, ≥ 1, ≤ 100000. Configurations that the")
    assert "space.NAME (float).low (required)" in lines
    assert "shapca config" in lines[-1]
    studies = {key["name"]: key for key in json.loads(shown("--kind", "study", "--json"))}
    assert studies["columns.NAME.digits"]["bounds"] == "≥ 0, ≤ 6"
    assert "protocol.trials" not in studies


@pytest.mark.parametrize("kind", FILES)
def test_the_schema_takes_every_file_that_ships(kind: str) -> None:
    schema = json.loads(shown("--kind", kind, "--schema"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert FILES[kind]
    for file in FILES[kind]:
        assert [error.message for error in validator.iter_errors(yaml_1_2(file))] == [], file


@pytest.mark.parametrize(
    ("when", "is_allowed"),
    [
        ({"image.encoder": "resnet50"}, True),
        ({"image.encoder": ["resnet50", "resnet18"]}, True),
        ({"image.encoders": "resnet50"}, False),
        ({"image.encoder": {"is": "resnet50"}}, False),
        ("resnet50", False),
    ],
)
def test_the_schema_has_conditions(when: Any, is_allowed: bool) -> None:
    tree = yaml_1_2(DEMO)
    tree["space"]["alignment.beta"] = {"type": "float", "low": 0, "high": 1, "when": when}
    errors = [*jsonschema.Draft202012Validator(json.loads(shown("--schema"))).iter_errors(tree)]
    assert bool(errors) is not is_allowed


def test_what_applies_where_a_dimension_is_absent_is_shown() -> None:
    branch = "space.optimisation.encoder_learning_rate={type: float, low: 1e-5, high: 1e-3, "
    branch += "when: {alignment.objective: shapley}}"
    choice = "space.alignment.objective={type: choice, values: [shapley, infonce]}"
    base = "experiment.optimisation.encoder_learning_rate=0.007"
    tree = yaml.safe_load(shown(DEMO, "--set", choice, "--set", branch, "--set", base))
    assert tree["experiment"]["optimisation"]["encoder_learning_rate"] == 0.007
    assert "objective" not in tree["experiment"]["alignment"]


@pytest.mark.parametrize(
    ("file", "place"),
    [
        (DEMO, ("experiment", "optimisation")),  # of the experiment, though it is given in part
        (DEMO, ("space",)),
        (DEMO, ("protocol",)),
        (TABLE, ("experiment", "text")),
    ],
)
def test_the_schema_shows_a_wrong_key(file: Path, place: tuple[str, ...]) -> None:
    kind = "sweep" if file == DEMO else "study"
    validator = jsonschema.Draft202012Validator(json.loads(shown("--kind", kind, "--schema")))
    tree: Any = yaml_1_2(file)
    branch = tree
    for part in place:
        branch = branch[part]
    branch["epoch"] = {"type": "int", "low": 1, "high": 2}
    [error] = validator.iter_errors(tree)
    assert "'epoch'" in error.message
    assert tuple(error.absolute_path)[: len(place)] == place


def test_defaults_are_yaml_that_lacks_what_is_required() -> None:
    tree = yaml.safe_load(shown("--defaults"))
    whole = SweepConfig.model_validate(
        {"name": "x", "space": {"alignment.alpha": {"type": "float", "low": 0.1, "high": 1}}}
    )
    assert {**tree, "name": "x", "space": whole.space} == {
        **whole.model_dump(mode="json"), "space": whole.space,
    }  # fmt: skip


def test_a_sweep_is_shown_with_what_its_space_leaves_fixed(tmp_path: Path) -> None:
    text = shown(DEMO, "--set", "protocol.trials=7")
    tree = yaml.safe_load(text)
    assert tree["protocol"]["trials"] == 7
    assert tree["experiment"]["head"]["dropout"] == 0.1
    assert "learning_rate" not in tree["experiment"]["optimisation"]  # the space varies it
    file = tmp_path / "shown.yaml"
    file.write_text(text, encoding="utf-8")
    meant, given = SweepConfig.load(file), SweepConfig.load(DEMO, ["protocol.trials=7"])
    assert list(meant.experiments()) == list(given.experiments())
    assert meant.protocol == given.protocol


def test_other_files_are_told_by_what_they_hold(tmp_path: Path) -> None:
    file = tmp_path / "shown.yaml"
    file.write_text(shown(TABLE), encoding="utf-8")
    assert StudyConfig.load(file) == StudyConfig.load(TABLE)
    training = json.loads(shown(ROOT / "configs/demo.yaml", "--json"))
    assert training["runtime"]["num_workers"] == 0


def test_a_wrong_file_is_one_message_with_the_key_that_was_meant() -> None:
    with pytest.raises(InputError, match=r"demo\.yaml: budget\.hours: unknown key; did you mean"):
        shown(DEMO, "--set", "budget.hours=1")
    with pytest.raises(InputError, match=r"experiment\.fusion\.widht: unknown key; did you mean w"):
        shown(DEMO, "--set", "experiment.fusion.widht=8")
