"""Early stopping decides the same after it was rebuilt from a record."""

from __future__ import annotations

import random

import pytest

from orchestrator.config.sweep import SchedulerConfig
from orchestrator.search.pruners import KeepAll, RayPruner, build_pruner


def asha(**settings: int) -> SchedulerConfig:
    return SchedulerConfig(kind="asha", **{"grace_period": 1, "reduction_factor": 2, **settings})


def test_asha_stops_what_is_below_the_best_half_at_a_rung() -> None:
    pruner = build_pruner(asha(), 8)
    assert not pruner.observe(1, 1, 50.0)  # the first at a rung always goes on
    assert pruner.observe(2, 1, 40.0)
    assert not pruner.observe(3, 1, 60.0)
    assert not pruner.observe(3, 2, 61.0)
    assert not pruner.observe(1, 2, 70.0)
    assert not pruner.observe(1, 3, 1.0)  # no rung


def test_epochs_seen_before_are_ignored() -> None:
    pruner = build_pruner(asha(), 8)
    pruner.observe(1, 1, 50.0)
    assert pruner.observe(2, 1, 40.0)
    assert not pruner.observe(2, 1, 40.0)


@pytest.mark.parametrize("kind", ["none", "asha", "median"])
def test_nothing_is_stopped_within_the_grace_period(kind: str) -> None:
    pruner = build_pruner(SchedulerConfig.model_validate({"kind": kind, "grace_period": 4}), 4)
    assert isinstance(pruner, KeepAll)
    assert not any(pruner.observe(number, 1, -number) for number in range(20))


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_a_pruner_rebuilt_from_the_record_decides_the_same(kind: str) -> None:
    config = asha().model_copy(update={"kind": kind})
    generator = random.Random(3)
    curves = {
        number: sorted(generator.uniform(0, 100) for _ in range(9)) for number in range(1, 31)
    }

    def run(pruner: RayPruner, number: int) -> list[float]:
        """The values that a trial reports until it is stopped."""
        for epoch, value in enumerate(curves[number], start=1):
            if pruner.observe(number, epoch, value):
                pruner.end(number)
                return curves[number][:epoch]
        pruner.end(number)
        return curves[number]

    undisturbed = RayPruner(config, 9)
    reported = {number: run(undisturbed, number) for number in curves}
    assert 5 < sum(len(values) < 9 for values in reported.values()) < 30
    for interrupted in (2, 11, 29):
        again = RayPruner(config, 9)
        for number in range(1, interrupted):
            for epoch, value in enumerate(reported[number], start=1):
                again.observe(number, epoch, value)
            again.end(number)
        for number in range(interrupted, 31):
            assert run(again, number) == reported[number]
