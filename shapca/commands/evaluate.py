"""`shapca evaluate`: scores of a finished run on a split of any data set of its task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from shapca.commands.options import AsJson, Computing, Device, FinishedRun, LabelMap, examples
from shapca.evaluation.label_map import read_label_map

EPILOG = examples(
    "shapca evaluate runs/demo-seed1 --data data/synthetic --split valid",
    "shapca evaluate runs/demo-seed1 --data data/other --label-map PER=PERSON --json",
)


def evaluate(
    run: FinishedRun,
    data: Annotated[Path, typer.Option(help="Prepared data set.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    contexts: Annotated[
        str | None, typer.Option(help="Context set to read in place of the run's.")
    ] = None,
    label_map: LabelMap = None,
    device: Device = "auto",
    precision: Computing = None,
    as_json: AsJson = False,
) -> None:
    """Score a run's best weights; stored scores are read, not computed again."""
    names = read_label_map(label_map or ())

    from shapca.commands.display.messages import shown_messages
    from shapca.config import RuntimeConfig
    from shapca.data.prepared import PreparedData
    from shapca.evaluation import evaluate_run
    from shapca.runs.run_record import load_run
    from shapca.storage import FolderStore

    load_run(FolderStore(run))  # a run that is none is told before a data set that is none
    with shown_messages():
        record = evaluate_run(
            run,
            PreparedData.load(data),
            split=split,
            contexts=contexts,
            label_map=names,
            precision=precision,
            runtime=RuntimeConfig(device=device),
        )
    if as_json:
        print(json.dumps({"run": str(run), **record.to_json()}))
        return

    from shapca.commands.display.console import open_console
    from shapca.commands.display.tables import score_table

    open_console().print(score_table({split: record.evaluation.metrics}))
