"""Samplers are pure functions of their history and stay within the space."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any, get_args

import pytest
from optuna.trial import create_trial

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.importance import importance_of
from orchestrator.search.samplers import (
    OptunaSampler,
    QuasiRandomSampler,
    State,
    Tried,
    build_sampler,
    derived_seed,
    distributions,
    frozen_trial,
)

SPACE = {
    "optimisation.learning_rate": {"type": "float", "low": 1e-5, "high": 5e-4, "log": True},
    "alignment.alpha": {"type": "float", "low": 0.0, "high": 1.0, "num": 2},
    "optimisation.batch_size": {"type": "int", "low": 4, "high": 7},
    "alignment.objective": {"type": "choice", "values": ["shapley", "infonce"]},
}


def sweep(sampler: str, **protocol: object) -> SweepConfig:
    return SweepConfig.model_validate(
        {
            "name": "searching",
            "experiment": {"data": {"dataset": "synthetic"}},
            "space": SPACE,
            "protocol": {"sampler": sampler, "startup_trials": 3, **protocol},
        }
    )


def run_search(config: SweepConfig, number: int) -> list[Tried]:
    """A search in which a higher learning rate is better."""
    sampler = build_sampler(config)
    history: list[Tried] = []
    for index in range(1, number + 1):
        values = sampler.ask(index, history)
        score = 50 + 10 * math.log10(float(values["optimisation.learning_rate"] or 0))
        history.append(Tried(values, "finished", score, 3))
    return history


def test_trials_kept_from_one_proposal_to_the_next_change_none() -> None:
    config = sweep("tpe")
    kept, history = build_sampler(config), run_search(config, 8)
    running = [*history[:6], history[6]._replace(state="running", value=None)]
    pruned = [*history[:2], history[2]._replace(state="pruned"), *history[3:]]
    beyond = [history[0]._replace(values={**history[0].values, "alignment.alpha": 7.0})]
    for index, known in ((7, history[:6]), (8, running), (8, history[:7]), (9, pruned),
                         (3, history[:2]), (9, beyond + history[1:]), (9, history)):  # fmt: skip
        assert kept.ask(index, known) == build_sampler(config).ask(index, known)


def test_trials_are_as_optuna_itself_makes_them() -> None:
    config = sweep("tpe")
    values = build_sampler(config).ask(1, ())
    for state in get_args(State):
        for value in (50.0, math.nan, None):
            made = frozen_trial(Tried(values, state, value, epoch=3), distributions(config.space))
            again = create_trial(
                state=made.state, value=made.value, params=made.params,
                distributions=made.distributions, intermediate_values=made.intermediate_values,
            )  # fmt: skip
            times = {"_datetime_start": made.datetime_start}
            assert {**vars(again), **times, "datetime_complete": made.datetime_complete} == vars(
                made
            )


def test_importance_needs_no_forests() -> None:
    script = (
        "import sys\n"
        "from tests.orchestrator.search.test_samplers import run_search, sweep\n"
        "from orchestrator.search.importance import importance_of\n"
        "config = sweep('random')\n"
        "assert importance_of(config.space, run_search(config, 6)) is not None\n"
        "assert 'sklearn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", ["tpe", "random", "grid", "gp", "qmc"])
def test_samplers_share_one_contract(name: str) -> None:
    config = sweep(name)
    history = run_search(config, 6)

    for tried in history:
        config.resolve(tried.values)  # within the bounds, and of the right types
        assert isinstance(tried.values["optimisation.batch_size"], int)
    # A fresh sampler given the recorded history proposes the same, whatever came before.
    for index in (1, 4, 6):
        assert build_sampler(config).ask(index, history[: index - 1]) == history[index - 1].values
    assert len({repr(tried.values) for tried in history}) == 6


@pytest.mark.parametrize("name", ["tpe", "random", "qmc"])
def test_another_sampler_seed_gives_another_search(name: str) -> None:
    first = run_search(sweep(name, sampler_seed=0), 3)
    second = run_search(sweep(name, sampler_seed=1), 3)
    assert [t.values for t in first] != [t.values for t in second]


BRANCHES: dict[str, Any] = {
    "optimisation.learning_rate": {"type": "float", "low": 1e-5, "high": 5e-4, "log": True},
    "text.freeze": {
        "type": "choice", "values": [True, False], "when": {"text.encoder": ["minilm", "small"]},
    },
    "text.encoder": {"type": "choice", "values": ["tiny", "minilm", "small"]},
    "optimisation.encoder_learning_rate": {
        "type": "float", "low": 1e-5, "high": 1e-3, "log": True, "when": {"text.freeze": False},
    },
    "head.dropout": {"type": "float", "low": 0.0, "high": 0.5, "when": {"text.encoder": "tiny"}},
    "optimisation.batch_size": {"type": "int", "low": 4, "high": 8},
}  # fmt: skip


def branches(sampler: str) -> SweepConfig:
    return SweepConfig.model_validate({**sweep(sampler).model_dump(), "space": BRANCHES})


@pytest.mark.parametrize("name", ["tpe", "random", "grid", "qmc"])
def test_conditional_dimensions_are_proposed_where_they_are_there(name: str) -> None:
    config = branches(name)
    history = run_search(config, 24)
    for tried in history:
        values = tried.values
        is_pretrained = values["text.encoder"] in ("minilm", "small")
        assert ("text.freeze" in values) is is_pretrained
        trains = is_pretrained and values["text.freeze"] is False
        assert ("optimisation.encoder_learning_rate" in values) is trains
        assert ("head.dropout" in values) is not is_pretrained
        assert list(values) == [key for key in BRANCHES if key in values]
        config.resolve(values)
    for index in (1, 5, 24):  # the same again from the record, as a resumed sweep asks
        assert build_sampler(config).ask(index, history[: index - 1]) == history[index - 1].values
    assert len({repr(tried.values) for tried in history}) == 24


def test_tpe_learns_within_a_branch() -> None:
    """Each branch wants another value of its own dimension, and the best branch is found."""
    sampler = build_sampler(branches("tpe"))
    history: list[Tried] = []
    for index in range(1, 61):
        values = sampler.ask(index, history)
        score = 50.0
        if "optimisation.encoder_learning_rate" in values:
            rate = float(values["optimisation.encoder_learning_rate"] or 0)
            score = 90 - 20 * abs(math.log10(rate) + 3.2)
        elif "head.dropout" in values:
            score = 60 - 40 * float(values["head.dropout"] or 0)
        history.append(Tried(values, "finished", score, 1))
    late = [tried.values for tried in history[40:]]
    rates = [v["optimisation.encoder_learning_rate"] for v in late if "text.freeze" in v
             and not v["text.freeze"]]  # fmt: skip
    assert len(rates) > 12
    near = [abs(math.log10(float(rate or 0)) + 3.2) < 0.4 for rate in rates]
    assert sum(near) > 0.7 * len(near)


def test_conditions_leave_other_spaces_as_they_were() -> None:
    """Proposals of a space without conditions, as they were before there were any."""
    history = run_search(sweep("tpe"), 6)
    assert [tuple(history[n].values.values()) for n in (0, 5)] == [
        (0.0004276460214749813, 0.19298707403448634, 7, "shapley"),
        (9.791213611040536e-05, 0.891419024129805, 4, "shapley"),
    ]


def test_importance_counts_conditional_dimensions() -> None:
    config = branches("random")
    history = [
        Tried(tried.values, "finished",
              60 - 100 * float(tried.values.get("head.dropout", 0.1) or 0), 1)
        for tried in run_search(config, 40)
    ]  # fmt: skip
    found = importance_of(config.space, history)
    assert found is not None
    assert found.num_trials == 40
    assert set(found.shares) == set(BRANCHES)
    assert set(list(found.shares)[:2]) == {"head.dropout", "text.encoder"}  # it is there for one
    assert sum(found.shares.values()) == pytest.approx(1)


def test_tpe_moves_towards_the_better_region() -> None:
    history = run_search(sweep("tpe"), 20)
    rates = [math.log10(float(t.values["optimisation.learning_rate"] or 0)) for t in history]
    assert sum(rates[12:]) / 8 > sum(rates[:3]) / 3


def test_history_matters_to_tpe_and_failures_are_told() -> None:
    sampler = build_sampler(sweep("tpe"))
    history = run_search(sweep("tpe"), 8)
    asked = sampler.ask(9, history)
    spoilt = [Tried(t.values, "failed") if i > 3 else t for i, t in enumerate(history)]
    assert sampler.ask(9, spoilt) != asked


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_value_that_is_no_number_counts_as_failed(value: float | None) -> None:
    sampler = build_sampler(sweep("tpe"))
    history = run_search(sweep("tpe"), 5)
    unusable = [*history, Tried(history[0].values, "finished", value, 2)]
    failed = [*history, Tried(history[0].values, "failed")]
    assert sampler.ask(7, unusable) == sampler.ask(7, failed)


def test_running_trials_keep_the_next_proposal_away() -> None:
    sampler = build_sampler(sweep("tpe"))
    history = run_search(sweep("tpe"), 8)
    asked = sampler.ask(9, history)
    crowded = [*history, *(Tried(asked, "running") for _ in range(4))]
    assert sampler.ask(9, crowded) != asked


def test_pruned_trials_enter_the_history_with_their_last_value() -> None:
    sampler = build_sampler(sweep("tpe"))
    history = run_search(sweep("tpe"), 8)
    asked = sampler.ask(9, history)
    good = [*history, *(Tried(history[0].values, "pruned", 99.0, 1) for _ in range(4))]
    bad = [*history, *(Tried(history[0].values, "pruned", 1.0, 1) for _ in range(4))]
    assert sampler.ask(9, good) != sampler.ask(9, bad) or sampler.ask(9, good) != asked


def test_grid_is_the_whole_product_in_order() -> None:
    config = sweep("grid")
    sampler = build_sampler(config)
    grid = [sampler.ask(index, []) for index in range(1, len(config.grid()) + 1)]
    assert len(grid) == 3 * 2 * 4 * 2
    assert grid[0] == {
        "optimisation.learning_rate": 1e-5,
        "alignment.alpha": 0.0,
        "optimisation.batch_size": 4,
        "alignment.objective": "shapley",
    }
    assert grid[-1]["optimisation.learning_rate"] == 5e-4


def test_quasi_random_points_cover_each_dimension_evenly() -> None:
    config = sweep("qmc")
    sampler = QuasiRandomSampler(config.space, seed=3)
    points = [sampler.ask(index, []) for index in range(1, 33)]
    sizes = [point["optimisation.batch_size"] for point in points]
    assert {size: sizes.count(size) for size in (4, 5, 6, 7)} == dict.fromkeys((4, 5, 6, 7), 8)
    low = sum(float(point["alignment.alpha"] or 0) < 0.5 for point in points)
    assert low == 16


def test_each_sweep_has_a_study_of_its_own() -> None:
    sampler = build_sampler(sweep("tpe"))
    assert isinstance(sampler, OptunaSampler)
    assert sampler.study_name == "searching"


def test_derived_seeds_differ() -> None:
    assert len({derived_seed(seed, index) for seed in range(20) for index in range(50)}) == 1000


@pytest.mark.parametrize("name", ["tpe", "gp", "random"])
def test_a_sampler_says_nothing_of_its_own(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    sampler, history = build_sampler(sweep(name, startup_trials=1)), list[Tried]()
    for index in range(1, 4):
        history.append(Tried(sampler.ask(index, history), "finished", 50.0 + index, 1))
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("", "")


@pytest.mark.parametrize(
    "beyond",
    [
        {"optimisation.learning_rate": 1e-2},
        {"optimisation.batch_size": 28},
        {"alignment.objective": "none"},
    ],
)
def test_a_given_point_beyond_the_space_teaches_nothing(beyond: dict[str, object]) -> None:
    sampler = build_sampler(sweep("tpe"))
    history = run_search(sweep("tpe"), 5)
    outside = Tried({**history[0].values, **beyond}, "finished", 99.0, 3)  # type: ignore[dict-item]
    assert sampler.ask(6, [outside, *history]) == sampler.ask(6, history)
    within = Tried(history[0].values, "finished", 99.0, 3)
    assert sampler.ask(6, [within, *history]) != sampler.ask(6, history)
