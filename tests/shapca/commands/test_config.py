"""`shapca config`: every key, a file of defaults, the schema, and what a file means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from shapca.cli import app, run_application
from shapca.config import ExperimentConfig, load_training_file
from tests.paths import ROOT

DEMO = ROOT / "configs/demo.yaml"


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        run_application(app, ["config", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def _no_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHAPCA_DATA", raising=False)


def test_every_key_is_listed_with_default_bounds_and_meaning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call() == 0
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("optimisation.batch_size = 28")
    assert lines[place + 1] == (
        "    whole number, ≥ 1, ≤ 4096. Examples of one batch: the players of the alignment game."
    )
    assert "data.dataset (required)" in lines
    assert "runtime.num_workers = 0" in lines
    assert call("--json") == 0
    keys = {key["name"]: key for key in json.loads(capsys.readouterr().out)}
    assert keys["optimisation.clip_norm"] == {
        "name": "optimisation.clip_norm",
        "type": "number | null",
        "bounds": "> 0.0",
        "is_required": False,
        "default": 1.0,
        "meaning": "Global norm that gradients are clipped to; null: off.",
        "is_section": False,
    }
    for name in keys:
        assert any(line.split(" ")[0].removesuffix(":") == name for line in lines), name


def test_the_defaults_are_a_file_that_lacks_what_is_required_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--defaults") == 0
    text = capsys.readouterr().out
    assert "  # dataset: (required)\n" in text
    assert "\n  # whole number, ≥ 1, ≤ 4096. Examples of one batch: " in text
    file = tmp_path / "defaults.yaml"
    file.write_text(text, encoding="utf-8")
    experiment, _ = load_training_file(file, ["data.dataset=mine"])
    assert experiment == ExperimentConfig.model_validate({"data": {"dataset": "mine"}})
    assert call(file) == 2
    assert capsys.readouterr().err == f"error: {file}: data.dataset: Field required\n"
    assert call("--defaults", "--json") == 0
    tree = yaml.safe_load(text)
    tree["optimisation"]["encoder_learning_rate"] = 5e-5  # PyYAML takes it for text
    assert json.loads(capsys.readouterr().out) == tree


def test_the_schema_takes_the_files_that_ship_and_no_wrong_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("--schema") == 0
    schema = json.loads(capsys.readouterr().out)
    validator = jsonschema.Draft202012Validator(schema)
    files = sorted((ROOT / "configs").glob("*.yaml"))
    assert files
    for file in files:
        tree = yaml_1_2(file)
        assert list(validator.iter_errors(tree)) == []
        tree["optimisation"]["epoch"] = 3
        assert [error.validator for error in validator.iter_errors(tree)] == [
            "additionalProperties"
        ]
    field = schema["$defs"]["OptimisationConfig"]["properties"]["learning_rate"]
    assert (field["exclusiveMinimum"], field["maximum"]) == (0.0, 1.0)
    assert field["description"] == "Peak learning rate of all but the encoders."


def yaml_1_2(file: Path) -> Any:
    """A file as editors read it: `1e-4` is a number to them, and text to PyYAML."""

    def mend(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: mend(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [mend(inner) for inner in value]
        is_number = isinstance(value, str) and "e-" in value and value[0].isdigit()
        return float(value) if is_number else value

    return mend(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_a_file_is_shown_with_all_that_it_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(DEMO, "--set", "optimisation.epochs=3") == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["optimisation"]["epochs"] == 3
    file = tmp_path / "shown.yaml"
    file.write_text(shown, encoding="utf-8")
    assert load_training_file(file) == load_training_file(DEMO, ["optimisation.epochs=3"])
    assert call(DEMO, "--json") == 0
    assert json.loads(capsys.readouterr().out)["head"]["contrast"]["scale"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((DEMO, "--set", "aligment.alpha=1"),
         f"{DEMO}: aligment: unknown key; did you mean alignment?"),
        ((DEMO, "--schema"), "--schema and --defaults are of no file: give them without FILE"),
        (("--schema", "--defaults"), "--schema and --defaults: expected at most one of them"),
        (("--set", "task=mre"), "--set: expected FILE too, whose keys it overrides"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_message(
    arguments: tuple[object, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*arguments) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
