"""`orchestrator export`: a sweep's search as a study of Optuna's."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from orchestrator.commands.arguments import SpaceOrName, Storage, existing_storage, sweep_name
from shapca.commands.options import AsJson, examples
from shapca.errors import InputError
from shapca.words import counted

EPILOG = examples(
    "orchestrator export demo --optuna sqlite:///optuna.db",
    "orchestrator export search_spaces/demo.yaml --optuna optuna.log --replace",
)
_SAID = {
    "written": "written",
    "unchanged": "there already, nothing written",
    "extended": "there already, new trials added",
    "replaced": "written anew in place of an older export",
}


def export(
    sweep: SpaceOrName,
    optuna: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Optuna's storage: a database such as sqlite:///optuna.db, or a journal file.",
        ),
    ],
    storage: Storage = "storage",
    study_name: Annotated[
        str | None, typer.Option(help="Name of the study.", show_default="the sweep's")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Write an older export of this sweep anew.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a sweep's search as an Optuna study, for optuna-dashboard and optuna.visualization.

    Exported again, what is there stays; new trials are added. Trials that have changed since, as
    those that were running, need --replace.
    """
    from orchestrator.search.optuna_study import export_study
    from orchestrator.store.cells import CellStore
    from orchestrator.sweeps.record.history import recorded
    from orchestrator.sweeps.record.outcome import outcome_of
    from orchestrator.sweeps.views.exported import exported_trials, origin_of, study_attributes
    from orchestrator.tracking.client.addresses import redact

    name = sweep_name(sweep)
    address, store = existing_storage(storage)
    history, cells = recorded(store, name), CellStore(store)
    outcome = outcome_of(history, cells, seconds=history.wall_seconds(), storage=redact(address))
    trials = list(exported_trials(history, cells, outcome))
    study = study_name or name
    try:
        change = export_study(
            optuna,
            study,
            origin_of(history),
            history.sweep.space,
            trials,
            study_attributes(history, outcome),
            replace=replace,
        )
    except InputError as error:
        raise InputError(redact(str(error))) from None
    shown = redact(optuna)
    if as_json:
        record = {"study": study, "url": shown, "trials": len(trials), "change": change}
        typer.echo(json.dumps(record, sort_keys=True))
        return
    typer.echo(f"study {study} at {shown}: {counted(len(trials), 'trial')}, {_SAID[change]}")
