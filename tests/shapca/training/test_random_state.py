"""A run's randomness is its own, and comes back from a record."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch

from shapca.errors import InputError
from shapca.training.random_state import RandomState

CPU = torch.device("cpu")


def draw(state: RandomState) -> list[float]:
    with state.active():
        return [
            random.random(),
            random.gauss(0, 1),
            float(np.random.standard_normal()),
            float(torch.randn(())),
            float(torch.rand((), generator=state.generator)),
        ]


def draw_outside() -> list[float]:
    return [random.random(), float(np.random.random()), float(torch.rand(()))]


def test_a_seed_gives_the_same_draws() -> None:
    first, second, other = RandomState(3, CPU), RandomState(3, CPU), RandomState(4, CPU)
    assert [draw(first), draw(first)] == [draw(second), draw(second)]
    assert draw(first) != draw(other)


def test_the_process_neither_disturbs_nor_is_disturbed() -> None:
    quiet = RandomState(3, CPU)
    wanted = [draw(quiet), draw(quiet)]
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    expected = [draw_outside(), draw_outside()]
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    state = RandomState(3, CPU)
    found, outside = [draw(state)], [draw_outside()]
    found.append(draw(state))
    outside.append(draw_outside())
    assert found == wanted
    assert outside == expected


def test_the_process_gets_its_state_back_after_an_error() -> None:
    torch.manual_seed(0)
    expected = float(torch.rand(()))
    torch.manual_seed(0)
    state = RandomState(3, CPU)
    try:
        with state.active():
            torch.rand(())
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert float(torch.rand(())) == expected


def test_json_gives_back_every_state() -> None:
    state = RandomState(3, CPU)
    draw(state)
    record = json.loads(json.dumps(state.to_json()))
    wanted = [draw(state), draw(state)]
    other = RandomState(9, CPU)
    other.load_json(record)
    assert [draw(other), draw(other)] == wanted


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("generator", {"tensor": "AAAA"}),
        ("python", {"tuple": [3, {"tuple": [1]}, None]}),
        ("numpy", {"dict": {"bit_generator": "MT19937"}}),
        ("numpy", {"array": [1], "dtype": "S1000000000"}),
        ("torch", "x"),
    ],
)
def test_a_damaged_record_is_refused_and_changes_nothing(name: str, damage: object) -> None:
    state, wanted = RandomState(3, CPU), RandomState(3, CPU)
    outside = random.getstate()
    with pytest.raises(InputError, match="random states are damaged"):
        state.load_json({**state.to_json(), name: damage})
    assert random.getstate() == outside
    if name != "generator":
        state.generator.manual_seed(3)
    assert draw(state) == draw(wanted)
