"""A storage of 10,000 finished cells: how long `status`, skipping and planning take.

Each is a command of its own, start-up included; the sweep is a grid whose cells all have ended, one
of them at a time taken away for planning.
"""

from __future__ import annotations

import json
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

NUM_CELLS = 10_000
LIMIT_SECONDS = 3.0


def sweep_file(folder: Path) -> Path:
    experiment = tiny_config(**{"image.encoder": "none"})
    axis = {"type": "float", "low": 1e-5, "high": 1e-2, "num": 100}
    tree = {
        "name": "many",
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "space": {
            "optimisation.learning_rate": dict(axis),
            "optimisation.encoder_learning_rate": dict(axis),
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
    events = [_encode(Opened(1.0, "driver", code))]
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
        events += [_encode(proposed), _encode(ended)]
        summary = {"value": value, "best_epoch": 2, "epochs": 2, "codes": [code], "sweep": "many"}
        (store.root / f"status/{cell.key}.finished").write_bytes(to_json(summary))
        folder = store.root / "cells" / cell.key
        folder.mkdir(parents=True)
        (folder / "cell.json").write_bytes(to_json(cell.to_json()))
        (store.root / f"sweeps/{sweep.name}/runs/search-{cell.key}.json").write_bytes(document)
    for number, event in enumerate(events, start=1):
        name = f"sweeps/{sweep.name}/events/{number:06}.json"
        (store.root / name).write_bytes(to_json(event))
    packed = events[: len(events) // 100 * 100]
    (store.root / f"sweeps/{sweep.name}/events.json").write_bytes(to_json(packed))


def timed(*arguments: object) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - began, done.stdout


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
    began = time.perf_counter()
    assert len(CellStore(store).statuses()) == NUM_CELLS
    listing = time.perf_counter() - began

    last = sorted((storage / "sweeps/many/events").iterdir())[-2:]
    for path in last:  # one configuration is still to be tried
        path.unlink()
    packed = json.loads((storage / "sweeps/many/events.json").read_bytes())
    keep = [event for event in packed if event.get("number") != NUM_CELLS]
    (storage / "sweeps/many/events.json").write_bytes(to_json(keep))
    began = time.perf_counter()
    history = History(sweep, EventLog.load(store, "many"), factory)
    following = history.propose()
    planning = time.perf_counter() - began
    assert not isinstance(following, Signal)
    assert following.number == NUM_CELLS
    print(
        f"\n{NUM_CELLS:,} cells in the storage: `status` {status:.1f} s, the finished sweep again "
        f"{skipping:.1f} s, the next cell from its record {planning:.1f} s, verdicts of all cells "
        f"{listing:.2f} s"
    )
    assert max(status, skipping, planning) < LIMIT_SECONDS
