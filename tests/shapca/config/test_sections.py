"""The config tree: bounds, messages, overrides and the canonical form that keys are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapca.config import (
    AlignmentConfig,
    ExperimentConfig,
    RuntimeConfig,
    apply_overrides,
    load_training_file,
    validate,
)
from shapca.config.sections import EARLIER_DEFAULTS
from shapca.errors import InputError

# What is the default now and was none when the first keys were made.
LATER = {
    "estimator": "exact",
    "temperature": 1.0,
    "negatives": "softmax",
    "value_temperature": 0.05,
}


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_numbers_without_a_dot_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {dataset: x}\noptimisation: {learning_rate: 1e-6}\n")
    assert ExperimentConfig.load(path).optimisation.learning_rate == 1e-6


def test_overrides_win_and_runtime_stands_apart(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {dataset: x}\nruntime: {num_threads: 2}\n")
    config, runtime = load_training_file(path, ["optimisation.epochs=3", "runtime.device=cpu"])
    assert config.optimisation.epochs == 3
    assert (runtime.num_threads, runtime.device) == (2, "cpu")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: {dataset: x}\noptimisation: {lr: 1}\n", "optimisation.lr: unknown key"),
        ("data: {dataset: x}\nalignment: {temperature: 0.004}\n", "alignment.temperature"),
        ("data: {dataset: x}\nalignment: {temperature: .nan}\n", "alignment.temperature"),
        ("data: {dataset: x}\nalignment: {value_temperature: 2}\n", "alignment.value_temperature"),
        (
            "data: {dataset: x}\nalignment: {learn_temperature: true, negatives: mean}\n",
            "alignment: learn_temperature needs negatives: softmax",
        ),
        (
            "data: {dataset: x}\n"
            "alignment: {learn_temperature: true, objective: infonce, temperature: 2}\n",
            "alignment: learn_temperature needs a temperature of at most 1",
        ),
        (
            "data: {dataset: x}\ntext: {encode: separate}\nalignment: {features: separate}\n",
            "alignment.features: separate needs text.encode: joint",
        ),
        (
            "data: {dataset: x, contexts: null}\nfusion: {kind: cross_attention}\n"
            "alignment: {features: separate, bridge: direct}\n",
            "alignment.features: separate needs data.contexts",
        ),
        ("data: {dataset: ../x}\n", "data.dataset"),
        ("data: {dataset: x}\nimage: {encoder: none}\n", "fusion.kind must be none"),
        ("data: {dataset: x, contexts: null}\n", "fusion.kind: adaptive needs data.contexts"),
        ("data: {dataset: x}\nruntime: {device2: 1}\n", "runtime.device2: unknown key"),
        ("data: [1\n", "not valid YAML"),
        ("- 1\n", "expected a mapping"),
        ("data: {dataset: x}\ntask: mner\ntask: mre\n", ":3: the key 'task' is given twice"),
        ("data:\n  dataset: x\n  dataset: y\n", ":3: the key 'dataset' is given twice"),
    ],
)
def test_bad_input_names_file_and_key(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        load_training_file(path)
    assert expected in str(error.value)
    assert str(path) in str(error.value)


def test_bad_overrides() -> None:
    with pytest.raises(InputError, match="expected key=value"):
        apply_overrides({}, ["optimisation.epochs"])
    with pytest.raises(InputError, match="task is a value, not a section"):
        apply_overrides({"task": "mner"}, ["task.kind=1"])


def test_missing_file() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        ExperimentConfig.load("/nowhere/config.yaml")


def test_canonical_form_omits_defaults_names_and_paths(tmp_path: Path) -> None:
    tree = {"data": {"dataset": "a", "contexts": "b"}, "text": {"encoder": str(tmp_path)}}
    config = ExperimentConfig.model_validate(tree)
    assert config.canonical() == {"text": {"encoder": "<path>"}, "alignment": LATER}


def test_a_key_keeps_its_meaning_when_a_default_changes() -> None:
    as_before = {
        "estimator": "cyclic", "temperature": 0.1, "negatives": "sum", "value_temperature": 0.02,
    }  # fmt: skip
    tree = {"data": {"dataset": "a"}, "alignment": as_before}
    assert ExperimentConfig.model_validate(tree).canonical() == {}
    changed = {**tree, "alignment": {**as_before, "negatives": "mean", "alpha": 0.3}}
    canonical = ExperimentConfig.model_validate(changed).canonical()
    assert canonical == {"alignment": {"alpha": 0.3, "negatives": "mean"}}
    for name, value in LATER.items():
        assert getattr(AlignmentConfig(), name) == value != EARLIER_DEFAULTS["alignment"][name]


def test_canonical_form_normalises_numbers() -> None:
    one = validate(ExperimentConfig, {"data": {"dataset": "a"}, "alignment": {"alpha": 1}}, "test")
    same = validate(
        ExperimentConfig, {"data": {"dataset": "a"}, "alignment": {"alpha": "1e0"}}, "test"
    )
    assert one.canonical() == same.canonical() == {"alignment": {"alpha": 1.0, **LATER}}


def test_runtime_reads_the_data_root_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHAPCA_DATA", "/somewhere")
    assert RuntimeConfig().data_root == Path("/somewhere")


def test_a_folder_named_like_an_encoder_changes_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "minilm").mkdir()
    monkeypatch.chdir(tmp_path)
    tree = {"data": {"dataset": "a"}, "text": {"encoder": "minilm"}}
    config = ExperimentConfig.model_validate(tree)
    assert config.canonical() == {"text": {"encoder": "minilm"}, "alignment": LATER}
