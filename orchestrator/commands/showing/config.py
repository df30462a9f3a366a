"""`orchestrator config`: what files of sweeps and studies may say, and what a given one means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from orchestrator.commands.arguments import is_training_file
from orchestrator.config.sweep import SweepConfig
from orchestrator.studies.config import StudyConfig
from shapca.commands.config import (
    Defaults,
    Schema,
    TrainingFile,
    check_question,
    show_form,
    show_schema,
    show_values,
    training_values,
)
from shapca.commands.options import AsJson, Overrides, examples
from shapca.config import ExperimentConfig, Section, apply_overrides, read_yaml, shipped
from shapca.config.keys import keys_of, schema_of

EPILOG = examples(
    "orchestrator config",
    "orchestrator config --kind study",
    "orchestrator config search_spaces/demo.yaml --set protocol.trials=50",
    "orchestrator config --schema > sweep.schema.json",
)
Kind = Literal["training", "sweep", "study"]
MODELS: dict[Kind, type[Section]] = {
    "training": TrainingFile,
    "sweep": SweepConfig,
    "study": StudyConfig,
}


def config(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A file of any kind (YAML) to check."),
    ] = None,
    set_: Overrides = None,
    kind: Annotated[
        Kind, typer.Option(help="Kind of file to tell of; a FILE shows which it is.")
    ] = "sweep",
    schema: Schema = False,
    defaults: Defaults = False,
    as_json: AsJson = False,
) -> None:
    """List every key of a kind of file; or check a FILE, and show what it says with defaults."""
    check_question(file, set_, schema=schema, defaults=defaults)
    if file is not None:
        show_values(_values(file, set_ or []), as_json=as_json)
    elif schema:
        show_schema(schema_of_file(kind))
    else:
        show_form(MODELS[kind], defaults=defaults, as_json=as_json)
        if kind != "training" and not (defaults or as_json):
            typer.echo("\nThe keys of an experiment: shapca config")


def schema_of_file(kind: Kind) -> dict[str, Any]:
    """The JSON schema of a kind of file, with the keys of the experiments that it holds in part."""
    schema = schema_of(MODELS[kind])
    if kind == "training":
        return schema
    experiment = schema_of(ExperimentConfig)
    names = [key.name for key in keys_of(experiment) if not key.is_section]
    parts = {"Experiment": experiment, **experiment.pop("$defs")}
    for name, part in parts.items():
        part.pop("required", None)  # what one part leaves out another may give
        part.pop("$schema", None)
        schema["$defs"][f"Partial{name}"] = _renamed(part)
    for form in (schema, *schema["$defs"].values()):
        if "experiment" in (fields := form.get("properties", {})):
            given = fields["experiment"]
            fields["experiment"] = {
                "$ref": "#/$defs/PartialExperiment",
                **{key: given[key] for key in ("default", "description") if key in given},
            }
    if kind == "sweep":
        schema["properties"]["space"]["propertyNames"] = {"enum": names}
        for form in schema["$defs"].values():
            if "when" in form.get("properties", {}):
                form["properties"]["when"]["propertyNames"] = {"enum": names}
    return schema


def _renamed(part: Any) -> Any:
    """A schema whose references go to the sections of an experiment in part."""
    if isinstance(part, Mapping):
        return {
            key: value.replace("#/$defs/", "#/$defs/Partial") if key == "$ref" else _renamed(value)
            for key, value in part.items()
        }
    return [_renamed(item) for item in part] if isinstance(part, list) else part


def _values(file: Path, overrides: list[str]) -> dict[str, Any]:
    file = shipped.find(file, "search_spaces")
    tree = apply_overrides(read_yaml(file), overrides)
    if {"rows", "series", "columns"} & set(tree):
        return StudyConfig.load(file, overrides).model_dump(mode="json")
    if is_training_file(tree):
        return training_values(file, overrides)
    sweep = SweepConfig.load(file, overrides)
    values = sweep.model_dump(mode="json")
    if sweep.space:
        values["experiment"] = _fixed(sweep)
    return values


def _fixed(sweep: SweepConfig) -> dict[str, Any]:
    """What all experiments of a sweep have in common: those of its space's keys are left out.

    A conditional dimension's stays, which applies where its condition does not hold.
    """
    values = next(sweep.corners())
    always = {key: value for key, value in values.items() if not sweep.space[key].when}
    tree = sweep.resolve(always).model_dump(mode="json")
    for key in always:
        *above, name = key.split(".")
        branch = tree
        for part in above:
            branch = branch[part]
        branch.pop(name, None)
    return tree
