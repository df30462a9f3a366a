"""Models on data that they were not trained on: evaluation records, and their runs in MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator.store.averages import averages
from orchestrator.store.cell_folder import in_cell
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.control.reuse import StaleCellsError, stale_message
from orchestrator.sweeps.record.history import recorded
from orchestrator.sweeps.record.outcome import ConfigurationResult, reported
from orchestrator.tracking.provenance import dataset_document, run_tags
from orchestrator.tracking.run_document import (
    PARENT,
    DatasetDocument,
    RunDocument,
    read_run,
    write_run,
)
from shapca.config import RuntimeConfig
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.evaluation import EvaluationRecord, evaluate_run
from shapca.runs.code import code_fingerprint
from shapca.runs.layout import EVALUATIONS
from shapca.storage import ObjectStore, digest, read_json

PHASE = "generalization"


@dataclass(frozen=True)
class Generalization:
    """A configuration's seeds on the test split of another data set.

    Attributes:
        name: The configuration, for people.
        configuration: Its key.
        source: The data set that it was trained on.
        target: The data set that it was tested on.
        cells: Key of the cell by seed.
        records: Scores by seed.
        missing: Seeds that were not evaluated, with the reason.
        config: Their experiment as it was trained.
        dataset: That which they were tested on, for MLflow.
    """

    name: str
    configuration: str
    source: str
    target: str
    cells: Mapping[int, str]
    records: Mapping[int, EvaluationRecord]
    missing: Mapping[int, str]
    config: Mapping[str, Any]
    dataset: DatasetDocument

    def metrics(self, seed: int) -> dict[str, float]:
        """Scores of a seed, `test/f1` …"""
        return {f"test/{k}": v for k, v in self.records[seed].evaluation.metrics.items()}

    def averages(self) -> dict[str, float]:
        """`test/…_mean` and `test/…_std` (n - 1) over the seeds, and `num_seeds`."""
        scores = [self.metrics(seed) for seed in self.records]
        return {"num_seeds": float(len(scores)), **averages(scores)}

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "configuration": self.configuration,
            "name": self.name,
            "source": self.source,
            "target": self.target,
            "cells": {str(seed): key for seed, key in self.cells.items()},
            "missing": {str(seed): why for seed, why in self.missing.items()},
            "metrics": {str(seed): self.metrics(seed) for seed in self.records},
            "averages": self.averages(),
        }


def confirmed_winner(
    cells: CellStore, sweep: str, *, accept_stale: bool = False
) -> ConfigurationResult:
    """The confirmed winner of a sweep.

    Args:
        cells: The storage.
        sweep: Name of the sweep.
        accept_stale: Use cells of other code as they are.

    Raises:
        InputError: no such sweep, none of its configurations was confirmed yet, all the seeds
            that were to confirm one failed, or cells of other code.
    """
    winner = reported(recorded(cells.store, sweep), cells)
    if winner is None or winner.phase != "confirm" or not winner.cells:
        raise InputError(
            f"sweep {sweep}: it has no confirmed winner in this storage; run it to its end "
            "(orchestrator sweep) first"
        )
    if not winner.val:
        failed = "; ".join(f"seed {seed}: {why}" for seed, why in winner.missing.items())
        raise InputError(
            f"sweep {sweep}: its winner is not confirmed, since all seeds failed ({failed}); try "
            "them again (orchestrator sweep … --retry-failed) first"
        )
    keys = [winner.cells[seed] for seed in winner.val]
    stale = [key for key in keys if not cells.codes(key) <= {code_fingerprint()}]
    if stale and not accept_stale:
        raise StaleCellsError(stale_message(sweep, stale, cells))
    return winner


def evaluate_seeds(
    cells: CellStore,
    keys: Mapping[int, str],
    data: PreparedData,
    *,
    name: str,
    configuration: str,
    missing: Mapping[int, str],
    contexts: str | None,
    label_map: Mapping[str, str] | None,
    runtime: RuntimeConfig,
) -> Generalization:
    """Score finished cells on a data set's test split; what is known is read.

    Args:
        cells: The storage.
        keys: Key of the cell by seed, of one seed at least.
        data: The other data set.
        name: The configuration, for people.
        configuration: Its key.
        missing: Seeds that are not evaluated, with the reason.
        contexts: Context set to read there; None: the one of the same name.
        label_map: The model's types to the data set's, where their names differ.
        runtime: Device, threads and workers.

    Raises:
        InputError: a label without its counterpart, a part of the data that is missing, or
            weights that were not kept.
    """
    evaluate = partial(
        evaluate_run, split="test", contexts=contexts, label_map=label_map, runtime=runtime
    )
    records = {seed: evaluate(cells.run_store(key), data) for seed, key in keys.items()}
    config = cells.cell(next(iter(keys.values()))).config
    return Generalization(
        name,
        configuration,
        config.data.dataset,
        data.name,
        dict(keys),
        records,
        dict(missing),
        config.model_dump(mode="json"),
        dataset_document(data),
    )


def write_documents(
    store: ObjectStore, sweep: str, found: Generalization, tags: Mapping[str, str]
) -> None:
    """One run a seed and one with their averages above them, under the sweep's own run.

    Writing the same again changes nothing: the key holds what was evaluated, on what.

    Args:
        store: The storage.
        sweep: Name of the sweep or study.
        found: The scores.
        tags: Further tags of all these runs.
    """
    first = next(iter(found.records.values()))
    identity = digest({"data": dict(first.data), "map": dict(first.label_map)})[:8]
    average = f"{PHASE}-{found.configuration}-{identity}"
    title = f"{found.name} · {found.source} → {found.target}"
    common = {
        "sweep": sweep,
        **tags,
        "phase": PHASE,
        "configuration": found.configuration,
        "dataset": found.target,
        "trained_on": found.source,
        **run_tags(),
    }
    if first.label_map:
        common["label_map"] = ", ".join(f"{a}={b}" for a, b in sorted(first.label_map.items()))
    averaged = {**common, "seeds": " ".join(map(str, found.records))}
    if found.missing:
        averaged["missing_seeds"] = ", ".join(
            f"{s}: {why}" for s, why in sorted(found.missing.items())
        )

    def write(key: str, **content: Any) -> None:
        before, now = read_run(store, sweep, key), time.time()
        began, ended = (now, now) if before is None else (before.started_at, before.ended_at)
        document = RunDocument(
            key=key,
            started_at=began,
            ended_at=ended,
            config=found.config,
            datasets=(found.dataset,),
            **content,
        )
        if before != document:
            write_run(store, sweep, document)

    write(
        average,
        kind="configuration",
        name=f"{title} · mean of {len(found.records)} seeds",
        status="failed" if found.missing else "finished",
        parent=PARENT,
        tags=averaged,
        metrics=found.averages(),
    )
    for seed, record in found.records.items():
        cell = found.cells[seed]
        write(
            f"{PHASE}-{cell}-{identity}",
            kind="cell",
            name=f"{title} · seed {seed}",
            status="finished",
            parent=average,
            tags={**common, "seed": str(seed), "cell": cell},
            metrics=found.metrics(seed),
            artifacts={f"evaluations/{found.target}.json": _place(store, cell, record)},
        )


def _place(store: ObjectStore, cell: str, record: EvaluationRecord) -> str:
    """Where the store keeps the record of a cell."""
    wanted = record.to_json()
    names = store.list(in_cell(cell, EVALUATIONS))
    return next(name for name in names if read_json(store, name) == wanted)
