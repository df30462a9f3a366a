"""`shapca config`: what a training file may say, and what a given one means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from shapca.commands.display.configuration import defaults_lines, defaults_tree, key_lines
from shapca.commands.options import AsJson, Overrides, examples
from shapca.config import ExperimentConfig, RuntimeConfig, Section, load_training_file, to_yaml
from shapca.config.keys import keys_of, schema_of
from shapca.errors import InputError

EPILOG = examples(
    "shapca config",
    "shapca config configs/demo.yaml --set optimisation.epochs=5",
    "shapca config --schema > training.schema.json",
)
Schema = Annotated[
    bool, typer.Option("--schema", help="Print the JSON schema by which editors check a file.")
]
Defaults = Annotated[
    bool, typer.Option("--defaults", help="Print a commented file of all defaults.")
]


class TrainingFile(ExperimentConfig):
    """A training file."""

    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)
    """Where and on what the run happens; no part of its result."""


def config(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="A training file (YAML) to check.")
    ] = None,
    set_: Overrides = None,
    schema: Schema = False,
    defaults: Defaults = False,
    as_json: AsJson = False,
) -> None:
    """List every key of a training file; or check a FILE, and show what it says with defaults."""
    check_question(file, set_, schema=schema, defaults=defaults)
    if file is not None:
        show_values(training_values(file, set_), as_json=as_json)
    elif schema:
        show_schema(schema_of(TrainingFile))
    else:
        show_form(TrainingFile, defaults=defaults, as_json=as_json)


def training_values(file: Path, overrides: list[str] | None) -> dict[str, Any]:
    """What a training file says, defaults included.

    Raises:
        InputError: as of the file.
    """
    experiment, runtime = load_training_file(file, overrides or ())
    return {**experiment.model_dump(mode="json"), "runtime": runtime.model_dump(mode="json")}


def check_question(
    file: Path | None, overrides: list[str] | None, *, schema: bool, defaults: bool
) -> None:
    """Refuse options that ask about a kind of file and about one of them at once.

    Raises:
        InputError: with the options that do not go together.
    """
    if schema and defaults:
        raise InputError("--schema and --defaults: expected at most one of them")
    if file is not None and (schema or defaults):
        raise InputError("--schema and --defaults are of no file: give them without FILE")
    if file is None and overrides:
        raise InputError("--set: expected FILE too, whose keys it overrides")


def show_schema(schema: dict[str, Any]) -> None:
    """Print a JSON schema."""
    typer.echo(json.dumps(schema, indent=2, ensure_ascii=False))


def show_form(model: type[Section], *, defaults: bool, as_json: bool) -> None:
    """Print the keys of a kind of file, or its defaults."""
    keys = keys_of(schema_of(model))
    if defaults:
        typer.echo(json.dumps(defaults_tree(keys)) if as_json else "\n".join(defaults_lines(keys)))
    elif as_json:
        typer.echo(json.dumps([vars(key) for key in keys], ensure_ascii=False))
    else:
        typer.echo("\n".join(key_lines(keys)))


def show_values(values: dict[str, Any], *, as_json: bool) -> None:
    """Print what a file says."""
    typer.echo(json.dumps(values, ensure_ascii=False) if as_json else to_yaml(values), nl=as_json)
