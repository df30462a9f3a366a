"""What a file may say is told from its model, and a wrong key by the one that was meant."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import Field

from orchestrator.config.sweep import SweepConfig
from orchestrator.studies.config import StudyConfig
from shapca.config import ExperimentConfig, Number, RuntimeConfig, Section, validate, with_value
from shapca.config.keys import Key, keys_of, schema_of
from shapca.errors import InputError

DATA = {"data": {"dataset": "x"}}
SPACE = {"name": "x", "space": {"alignment.alpha": {"type": "float", "low": 0.1, "high": 1}}}


class Inner(Section):
    """A section."""

    rate: Annotated[Number, Field(gt=0, le=1)] | None = 0.5
    """How fast
    it is."""


class Outer(Section):
    """A file."""

    kind: Literal["a", "b"]
    inner: Inner = Inner()
    many: dict[str, Inner] = Field(default_factory=dict)
    sizes: Annotated[tuple[int, ...], Field(min_length=2)] = (1, 2)


def test_a_key_is_told_with_type_bounds_default_and_meaning() -> None:
    assert keys_of(schema_of(Outer)) == [
        Key("kind", "a | b", "", True, None, "", False),
        Key("inner", "section", "", False, {"rate": 0.5}, "", True),
        Key("inner.rate", "number | null", "> 0, ≤ 1", False, 0.5, "How fast it is.", False),
        Key("many", "section by name", "", False, {}, "", True),
        Key("many.NAME.rate", "number | null", "> 0, ≤ 1", False, 0.5, "How fast it is.", False),
        Key("sizes", "list of whole number", "at least 2", False, [1, 2], "", False),
    ]


@pytest.mark.parametrize("model", [ExperimentConfig, RuntimeConfig, SweepConfig, StudyConfig])
def test_every_field_of_a_file_is_told(model: Any) -> None:
    schema = schema_of(model)
    jsonschema.Draft202012Validator.check_schema(schema)
    keys = {key.name: key for key in keys_of(schema)}
    for name, field in model.model_fields.items():
        assert keys[name].is_required == field.is_required()
        assert keys[name].meaning == " ".join((field.description or "").split())


def test_bounds_are_those_that_hold() -> None:
    num_bounds = 0
    for key in keys_of(schema_of(ExperimentConfig)):
        for bound in filter(None, key.bounds.split(", ")):
            if bound[0] not in "≥≤":
                continue
            limit, is_whole = float(bound[2:]), "whole number" in key.type
            step = 1 if is_whole else 1e-3
            beyond = limit - step if bound[0] == "≥" else limit + step
            within, value = (int(n) if is_whole else n for n in (limit, beyond))
            given = {"task": "mre", **DATA}
            assert f"f.yaml: {key.name}: Input should be" in wrong(
                with_value(given, key.name, value)
            )
            validate(ExperimentConfig, with_value(given, key.name, within), "f.yaml")
            num_bounds += 1
    assert num_bounds > 30


def wrong(given: dict[str, Any], model: Any = ExperimentConfig) -> str:
    with pytest.raises(InputError) as refused:
        validate(model, given, "f.yaml")
    return str(refused.value)


@pytest.mark.parametrize(
    ("model", "given", "said"),
    [
        (ExperimentConfig, {"aligment": {}}, "aligment: unknown key; did you mean alignment?"),
        (
            ExperimentConfig,
            {"head": {"contrast": {"scal": 1}}},
            "head.contrast.scal: unknown key; did you mean scale?",
        ),
        (
            ExperimentConfig,
            {"learning_rate": 1},
            "learning_rate: unknown key; did you mean optimisation.learning_rate?",
        ),
        (
            ExperimentConfig,
            {"encoder": 1},
            "encoder: unknown key; did you mean text.encoder or image.encoder?",
        ),
        (
            ExperimentConfig,
            {"fusion": {"qqq": 1}},
            "fusion.qqq: unknown key; expected kind, reading, gate, normalise_bridge, width",
        ),
        (RuntimeConfig, {"num_thread": 1}, "num_thread: unknown key; did you mean num_threads?"),
        (
            SweepConfig,
            SPACE | {"protocol": {"trails": 3}},
            "protocol.trails: unknown key; did you mean trials?",
        ),
        (
            SweepConfig,
            {"name": "x", "space": {"a": {"type": "int", "low": 1, "high": 2, "lg": True}}},
            "space.a.int.lg: unknown key; did you mean log?",
        ),
        (
            StudyConfig,
            {"columns": {"title": {"dta": "x"}}},  # a column that is called as one of its keys
            "columns.title.dta: unknown key; did you mean data?",
        ),
    ],
)
def test_a_wrong_key_is_answered_by_the_one_that_was_meant(
    model: Any, given: dict[str, Any], said: str
) -> None:
    whole = given if model is not ExperimentConfig else DATA | given
    assert f"f.yaml: {said}" in wrong(whole, model).splitlines()


def test_many_wrong_keys_are_told_fast() -> None:
    began = time.perf_counter()
    message = wrong(DATA | {f"key{number}": 1 for number in range(2_000)})
    assert len(message.splitlines()) == 2_000
    assert time.perf_counter() - began < 2
