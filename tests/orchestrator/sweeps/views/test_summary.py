"""What is printed of a sweep, and what `status` reads from the storage alone."""

from __future__ import annotations

import io
import json
import math
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.arguments import sweep_name
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cells import CellStore
from orchestrator.store.lease import Lease
from orchestrator.sweeps.record.declaration import remember
from orchestrator.sweeps.record.outcome import ConfigurationResult, SweepOutcome, outcome_of
from orchestrator.sweeps.record.status import sweep_status
from orchestrator.sweeps.views.summary import outcome_json, print_outcome, seeds
from orchestrator.tracking.state import TrackingState
from shapca.errors import InputError
from shapca.storage import FolderStore, to_json
from tests.orchestrator.fakes import (
    execute,
    open_sweep,
    record_failed_confirmation,
    sweep_config,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a sweep that ran to its end."""
    folder = tmp_path_factory.mktemp("storage")
    sweep = sweep_config()
    execute(open_sweep(folder, sweep), folder)
    remember(FolderStore(folder), sweep)
    return folder


def an_outcome(folder: Path, **changes: Any) -> SweepOutcome:
    conductor = open_sweep(folder, sweep_config())
    options: dict[str, Any] = {
        "status": "finished", "reason": None, "seconds": 75.0, "storage": str(folder),
        "tracking": TrackingState("current", f"sqlite:///{folder}/mlflow.db"),
    }  # fmt: skip
    return outcome_of(conductor.history, CellStore(FolderStore(folder)), **{**options, **changes})


def printed(outcome: SweepOutcome) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_outcome(outcome, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_outcome_names_winner_seeds_model_and_the_ui(finished: Path) -> None:
    outcome = an_outcome(finished)
    winner = outcome.winner
    assert winner is not None
    first, second = winner.test.values()
    mean, std = (first + second) / 2, abs(first - second) / math.sqrt(2)  # n - 1 = 1
    text = printed(outcome)
    assert f"confirmed winner: {winner.name}" in text
    assert f"test F1  {mean:.2f} ± {std:.2f}   seeds: 2 (11 12)" in text
    assert f"model    {finished}/cells/{outcome.champion}" in text
    assert f"orchestrator ui --storage {finished}" in text
    assert "sample standard deviation" in text
    assert (finished / "cells" / str(outcome.champion)).is_dir()


def test_test_scores_of_the_search_are_shown_nowhere(finished: Path) -> None:
    assert printed(an_outcome(finished)).count("test F1") == 1


def test_missing_seeds_are_named() -> None:
    row = ConfigurationResult(
        "lr=1e-4", "confirm", "k", {}, {1: 50.0, 3: 52.0}, {}, {2: "out of memory"}, {}
    )
    outcome = SweepOutcome("s", "finished", None, (row,), row, None, None, {}, 1.0, "/s")
    assert seeds(row) == "2 (1 3; 2 missing)"
    assert "missing: lr=1e-4 · seed 2: out of memory" in printed(outcome)
    assert outcome_json(outcome)["winner"]["missing"] == {"2": "out of memory"}
    assert outcome_json(outcome)["winner"]["val_f1_std"] == pytest.approx(math.sqrt(2))


def unconfirmed(val: dict[int, float], missing: dict[int, str]) -> SweepOutcome:
    """A sweep whose search finished and whose confirm seeds failed, all or some."""
    row = ConfigurationResult("lr=1e-4", "search", "k", {}, {1: 50.0}, {}, {}, {1: "c1"})
    winner = ConfigurationResult("lr=1e-4", "confirm", "k", {}, val, {}, missing, {11: "c2"})
    return SweepOutcome("s", "finished", None, (row,), winner, None, None, {}, 1.0, "/s")


def test_a_winner_whose_confirm_seeds_all_failed_is_not_confirmed() -> None:
    text = printed(unconfirmed({}, {11: "out of memory", 12: "killed"}))
    assert "not confirmed: all seeds failed (11 12)" in text
    assert "--retry-failed" in text
    assert "confirmed winner" not in text
    partly = printed(unconfirmed({11: 50.0}, {12: "killed"}))
    assert "confirmed winner: lr=1e-4" in partly
    assert "--retry-failed" in partly


@pytest.mark.parametrize(
    ("val", "missing", "code"),
    [
        ({}, {11: "out of memory", 12: "killed"}, 1),
        ({11: 50.0}, {12: "killed"}, 1),
        ({11: 50.0, 12: 51.0}, {}, 0),
    ],
)
def test_a_sweep_with_missing_confirm_seeds_ends_with_code_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    val: dict[int, float],
    missing: dict[int, str],
    code: int,
) -> None:
    outcome = unconfirmed(val, missing)
    monkeypatch.setattr("orchestrator.sweeps.driver.run_sweep", lambda *_, **__: outcome)
    file = tmp_path / "space.yaml"
    file.write_bytes(to_json(sweep_config().model_dump(mode="json")))
    assert CliRunner().invoke(app, ["sweep", str(file)]).exit_code == code


def test_status_says_that_a_winner_is_not_confirmed(tmp_path: Path) -> None:
    record_failed_confirmation(tmp_path)
    shown = CliRunner().invoke(app, ["status", "small", "--storage", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert "not confirmed: all seeds failed (11 12)" in shown.output
    assert "--retry-failed" in shown.output


def test_nothing_finished_and_an_interruption_are_said(tmp_path: Path) -> None:
    outcome = SweepOutcome("s", "interrupted", None, (), None, None, None, {}, 1.0, "/s")
    text = printed(outcome)
    assert "no configuration has finished" in text
    assert "run the same command again" in text


def test_an_outage_is_reported_with_the_command_that_makes_up_for_it(finished: Path) -> None:
    state = TrackingState("behind", "http://***@host:5000", 3, "no answer")
    text = printed(an_outcome(finished, tracking=state))
    assert "MLflow is behind by 3 runs (no answer)" in text
    assert f"orchestrator sync small --storage {finished}" in text


def test_printed_commands_can_be_pasted(finished: Path) -> None:
    state = TrackingState("behind", "file:///my tracking", 1, None)
    outcome = an_outcome(finished, storage="/my storage", tracking=state)
    lines = [
        shlex.split(line) for line in printed(outcome).splitlines() if " orchestrator " in line
    ]
    assert [line[line.index("--storage") + 1] for line in lines] == ["/my storage"] * 2
    assert all(line[-2:] == ["--tracking-uri", "file:///my tracking"] for line in lines[:1])
    assert f"shapca predict '{outcome.model}' --text" in printed(outcome)


def test_the_outcome_is_json(finished: Path) -> None:
    record = json.loads(json.dumps(outcome_json(an_outcome(finished))))
    assert record["winner"]["num_seeds"] == 2
    assert len(record["configurations"]) == 6
    assert record["counts"]["finished"] + record["counts"]["pruned"] == 6 + 2 + 2


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


def test_a_sweep_is_named_by_its_file_or_its_name(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_bytes(to_json(sweep_config(name="filed").model_dump(mode="json")))
    assert sweep_name(str(file)) == "filed"
    assert sweep_name("small") == "small"
    for wrong in (str(tmp_path / "absent.yaml"), "some/where", ""):
        with pytest.raises(InputError):
            sweep_name(wrong)


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
