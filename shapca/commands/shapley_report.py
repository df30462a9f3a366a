"""`shapca shapley-report`: how far Algorithm 1 is from exact Shapley values on a trained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shapca.commands.options import AsJson, Device, FinishedRun
from shapca.words import counted

if TYPE_CHECKING:
    from shapca.evaluation.shapley_report import ShapleyReport


def shapley_report(
    run: FinishedRun,
    data: Annotated[Path, typer.Option(help="Prepared data set to take posts from.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "valid",
    batches: Annotated[int, typer.Option(min=1, help="Batches to look at, at most.")] = 8,
    draws: Annotated[int, typer.Option(min=1, help="Permutations drawn for each batch.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of batches and permutations.")] = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure the error of `cyclic` against exact Shapley values, in value and gradient."""
    from shapca.commands.display.messages import shown_messages
    from shapca.config import RuntimeConfig
    from shapca.data.prepared import PreparedData
    from shapca.evaluation.shapley_report import report_on_run

    with shown_messages():
        report = report_on_run(
            run,
            PreparedData.load(data),
            split=split,
            num_batches=batches,
            num_draws=draws,
            seed=seed,
            runtime=RuntimeConfig(device=device),
        )
    if as_json:
        print(json.dumps({"run": str(run), "split": split, **report.to_json()}))
    else:
        _print(report)


ROWS = (
    ("games", "num_batches", "d"),
    ("players (mean)", "mean_players", ".1f"),
    ("cosine of positive pairs", "positive_similarity", ".3f"),
    ("cosine of other pairs", "negative_similarity", ".3f"),
    ("values, RMS", "value_size", ".4f"),
    ("  error, RMS", "value_error", ".4f"),
    ("positive pairs, RMS", "own_value_size", ".4f"),
    ("  error, RMS", "own_value_error", ".4f"),
    ("loss", "loss", ".4f"),
    ("  error, RMS", "loss_error", ".4f"),
    ("gradient, error / length", "gradient_error", ".3f"),
    ("gradient, cosine", "gradient_cosine", ".3f"),
)


def _print(report: ShapleyReport) -> None:
    from rich.table import Table

    from shapca.commands.display.console import open_console

    title = (
        f"cyclic against exact: tau {report.temperature:g}, negatives {report.negatives}, "
        f"{counted(report.num_batches, 'batch', 'batches')} of {report.batch_size}, "
        f"{counted(report.num_draws, 'draw')}"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for direction in report.directions:
        table.add_column(direction.direction, justify="right")
    for heading, name, form in ROWS:
        table.add_row(heading, *(format(getattr(d, name), form) for d in report.directions))
    open_console().print(table)
    open_console().print(report.meaning, highlight=False)
