"""Which model a command means: of MLflow's registry, a sweep's champion, or one in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.arguments import existing_storage, mlflow_answers, sweep_name
from shapca.config import Precision, RuntimeConfig, is_local_path
from shapca.errors import InputError

if TYPE_CHECKING:
    from shapca.prediction import Extractor
    from shapca.runs.saved import SeedTable
    from shapca.storage import ObjectStore

AnyModel = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="models:/NAME@champion or models:/NAME/VERSION of MLflow, the name of a sweep "
        "(its champion), or the folder of a run or saved model.",
    ),
]


@dataclass(frozen=True)
class Champion:
    """The model that stands for a sweep.

    Attributes:
        run: The store of its run.
        seeds: Scores of its configuration over the seeds that are reported.
    """

    run: ObjectStore
    seeds: SeedTable


def open_model(
    model: str,
    storage: str,
    tracking_uri: str | None,
    runtime: RuntimeConfig,
    precision: Precision | None = None,
) -> Extractor:
    """Open a model, wherever it is.

    Args:
        model: As the argument says.
        storage: Where sweeps are kept.
        tracking_uri: MLflow's address; None: that of the storage.
        runtime: Device and threads.
        precision: As of `Extractor.load`.

    Raises:
        InputError: no such model.
        typer.Exit: MLflow does not answer, or refuses; a message was printed.
    """
    if model.startswith("models:") or ":/" in model:  # another URI is refused there
        return _registered(model, storage, tracking_uri, runtime, precision)
    from shapca.prediction import Extractor

    is_folder = is_local_path(model)
    run = Path(model).expanduser() if is_folder else find_champion(model, storage).run
    return Extractor.load(run, precision=precision, runtime=runtime)


def find_champion(sweep: str, storage: str) -> Champion:
    """The model that stands for a sweep: of the seeds reported the one with the best validation F1.

    Raises:
        InputError: no such storage or sweep, or nothing of it has finished.
    """
    from orchestrator.store.cells import CellStore
    from orchestrator.sweeps.record.history import recorded
    from orchestrator.sweeps.record.outcome import outcome_of
    from shapca.runs.saved import SeedTable

    name = sweep_name(sweep)
    address, store = existing_storage(storage)
    cells = CellStore(store)
    outcome = outcome_of(recorded(store, name), cells, seconds=0, storage=address)
    winner = outcome.winner
    if winner is None or outcome.champion is None:
        raise InputError(f"{name}: nothing has finished in {address} whose weights were kept")
    seeds = SeedTable(
        name,
        winner.phase,
        {str(seed): score for seed, score in winner.val.items()},
        {str(seed): score for seed, score in winner.test.items()},
    )
    return Champion(cells.run_store(outcome.champion), seeds)


def _registered(
    model: str,
    storage: str,
    tracking_uri: str | None,
    runtime: RuntimeConfig,
    precision: Precision | None = None,
) -> Extractor:
    from orchestrator.store.address import absolute_uri
    from orchestrator.tracking.client.addresses import (
        existing_database,
        parse_model_uri,
        resolve_tracking,
    )

    parse_model_uri(model)
    uri = existing_database(resolve_tracking(tracking_uri, absolute_uri(storage)))

    from orchestrator.tracking.client.client import Tracking
    from orchestrator.tracking.models.registry import Registry
    from shapca.prediction import Extractor

    with TemporaryDirectory() as folder:
        with mlflow_answers(uri):
            run = Registry(Tracking(uri)).download(model, Path(folder))
        return Extractor.load(run, precision=precision, runtime=runtime)
