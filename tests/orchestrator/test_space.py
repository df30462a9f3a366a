"""Search-space files: what is refused, with which message, and what corners and grids are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.space import SweepConfig
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
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
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
