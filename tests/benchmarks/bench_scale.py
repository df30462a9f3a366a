"""A storage of 10,000 finished cells, or $SHAPCA_SCALE_CELLS: how long it takes to look at them.

Each is a command of its own, start-up included; the sweep is a grid whose cells all have ended, one
of them at a time taken away for planning.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.protocol import Signal
from orchestrator.store.cell_factory import CellFactory
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.declaration import declaration, declare, remember
from orchestrator.sweeps.record.event_log import Ended, EventLog, Opened, Proposed, _encode
from orchestrator.sweeps.record.history import History
from orchestrator.tracking.run_document import write_run
from shapca.runs.code import code_fingerprint
from shapca.storage import FolderStore, to_json
from tests.factories import tiny_config, tiny_data
from tests.orchestrator.publishing import finished, parent

pytestmark = pytest.mark.bench

NUM_CELLS = int(os.environ.get("SHAPCA_SCALE_CELLS", "10000"))  # a multiple of 100
LIMIT_SECONDS = 3.0 + NUM_CELLS / 20_000


def sweep_file(folder: Path) -> Path:
    experiment = tiny_config(**{"image.encoder": "none"})
    axis = {"type": "float", "low": 1e-5, "high": 1e-2}
    tree = {
        "name": "many",
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "space": {
            "optimisation.learning_rate": {**axis, "num": 100},
            "optimisation.encoder_learning_rate": {**axis, "num": NUM_CELLS // 100},
        },
        "protocol": {"kind": "single", "sampler": "grid", "trials": NUM_CELLS},
        "scheduler": {"kind": "none"},
    }
    path = folder / "many.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def fill(store: FolderStore, sweep: SweepConfig, factory: CellFactory) -> None:
    """Records as a finished sweep leaves them, written without syncing the disk each time."""
    code = code_fingerprint()
    declare(store, sweep.name, declaration(sweep, factory))
    remember(store, sweep)
    write_run(store, sweep.name, finished(parent(), metrics={}))
    for folder in ("status", f"sweeps/{sweep.name}/events", f"sweeps/{sweep.name}/runs"):
        (store.root / folder).mkdir(parents=True, exist_ok=True)
    document = to_json({"key": "search-x", "status": "finished"})
    log = EventLog(store, sweep.name, [Opened(1.0, "driver", code)])
    for number, values in enumerate(sweep.grid(), start=1):
        cell = factory.cell(sweep.resolve(values), 1)
        at = 1.0 + number
        value = 50.0 + number % 40
        proposed = Proposed(
            number, "search", number, dict(values), 1, cell.configuration, cell=cell.key, at=at
        )
        ended = Ended(
            "finished", value, 2, number=number, at=at, best_epoch=2, trained=2, seconds=1.0,
            codes=[code], curve=[value - 1, value],
        )  # fmt: skip
        log.events += [proposed, ended]
        summary = {"value": value, "best_epoch": 2, "epochs": 2, "codes": [code], "sweep": "many"}
        (store.root / f"status/{cell.key}.finished").write_bytes(to_json(summary))
        folder = store.root / "cells" / cell.key
        folder.mkdir(parents=True)
        (folder / "cell.json").write_bytes(to_json(cell.to_json()))
        (store.root / f"sweeps/{sweep.name}/runs/search-{cell.key}.json").write_bytes(document)
    for number, event in enumerate(log.events, start=1):
        name = f"sweeps/{sweep.name}/events/{number:06}.json"
        (store.root / name).write_bytes(to_json(_encode(event)))
    log._pack()


def timed(*arguments: object) -> tuple[float, str]:
    """CPU seconds of a command, since the machine may be shared, and what it printed."""
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return now.ru_utime + now.ru_stime - began.ru_utime - began.ru_stime, done.stdout


def test_ten_thousand_cells_are_seen_in_seconds(tmp_path: Path) -> None:
    data_root = tiny_data(tmp_path / "data").folder.parent
    space, storage = sweep_file(tmp_path), tmp_path / "storage"
    sweep, store = SweepConfig.load(space), FolderStore(storage)
    factory = CellFactory(data_root)
    fill(store, sweep, factory)

    status, answer = timed("status", "many", "--storage", storage, "--json")
    assert json.loads(answer)["done"] == {"search": NUM_CELLS}
    skipping, answer = timed(
        "sweep", space, "--storage", storage, "--data-root", data_root, "--tracking-uri", "none"
    )
    assert "many" in answer
    report, _ = timed("report", "many", "--storage", storage, "--no-figures", "--tracking-uri=none")
    began = time.process_time()
    assert len(CellStore(store).statuses()) == NUM_CELLS
    listing = time.process_time() - began

    began = time.process_time()
    log = EventLog.load(store, "many")
    del log.events[-2:]  # one configuration is still to be tried
    history = History(sweep, log, factory)
    following = history.protocol.propose()
    planning = time.process_time() - began
    assert not isinstance(following, Signal)
    assert following.number == NUM_CELLS
    print(
        f"\n{NUM_CELLS:,} cells in the storage, CPU time: `status` {status:.1f} s, the finished "
        f"sweep again {skipping:.1f} s, its report {report:.1f} s, the next cell from its "
        f"record {planning:.1f} s, verdicts of all cells "
        f"{listing:.2f} s; {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB"
    )
    assert max(status, skipping, planning) < LIMIT_SECONDS
