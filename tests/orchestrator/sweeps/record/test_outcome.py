"""What a sweep came to, as its record and its cells say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.sweeps.record.outcome import ConfigurationResult, champion_model
from shapca.storage import to_json
from tests.orchestrator.fakes import sweep_config
from tests.orchestrator.outcomes import an_outcome, unconfirmed


def test_the_winner_is_reported_on_its_confirm_seeds(finished: Path) -> None:
    outcome = an_outcome(finished)
    winner = outcome.winner
    assert winner is not None
    assert winner.phase == "confirm"
    assert list(winner.val) == list(winner.test) == [11, 12]
    assert not outcome.is_incomplete
    best = max(winner.val, key=lambda seed: winner.val[seed])
    assert outcome.champion == winner.cells[best]
    model = champion_model(outcome)
    assert model is not None
    assert model.tags["seed"] == str(best)


def test_the_shortlist_comes_before_the_rest_of_the_search(finished: Path) -> None:
    rows = an_outcome(finished).rows
    assert [row.phase for row in rows] == ["shortlist"] * 2 + ["search"] * 4
    assert all(len(row.val) == 2 for row in rows[:2])


def test_a_sweep_as_a_table_has_a_row_a_trial(finished: Path) -> None:
    outcome = an_outcome(finished)
    assert outcome.winner is not None
    frame = outcome.to_frame()
    assert list(frame["phase"]) == ["confirm"] * 2 + ["shortlist"] * 4 + ["search"] * 4
    confirmed = frame[frame["phase"] == "confirm"]
    assert dict(zip(confirmed["seed"], confirmed["test_f1"], strict=True)) == outcome.winner.test
    assert confirmed["val_f1"].mean() == pytest.approx(outcome.winner.val_mean)
    assert confirmed["val_f1"].std() == pytest.approx(outcome.winner.val_std)
    for key, value in outcome.winner.values.items():
        assert set(confirmed[key]) == {value}
    assert frame[frame["phase"] != "confirm"]["test_f1"].isna().all()
    assert frame["cell"].is_unique


def test_means_are_of_the_seeds_that_finished() -> None:
    row = ConfigurationResult("x", "confirm", "k", {}, {1: 50.0, 3: 52.0}, {3: 40.0}, {2: "no"}, {})
    assert row.val_mean == 51.0
    assert row.val_std == pytest.approx(math.sqrt(2))
    assert (row.test_mean, row.test_std) == (40.0, None)


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
    monkeypatch.setattr("orchestrator.sweeps.driver.run_sweep", lambda *args, **options: outcome)
    file = tmp_path / "space.yaml"
    file.write_bytes(to_json(sweep_config().model_dump(mode="json")))
    assert CliRunner().invoke(app, ["sweep", str(file)]).exit_code == code
