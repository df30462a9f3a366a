"""How fast a large sweep reaches MLflow's SQLite, and what that costs in memory and calls.

1,000 cells of 30 epochs with 20 metrics each, with their configuration and data set, as a sweep
that ran without tracking leaves them, are published by `reconcile`. Peak memory is the process's
during a tenth of them and during the rest.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from orchestrator.tracking.client.client import Tracking
from orchestrator.tracking.publisher import Publisher
from orchestrator.tracking.run_document import DatasetDocument, write_run
from shapca.storage import FolderStore, to_json
from tests.orchestrator.publishing import START, SWEEP, finished, parent, trial, write

pytestmark = pytest.mark.bench

NUM_CELLS, NUM_EPOCHS, NUM_METRICS, NUM_PARAMS = 1000, 30, 20, 60
CONFIG = {f"section{n}": {f"key{m}": m / 7 for m in range(6)} for n in range(NUM_PARAMS // 6)}
DATASET = DatasetDocument("tiny", "0" * 36, '{"uri": "file:///data/tiny"}', "{}", "{}")
LIMIT_SECONDS = 240.0
LIMIT_GROWTH_MB = 150.0


def write_cells(store: FolderStore, first: int, last: int) -> None:
    """Finished cells; plain writes, since syncing each file to disk is no part of the question."""
    params = {f"section.key{n}": str(n) for n in range(NUM_PARAMS)}
    for number in range(first, last + 1):
        cell = f"{number:016x}"
        folder = store.root / "cells" / cell / "epochs"
        folder.mkdir(parents=True)
        for epoch in range(1, NUM_EPOCHS + 1):
            record = {
                "epoch": epoch,
                "metrics": {
                    "val/f1": 50.0,
                    **{f"val/metric{n}": epoch + n / 7 for n in range(1, NUM_METRICS)},
                },
                "is_best": True,
                "seconds": 1.0,
                "finished_at": START + epoch,
            }
            (folder / f"{epoch:04}.json").write_bytes(to_json(record))
        document = trial(cell, params=params, config=CONFIG, datasets=(DATASET,))
        write_run(store, SWEEP, finished(document))


def forget_peak() -> None:
    """Begin the peak of resident memory anew: what ran before in this process does not count."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb() -> float:
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


def test_a_thousand_cells_reach_sqlite_in_time(tmp_path: Path) -> None:
    mlflow_uri = f"sqlite:///{tmp_path}/mlflow.db"
    Tracking(mlflow_uri).experiment("migrated")  # making the database takes seconds of its own
    store = FolderStore(tmp_path / "storage")
    write(store, finished(parent(), metrics={"val/f1_mean": 50.0}))
    seconds, busy, calls, peaks = 0.0, 0.0, 0, []
    for first, last in ((1, NUM_CELLS // 10), (NUM_CELLS // 10 + 1, NUM_CELLS)):
        write_cells(store, first, last)
        forget_peak()
        publisher = Publisher(store, SWEEP, SWEEP, mlflow_uri)
        began, worked = time.perf_counter(), time.process_time()
        report = publisher.reconcile()
        seconds += time.perf_counter() - began
        busy += time.process_time() - worked
        calls += publisher.metric_calls
        assert report.num_epochs == (last - first + 1) * NUM_EPOCHS
        peaks.append(peak_mb())
    began = time.perf_counter()
    assert Publisher(store, SWEEP, SWEEP, mlflow_uri).reconcile().num_published == 0
    again = time.perf_counter() - began

    num_epochs = NUM_CELLS * NUM_EPOCHS
    print(
        f"\npublishing {NUM_CELLS:,} cells x {NUM_EPOCHS} epochs to SQLite: {seconds:.0f} s "
        f"({NUM_CELLS / seconds:.1f} runs/s, {num_epochs / seconds:.0f} epoch reports/s; "
        f"{busy:.0f} s of CPU); "
        f"{calls / num_epochs:.3f} metric calls per epoch report; once more: {again:.1f} s; peak "
        f"memory {peaks[0]:.0f} MB in the first tenth, {peaks[1]:.0f} MB in the rest"
    )
    assert calls <= num_epochs / 10
    assert seconds < LIMIT_SECONDS
    assert peaks[1] - peaks[0] < LIMIT_GROWTH_MB
