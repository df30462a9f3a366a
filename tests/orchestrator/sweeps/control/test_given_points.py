"""Settings that a sweep's file gives: tried first, the first confirmed beside the winner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store.cells import CellStore
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.record.outcome import outcome_of
from orchestrator.sweeps.views.markdown import note
from orchestrator.sweeps.views.summary import against_lines, closing_lines, outcome_json
from shapca.config import DataConfig, ExperimentConfig
from shapca.storage import FolderStore
from tests.orchestrator.fakes import epochs_trained, execute, open_sweep, sweep_config


def finished_sweep(folder: Path, **changes: Any) -> Conductor:
    conductor = open_sweep(folder, sweep_config(**changes))
    execute(conductor, folder)
    return conductor


def test_the_baseline_is_tried_first_and_confirmed_on_the_winners_seeds(tmp_path: Path) -> None:
    conductor = finished_sweep(tmp_path, protocol={"first": [{}]})
    history = conductor.history
    first = history.proposed[1]
    assert first.given
    defaults = ExperimentConfig(data=DataConfig(dataset="fake"))
    assert first.values == {
        "optimisation.learning_rate": defaults.optimisation.learning_rate,
        "alignment.alpha": defaults.alignment.alpha,
    }
    outcome = outcome_of(
        history, CellStore(FolderStore(tmp_path)), seconds=1.0, storage=str(tmp_path)
    )
    winner, baseline, against = outcome.winner, outcome.baseline, outcome.against
    assert winner is not None
    assert baseline is not None
    assert against is not None
    assert baseline.name == "defaults"
    assert list(baseline.test) == list(winner.test) == list(against.seeds) == [11, 12]
    # The fake counts of a seed are those of its seed, whatever the setting.
    assert (against.mean, against.num_examples) == (0.0, 10)
    record = json.loads(json.dumps(outcome_json(outcome), allow_nan=False))
    assert (record["baseline"]["name"], record["against"]["seeds"]) == ("defaults", [11, 12])
    assert "winner − defaults = +0.00 (95% interval" in against_lines(outcome)[-1]
    assert note(outcome, history.sweep).partition("\n")[0].endswith("10 posts)")
    assert len(history.protocol.standings("search")) == 6


def test_without_given_points_a_sweep_is_what_it_was(tmp_path: Path) -> None:
    plain = finished_sweep(tmp_path / "plain")
    given = finished_sweep(tmp_path / "given", protocol={"first": [{}], "trials": 7})
    values = [
        [e.values for e in conductor.history.proposed.values() if e.phase == "search"]
        for conductor in (plain, given)
    ]
    assert values[1][1:3] == values[0][:2]  # drawn at random, whatever came before
    events = FolderStore(tmp_path / "plain").list("sweeps/small/events/")
    assert events
    store = FolderStore(tmp_path / "plain")
    assert not any(b'"given"' in (store.get(name) or b"") for name in events)


def test_a_given_point_can_be_added_to_a_sweep_that_is_complete(tmp_path: Path) -> None:
    before = finished_sweep(tmp_path)
    assert epochs_trained(tmp_path) > 0
    weak = {"optimisation.learning_rate": "1e-5"}
    after = finished_sweep(tmp_path, protocol={"first": [weak]})
    added = list(after.history.proposed.values())[len(before.history.proposed) :]
    assert [(e.phase, e.seed, e.given) for e in added] == [
        ("search", 1, True), ("confirm", 11, False), ("confirm", 12, False),
    ]  # fmt: skip
    assert after.history.ended[added[0].number].status == "pruned"  # it is compared all the same


def test_a_sweep_that_scores_0_throughout_has_no_winner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.orchestrator.fakes.score", lambda cell, epoch: 0.0)
    conductor = finished_sweep(tmp_path, scheduler={"kind": "none"})
    assert {event.phase for event in conductor.history.proposed.values()} == {"search"}
    outcome = outcome_of(
        conductor.history, CellStore(FolderStore(tmp_path)), seconds=1.0, storage=str(tmp_path)
    )
    assert outcome.winner is None
    assert outcome.scores_nothing
    assert outcome.is_incomplete
    assert note(outcome, conductor.history.sweep).startswith("**small: every seed that finished")
    assert "there is no winner" in " ".join(str(line) for line in closing_lines(outcome))
