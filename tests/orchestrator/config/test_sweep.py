"""Search-space files: what is refused, with which message, and what corners and grids are."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.config.sweep import SweepConfig
from shapca.errors import InputError

GOOD: dict[str, Any] = {
    "name": "street",
    "experiment": {"data": {"dataset": "synthetic", "contexts": "captions"}},
    "space": {
        "optimisation.learning_rate": {"type": "float", "low": "1e-5", "high": 5e-4, "log": True},
        "optimisation.batch_size": {"type": "int", "low": 4, "high": 6},
        "alignment.objective": {"type": "choice", "values": ["shapley", "infonce", "none"]},
    },
}


def load(folder: Path, tree: dict[str, Any], *overrides: str) -> SweepConfig:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return SweepConfig.load(path, overrides)


def test_a_space_is_read_with_its_bounds_and_corners(tmp_path: Path) -> None:
    sweep = load(tmp_path, GOOD, "protocol.trials=7", "name=other")
    assert (sweep.name, sweep.protocol.trials) == ("other", 7)
    corners = list(sweep.corners())
    assert len(corners) == 2 * 2 * 3
    assert {corner["optimisation.learning_rate"] for corner in corners} == {1e-5, 5e-4}
    config = sweep.resolve(corners[0])
    assert config.optimisation.learning_rate == 1e-5
    grid = sweep.grid()
    assert len(grid) == 3 * 3 * 3
    middle = sorted({float(point["optimisation.learning_rate"] or 0) for point in grid})[1]
    assert middle == pytest.approx((1e-5 * 5e-4) ** 0.5)


def test_large_spaces_show_every_extreme_without_their_product(tmp_path: Path) -> None:
    space = {
        f"alignment.{key}": {"type": "choice", "values": [0.1 * n for n in range(1, 21)]}
        for key in ("alpha", "beta", "temperature")
    }
    sweep = load(tmp_path, {**GOOD, "space": space})
    corners = list(sweep.corners())
    assert len(corners) == 60
    for key, part in space.items():
        assert {corner[key] for corner in corners} == set(part["values"])


def test_a_grid_is_the_product_in_its_order(tmp_path: Path) -> None:
    grid = load(tmp_path, GOOD).grid()
    rates = [1e-5, math.exp((math.log(1e-5) + math.log(5e-4)) / 2), 5e-4]
    expected = list(itertools.product(rates, [4, 5, 6], ["shapley", "infonce", "none"]))
    assert [tuple(point.values()) for point in grid] == [
        (pytest.approx(rate), size, objective) for rate, size, objective in expected
    ]
    assert all(list(point) == list(GOOD["space"]) for point in grid)
    assert (grid[0]["optimisation.learning_rate"], grid[-1]) == (1e-5, list(grid)[-1])
    assert grid[1:3] == [grid[1], grid[2]]
    for beyond in (27, -28):
        with pytest.raises(IndexError):
            grid[beyond]


def test_a_grid_of_any_size_takes_no_memory(tmp_path: Path) -> None:
    space = {
        f"optimisation.{key}": {"type": "int", "low": 1, "high": high}
        for key, high in (("batch_size", 4096), ("epochs", 10_000), ("patience", 10_000))
    }
    space["alignment.alpha"] = {"type": "float", "low": 0, "high": 1, "num": 10**9}
    space["alignment.beta"] = {"type": "float", "low": 0, "high": 1, "num": 10**9}
    change = {"space": space, "protocol": {"sampler": "grid", "trials": 2}}
    grid = load(tmp_path, {**GOOD, **change}).grid()
    assert grid.size == 4096 * 10**8 * 10**18
    assert len(grid) == sys.maxsize
    assert grid[1] == {
        "optimisation.batch_size": 1,
        "optimisation.epochs": 1,
        "optimisation.patience": 1,
        "alignment.alpha": 0.0,
        "alignment.beta": 1 / (10**9 - 1),
    }


def test_a_real_range_over_a_whole_number_is_refused(tmp_path: Path) -> None:
    space = {"optimisation.batch_size": {"type": "float", "low": 4, "high": 6, "num": 4}}
    message = r"space\.yaml: experiment\.optimisation\.batch_size: .*integer.*\(got 5\.2"
    with pytest.raises(InputError, match=message):
        load(tmp_path, {**GOOD, "space": space})


def test_two_choices_that_do_not_go_together_are_refused_in_a_large_space(tmp_path: Path) -> None:
    numbers = {
        f"alignment.{key}": {"type": "float", "low": low, "high": 1}
        for key, low in (("alpha", 0), ("beta", 0), ("temperature", 0.02))
    } | {
        f"optimisation.{key}": {"type": "float", "low": 0, "high": 0.1}
        for key in ("weight_decay", "warmup_ratio")
    }
    choices = {
        "optimisation.batch_size": {"type": "choice", "values": [4, 28]},
        "alignment.estimator": {"type": "choice", "values": ["cyclic", "enumerate"]},
        "alignment.objective": {"type": "choice", "values": ["shapley", "infonce", "none"]},
    }
    with pytest.raises(InputError, match=r"enumerate needs a batch_size of at most 12"):
        load(tmp_path, {**GOOD, "space": choices | numbers})
    del choices["alignment.estimator"]
    assert load(tmp_path, {**GOOD, "space": choices | numbers}).space


@pytest.mark.parametrize("values", [[4, 4.0], [4.0, 8, 4]])
def test_two_spellings_of_one_choice_are_refused(values: list[Any], tmp_path: Path) -> None:
    space = {"optimisation.batch_size": {"type": "choice", "values": values}}
    with pytest.raises(InputError, match=r"optimisation\.batch_size: 4.* are the same value"):
        load(tmp_path, {**GOOD, "space": space})


@pytest.mark.parametrize("seeds", [["x"], [1, -5], [1.5], []])
def test_a_wrong_seed_is_one_line(seeds: list[Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"space\.yaml: protocol.*seeds") as refused:
        load(tmp_path, {**GOOD, "protocol": {"kind": "replicate", "seeds": seeds}})
    assert "\n" not in str(refused.value)


def test_a_name_that_no_folder_could_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"space\.yaml: name: .*at most 200"):
        load(tmp_path, {**GOOD, "name": "x" * 280})


def test_overrides_reach_the_dotted_keys_of_a_space(tmp_path: Path) -> None:
    sweep = load(
        tmp_path,
        GOOD,
        "space.optimisation.learning_rate.low=1e-4",
        "space.optimisation.batch_size={type: choice, values: [2]}",
        "experiment.optimisation.epochs=3",
    )
    assert list(sweep.space) == list(GOOD["space"])
    corner = next(sweep.corners())
    assert corner["optimisation.learning_rate"] == 1e-4
    assert corner["optimisation.batch_size"] == 2
    assert sweep.resolve(corner).optimisation.epochs == 3


def test_replicate_may_use_any_seeds(tmp_path: Path) -> None:
    sweep = load(tmp_path, {**GOOD, "protocol": {"kind": "replicate", "seeds": [1, 2, 3, 11]}})
    assert sweep.protocol.seeds == (1, 2, 3, 11)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": {}}, "space.yaml: space: "),
        ({"spaces": {}}, "spaces: unknown key"),
        (
            {"space": {"alignment.alpha": {"type": "float", "low": 1, "high": 0}}},
            r"space\.alignment\.alpha.*low must be below high \(got 1\.0 and 0\.0\)",
        ),
        (
            {"space": {"alignment.alpha": {"type": "float", "low": 0, "high": 1, "log": True}}},
            "a log scale needs low above 0",
        ),
        (
            {"space": {"alignment.alpha": {"low": 0, "high": 1}}},
            r"space\.yaml: space\.alignment\.alpha: expected type: float, int or choice "
            r"\(its keys are low, high\)",
        ),
        (
            {"space": {"alignment.alpha": {"type": "real", "low": 0, "high": 1}}},
            r"space\.alignment\.alpha: expected type: float, int or choice \(got type: real\)",
        ),
        (
            {"space": {"alignment.alpha": 0.5}},
            r"space\.alignment\.alpha: expected type: float, int or choice \(got 0\.5\)",
        ),
        (
            {"space": {"alignment.temperature": {"type": "float", "low": 0.001, "high": 1}}},
            r"experiment\.alignment\.temperature: .*0\.005 \(got 0\.001\)",
        ),
        (
            {"space": {"alignment.tau": {"type": "choice", "values": [1]}}},
            "experiment.alignment.tau: unknown key",
        ),
        (
            {"space": {"alignment.alpha": {"type": "choice", "values": [1, 1]}}},
            "must differ from each other",
        ),
        ({"protocol": {"seeds": [11]}}, "confirm_seeds must be fresh"),
        ({"protocol": {"seeds": [2]}}, "must differ from each other"),
        ({"protocol": {"trials": 0}}, r"protocol\.trials"),
        ({"protocol": {"sampler": "magic"}}, r"protocol\.sampler"),
        ({"resources": {"cpu": 0}}, r"resources\.cpu"),
        ({"budget": {"wall_hours": -1}}, r"budget\.wall_hours"),
        ({"name": "../escape"}, "name"),
        ({"experiment": {"data": {"dataset": "../x"}}}, r"experiment\.data\.dataset"),
    ],
)
def test_bad_spaces_are_refused_by_key(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, {**GOOD, **change})


def test_given_points_are_whole_and_of_the_experiments_own_types(tmp_path: Path) -> None:
    first = [{}, {"optimisation.learning_rate": "1e-2"}]
    sweep = load(tmp_path, {**GOOD, "protocol": {"first": first}})
    defaults, other = sweep.first()
    experiment = sweep.resolve({})
    assert defaults == {
        "optimisation.learning_rate": experiment.optimisation.learning_rate,
        "optimisation.batch_size": experiment.optimisation.batch_size,
        "alignment.objective": experiment.alignment.objective,
    }
    assert other == {**defaults, "optimisation.learning_rate": 0.01}  # beyond the bounds
    assert sweep.resolve(other).canonical() == sweep.resolve(first[1]).canonical()


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ({"first": [{"head.dropout": 0.1}]}, r"first, point 1: head\.dropout: not among the keys"),
        ({"first": [{}, {"optimisation.batch_size": "many"}]}, "optimisation.batch_size"),
    ],
)
def test_bad_given_points_are_refused(tmp_path: Path, protocol: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load(tmp_path, {**GOOD, "protocol": protocol})
