"""What a sweep says of its runs: documents in the store from which tracking is made.

The store is the truth and MLflow a projection of it: the driver writes one document per run,
replaces it when the run ends, and a publisher brings MLflow into line with the documents and the
cells' epoch records. Publishing again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from orchestrator.store.sweep_folder import RUNS, in_sweep
from shapca.storage import ObjectStore, read_json, to_json
from shapca.storage.differences import leaves

RunStatus = Literal["running", "finished", "killed", "failed"]

RunKind = Literal["sweep", "configuration", "cell"]


@dataclass(frozen=True)
class ModelDocument:
    """A cell's best model as MLflow shall register it.

    Attributes:
        name: Of the registered model.
        alias: That shall mean it.
        note: Markdown shown with it.
        tags: Sweep, cell, configuration, seed, val_f1 …
    """

    name: str
    alias: str
    note: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetDocument:
    """A prepared data set that a run reads, as MLflow shall show it.

    Attributes:
        name: Of the data set.
        digest: By which two of the same name are told apart.
        source: Where it lay, as JSON.
        schema: Its columns, as JSON.
        profile: Its task, labels and counts, as JSON.
    """

    name: str
    digest: str
    source: str
    schema: str
    profile: str


@dataclass(frozen=True)
class RunDocument:
    """One run as MLflow shall show it.

    Attributes:
        key: Idempotency key within the sweep: `sweep`, `configuration-<key>`, `<phase>-<cell>`.
        kind: The parent, an average over seeds, or one cell.
        name: For people, e.g. `lr=1e-4 α=0.2 β=0.4 τ=0.1 · seed 1`.
        status: `running`, or how it ended; `killed` is pruned or interrupted.
        parent: Key of the run above, None for the sweep itself.
        cell: Key of the cell whose epoch records are the run's metrics, if any.
        last_epoch: Show the cell's epochs up to this one only (a pruned trial of a cell that
            another sweep may have continued); None: all.
        tags: Phase, dataset, seed, configuration, git_commit, pruned_at, error …
        params: The resolved config, flattened; values as text.
        metrics: Final figures: `val/f1`, `test/f1`, `val/f1_mean`, `num_seeds` …
        note: Markdown shown on top of the run.
        started_at: Unix time in seconds.
        ended_at: Unix time in seconds, None while running.
        artifacts: Path in MLflow → object name in the store.
        model: Register the cell's best model, which is the sweep's champion.
        varied: Of a sweep's own run: parameters that differ between its runs.
        config: The resolved configuration, or the sweep's file; logged as `config.yaml`.
        datasets: What it reads.
    """

    key: str
    kind: RunKind
    name: str
    status: RunStatus
    started_at: float
    parent: str | None = None
    cell: str | None = None
    last_epoch: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    note: str | None = None
    ended_at: float | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)
    model: ModelDocument | None = None
    varied: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    datasets: tuple[DatasetDocument, ...] = ()

    @property
    def is_running(self) -> bool:
        """Whether the run has not ended."""
        return self.status == "running"


def write_run(store: ObjectStore, sweep: str, document: RunDocument) -> None:
    """Write or replace a run's document."""
    store.put(_name(sweep, document.key), to_json(asdict(document)))


def read_runs(store: ObjectStore, sweep: str) -> dict[str, RunDocument]:
    """All run documents of a sweep by key."""
    names = store.list(in_sweep(sweep, RUNS))
    records = [read_json(store, name, RunDocument) for name in names]
    return {record["key"]: _document(record) for record in records if record is not None}


def read_run(store: ObjectStore, sweep: str, key: str) -> RunDocument | None:
    """One run document of a sweep, or None."""
    record = read_json(store, _name(sweep, key), RunDocument)
    return None if record is None else _document(record)


def _name(sweep: str, key: str) -> str:
    return in_sweep(sweep, f"{RUNS}{key}.json")


def _document(record: dict[str, Any]) -> RunDocument:
    model, varied = record.pop("model", None), tuple(record.pop("varied", ()))
    model = None if model is None else ModelDocument(**model)
    datasets = tuple(DatasetDocument(**dataset) for dataset in record.pop("datasets", ()))
    return RunDocument(**record, model=model, varied=varied, datasets=datasets)


PARENT = "sweep"


def flatten(tree: Mapping[str, Any]) -> dict[str, str]:
    """A tree's leaves by dotted key, as text."""
    return {key: str(value) for key, value in leaves(tree).items()}


def close_open(
    store: ObjectStore, sweep: str, status: RunStatus, at: float, reason: str
) -> list[RunDocument]:
    """Give every document that still says `running` a final status, also a dead driver's.

    Args:
        store: The storage.
        sweep: The sweep's name.
        status: The sweep's own; its cells and averages are `killed`, and may go on later.
        at: Unix time in seconds.
        reason: Why.

    Returns:
        The documents that were closed.
    """
    closed = [
        interrupted(document, status if key == PARENT else "killed", at, reason)
        for key, document in read_runs(store, sweep).items()
        if document.is_running
    ]
    for document in closed:
        write_run(store, sweep, document)
    return closed


def interrupted(document: RunDocument, status: RunStatus, at: float, reason: str) -> RunDocument:
    """A document that ends for now."""
    tags = {**document.tags, "interrupted": reason}
    return replace(document, status=status, ended_at=at, tags=tags)
