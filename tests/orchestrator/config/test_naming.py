from __future__ import annotations

import pytest

from orchestrator.config.dimensions import Scalar
from orchestrator.config.naming import describe


def test_a_setting_in_one_line() -> None:
    values: dict[str, Scalar] = {
        "optimisation.learning_rate": 1e-4,
        "alignment.alpha": 0.2,
        "alignment.beta": 0.4,
        "alignment.temperature": 0.1,
    }
    assert describe(values) == "lr=1e-4 α=0.2 β=0.4 τ=0.1"


def test_keys_of_one_last_part_are_told_apart() -> None:
    values: dict[str, Scalar] = {"text.freeze": True, "image.freeze": False, "head.hidden": 150}
    assert describe(values) == "hidden=150 image.freeze=false text.freeze=true"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.000123456, "1.23e-4"),
        (5e-4, "5e-4"),
        (0.0123456, "0.0123"),
        (1.0, "1"),
        (0.0, "0"),
        (-2e-6, "-2e-6"),
        (123456.0, "1.23e5"),
        (28, "28"),
        (None, "none"),
        ("two_hop", "two_hop"),
    ],
)
def test_values_are_short(value: Scalar, shown: str) -> None:
    assert describe({"a.b": value}) == f"b={shown}"
