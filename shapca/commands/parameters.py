"""`shapca parameters`: how large the model of a configuration is, without building its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from shapca.commands.display.console import open_console
from shapca.commands.options import AsJson, Overrides
from shapca.config import ExperimentConfig, apply_overrides, read_yaml, shipped, validate
from shapca.errors import InputError

if TYPE_CHECKING:
    from shapca.model.parameters import ModelSize


def parameters(
    config: Annotated[
        Path, typer.Argument(help="A training file, or a search space: its experiment is read.")
    ],
    set_: Overrides = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Prepared data set to take the labels from.", show_default="the benchmarks'"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count the parameters of a configuration's model, module by module."""
    experiment = _read(config, set_ or ())

    from shapca.build import build_on_meta
    from shapca.data.prepared import PreparedData
    from shapca.model.parameters import default_labels, model_size

    labels = (
        default_labels(experiment.task)
        if data is None
        else PreparedData.load(data, verify=False).labels
    )
    size = model_size(build_on_meta(experiment, labels))
    if as_json:
        typer.echo(json.dumps(size.to_json(), indent=2))
    else:
        _print(size)


def _read(path: Path, overrides: Sequence[str]) -> ExperimentConfig:
    path = shipped.find(path, "configs")
    tree = read_yaml(path)
    tree = tree.get("experiment", tree)  # of a sweep's file
    if not isinstance(tree, dict):
        raise InputError(f"{path}: experiment: expected a mapping, found {type(tree).__name__}")
    tree = apply_overrides(tree, overrides)
    tree.pop("runtime", None)
    return validate(ExperimentConfig, tree, str(path))


def _print(size: ModelSize) -> None:
    table = Table("module", "class", box=None, pad_edge=False)
    for heading in ("parameters", "trained"):
        table.add_column(heading, justify="right")
    for module in size.modules:
        table.add_row(module.name, module.kind, f"{module.parameters:,}", f"{module.trainable:,}")
    table.add_section()
    table.add_row(
        f"total ({size.parameters / 1e6:.2f} M)", "", f"{size.parameters:,}", f"{size.trainable:,}"
    )
    open_console().print(table)
