"""What is printed of a sweep."""

from __future__ import annotations

import io
import json
import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.commands.arguments import sweep_name
from orchestrator.reports.make import page_link, page_place
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.outcome import ConfigurationResult, SweepOutcome, outcome_of
from orchestrator.sweeps.views.markdown import note
from orchestrator.sweeps.views.summary import outcome_json, print_outcome, seeds
from orchestrator.tracking.run_document import read_runs
from orchestrator.tracking.state import TrackingState
from shapca.errors import InputError
from shapca.storage import FolderStore, to_json
from tests.orchestrator.fakes import execute, open_sweep, sweep_config
from tests.orchestrator.outcomes import an_outcome, unconfirmed


def printed(outcome: SweepOutcome, report: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=120)
    print_outcome(outcome, console, report)
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
    assert "report " not in text
    page = page_link(page_place("/my storage", "small"))
    assert page == "file:///my%20storage/sweeps/small/report/report.html"
    assert f"  report   {page}\n" in printed(outcome, page)
    bucket = "s3://bucket/prefix/sweeps/small/report/report.html"
    assert page_link(page_place("s3://bucket/prefix/", "small")) == bucket


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


def test_a_winner_whose_confirm_seeds_all_failed_is_not_confirmed() -> None:
    text = printed(unconfirmed({}, {11: "out of memory", 12: "killed"}))
    assert "not confirmed: all seeds failed (11 12)" in text
    assert "--retry-failed" in text
    assert "confirmed winner" not in text
    partly = printed(unconfirmed({11: 50.0}, {12: "killed"}))
    assert "confirmed winner: lr=1e-4" in partly
    assert "--retry-failed" in partly


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


def test_trials_whose_alignment_collapsed_are_counted_and_tagged(tmp_path: Path) -> None:
    outcome = run_in(tmp_path / "sum", alignment={"negatives": "sum"})
    assert outcome.num_collapsed == outcome.counts["finished"] > 1
    expected = f"the alignment collapsed in {outcome.num_collapsed} trials"
    assert expected in printed(outcome)
    assert expected in note(outcome, sweep_config())
    runs = read_runs(FolderStore(tmp_path / "sum"), "small").values()
    finished = [run for run in runs if run.kind == "cell" and run.status == "finished"]
    assert {run.tags["alignment"] for run in finished} == {"collapsed"}
    aligned = run_in(tmp_path / "mean", alignment={"negatives": "mean"})
    assert aligned.num_collapsed == 0
    assert "collapsed" not in printed(aligned)


def run_in(folder: Path, **experiment: Any) -> SweepOutcome:
    config = sweep_config(experiment={**sweep_config().experiment, **experiment})
    execute(conductor := open_sweep(folder, config), folder)
    return outcome_of(
        conductor.history, CellStore(FolderStore(folder)), seconds=1.0, storage=str(folder)
    )


def test_the_outcome_is_json(finished: Path) -> None:
    record = json.loads(json.dumps(outcome_json(an_outcome(finished))))
    assert record["winner"]["num_seeds"] == 2
    assert len(record["configurations"]) == 6
    assert record["counts"]["finished"] + record["counts"]["pruned"] == 6 + 2 + 2


def test_a_sweep_is_named_by_its_file_or_its_name(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_bytes(to_json(sweep_config(name="filed").model_dump(mode="json")))
    assert sweep_name(str(file)) == "filed"
    assert sweep_name("small") == "small"
    for wrong in (str(tmp_path / "absent.yaml"), "some/where", ""):
        with pytest.raises(InputError):
            sweep_name(wrong)
