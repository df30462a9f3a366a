"""What `status` reads from the storage alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.lease import Lease
from orchestrator.sweeps.record.declaration import remember
from orchestrator.sweeps.record.status import sweep_status
from shapca.errors import InputError
from shapca.storage import FolderStore, to_json
from tests.orchestrator.fakes import (
    execute,
    open_sweep,
    record_failed_confirmation,
    sweep_config,
)


def test_status_says_that_a_winner_is_not_confirmed(tmp_path: Path) -> None:
    record_failed_confirmation(tmp_path)
    shown = CliRunner().invoke(app, ["status", "small", "--storage", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert "not confirmed: all seeds failed (11 12)" in shown.output
    assert "--retry-failed" in shown.output


def test_status_of_a_complete_sweep(finished: Path) -> None:
    result = CliRunner().invoke(app, ["status", "small", "--storage", str(finished), "--json"])
    assert result.exit_code == 0, result.output
    record = json.loads(result.output)
    assert record["state"] == "complete"
    assert record["done"] == record["planned"] == {"search": 6, "shortlist": 2, "confirm": 2}
    assert record["open"] == []
    assert record["winner"]["test_f1_mean"] is not None
    shown = CliRunner().invoke(app, ["status", "small", "--storage", str(finished)])
    assert "small: complete; search 6/6, shortlist 2/2, confirm 2/2" in shown.output
    assert "confirmed winner" in shown.output


def test_status_of_a_sweep_that_stopped_and_of_one_at_work(tmp_path: Path) -> None:
    sweep, store = sweep_config(), FolderStore(tmp_path)
    execute(open_sweep(tmp_path, sweep), tmp_path, stop=lambda steps: steps == 7)
    remember(store, sweep)
    found = sweep_status(store, "small", str(tmp_path))
    assert found.state == "stopped"
    assert [trial.phase for trial in found.open] == ["search"]
    assert found.open[0].epoch >= 1
    shown = CliRunner().invoke(app, ["status", "small", "--storage", str(tmp_path), "--json"])
    [trial] = json.loads(shown.output)["open"]
    assert set(trial) == {"number", "name", "phase", "cell", "epoch"}
    assert trial["name"].endswith(" · seed 1")
    with Lease(store, "small") as lease:
        at_work = sweep_status(store, "small", str(tmp_path))
        assert (at_work.state, at_work.holder) == ("running", str(lease.holder))


def test_status_loads_nothing_heavy(finished: Path) -> None:
    code = (
        "import sys; from orchestrator.cli import main; "
        f"sys.argv = ['orchestrator', 'status', 'small', '--storage', {str(finished)!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end\n"
        "heavy = {'torch', 'ray', 'mlflow', 'transformers', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", ["status", "sync"])
def test_an_unknown_sweep_or_storage_is_bad_input(tmp_path: Path, command: str) -> None:
    for options in ([], ["--storage", str(tmp_path / "absent")]):
        arguments = [command, "nobody", *(options or ["--storage", str(tmp_path)])]
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, InputError)
        assert "--storage" in str(result.exception)


def test_status_of_ten_thousand_cells_takes_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "storage"
    _write_large_record(folder, sweep_config(protocol={"kind": "single", "trials": 10_000}))
    began = time.process_time()  # whatever else the machine does
    found = sweep_status(FolderStore(folder), "small", str(folder))
    assert time.process_time() - began < 3
    assert found.done["search"] == 10_000
    assert len(found.outcome.rows) == 10_000


def _write_large_record(folder: Path, sweep: SweepConfig) -> None:
    """A record of finished trials, packed as the driver packs it."""
    events: list[dict[str, Any]] = []
    for number in range(1, sweep.protocol.trials + 1):
        cell = f"{number:016x}"
        events.append({
            "kind": "proposed", "number": number, "phase": "search", "entry": number,
            "values": {"optimisation.learning_rate": number * 1e-6, "alignment.alpha": 0.5},
            "seed": 1, "configuration": cell, "cell": cell, "test": False, "at": 1.0,
        })  # fmt: skip
        events.append({
            "kind": "ended", "number": number, "status": "finished", "at": 2.0, "epoch": 4,
            "value": 50 + number % 100 / 10, "best_epoch": 3, "trained": 4, "seconds": 1.0,
        })  # fmt: skip
    store = FolderStore(folder)
    store.put("sweeps/small/events.json", to_json(events))
    remember(store, sweep)
