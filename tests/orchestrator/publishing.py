"""Sweeps as the driver would write them, and MLflow as one would read it, for the tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.tracking.run_document import RunDocument, write_run
from shapca.storage import FolderStore, to_json

SWEEP = "tiny"
START = 1_700_000_000.0


def write_epochs(
    store: FolderStore, cell: str, first: int, last: int, start: float = START
) -> None:
    """Epoch records `first` to `last` of a cell, as training writes them."""
    for epoch in range(first, last + 1):
        record = {
            "epoch": epoch,
            "metrics": {"train/loss": 1.0 / epoch, "val/f1": 50.0 + epoch % 4, "val/f1_PER": 3.25},
            "is_best": epoch < 4,
            "seconds": 2.0,
            "finished_at": start + 2.5 * epoch,
        }
        store.put_new(f"cells/{cell}/epochs/{epoch:04}.json", to_json(record))


def parent() -> RunDocument:
    return RunDocument(
        "sweep", "sweep", "tiny", "running", START, note="# tiny",
        params={"protocol.trials": "3"}, varied=("optimisation.learning_rate",),
    )  # fmt: skip


def trial(cell: str, **changes: Any) -> RunDocument:
    document = RunDocument(
        key=f"search-{cell}",
        kind="cell",
        name=f"lr=1e-4 · seed 1 ({cell})",
        status="running",
        started_at=START + 1,
        parent="sweep",
        cell=cell,
        tags={"phase": "search", "seed": "1"},
        params={"optimisation.learning_rate": "1e5", "alignment.alpha": "0.2"},
    )
    return replace(document, **changes)


def finished(document: RunDocument, **changes: Any) -> RunDocument:
    metrics = {"val/f1": 53.0} if document.kind == "cell" else {"val/f1_mean": 53.0}
    changes = {"metrics": metrics, "ended_at": START + 100, **changes}
    return replace(document, **{"status": "finished", **changes})


def write(store: FolderStore, *documents: RunDocument) -> None:
    for document in documents:
        write_run(store, SWEEP, document)


def whole_sweep(store: FolderStore) -> None:
    """A parent, a configuration of two seeds, and three search trials: finished, pruned, failed."""
    for cell, last in (("aa", 6), ("bb", 2), ("cc", 1), ("dd", 6)):
        write_epochs(store, cell, 1, last)
    write(
        store,
        finished(parent(), metrics={"val/f1_mean": 53.0, "val/f1_std": 0.5, "num_seeds": 1}),
        finished(
            RunDocument("configuration-x", "configuration", "lr=1e-4", "running", START, "sweep")
        ),
        finished(trial("aa")),
        finished(trial("bb"), status="killed", metrics={}, last_epoch=1),
        finished(trial("cc"), status="failed", metrics={}, tags={"error": "out of memory"}),
        replace(finished(trial("dd")), key="confirm-dd", parent="configuration-x"),
    )


def runs(uri: str, experiment: str = SWEEP) -> dict[str, Run]:
    """Active runs by key; two of one key are an error."""
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    pages = client.search_runs([found.experiment_id])
    by_key = {run.data.tags["shapca.run_key"]: run for run in pages}
    assert len(by_key) == len(pages)
    return by_key


def snapshot(uri: str, experiment: str = SWEEP) -> dict[str, Any]:
    """All that MLflow shows of a sweep, apart from ids that it draws itself."""
    client = MlflowClient(tracking_uri=uri)
    found = runs(uri, experiment)
    names = {run.info.run_id: key for key, run in found.items()}
    shown = {}
    for key, run in found.items():
        tags = {tag: value for tag, value in run.data.tags.items() if tag != "shapca.storage"}
        if "mlflow.parentRunId" in tags:
            tags["mlflow.parentRunId"] = names[tags["mlflow.parentRunId"]]
        shown[key] = {
            "name": run.info.run_name,
            "status": run.info.status,
            "time": (run.info.start_time, run.info.end_time),
            "tags": tags,
            "params": run.data.params,
            "latest": run.data.metrics,
            "history": {
                metric: [
                    (point.step, point.timestamp, point.value)
                    for point in client.get_metric_history(run.info.run_id, metric)
                ]
                for metric in run.data.metrics
            },
        }
    return shown


# What differs between two runs of the same: how long things took.
MEASURED = ("seconds", "samples_per_second", "peak_memory_mb", "input_wait_share")
TELLING_TIMES = ("mlflow.note.content", "report_made_at")


def tracked(uri: str, experiment: str) -> dict[str, Any]:
    """What MLflow shows of a sweep run by run and metric by metric; ids and times aside."""
    shown = {}
    for key, run in snapshot(uri, experiment).items():
        shown[key] = {
            "name": run["name"],
            "status": run["status"],
            "params": run["params"],
            "tags": {tag: v for tag, v in run["tags"].items() if tag not in TELLING_TIMES},
            "history": {
                metric: [(step, value) for step, _, value in points]
                for metric, points in run["history"].items()
                if not metric.removesuffix("_best").endswith(MEASURED)
            },
        }
    return shown
