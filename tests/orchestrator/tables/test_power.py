"""The power of the studies' test, against simulations that use the test itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orchestrator.tables.power import Noise, detectable, power
from orchestrator.tables.statistics import behrens_fisher


def simulated(difference: float, noise: Noise, num_seeds: int, num_studies: int = 400) -> float:
    """Studies drawn seed by seed, each judged by the test of the tables."""
    generator = np.random.default_rng(7)
    num_found = 0
    for _ in range(num_studies):
        shared = noise.example_error * generator.standard_normal()
        scores = difference + shared + noise.seed_std * generator.standard_normal(num_seeds)
        error = scores.std(ddof=1) / math.sqrt(num_seeds)
        _, p = behrens_fisher(scores.mean(), error, num_seeds - 1, noise.example_error)
        num_found += p < 0.05
    return num_found / num_studies


@pytest.mark.parametrize(("difference", "num_seeds"), [(0.0, 3), (1.0, 3), (1.3, 5), (2.0, 10)])
def test_power_is_the_share_of_studies_that_find_it(difference: float, num_seeds: int) -> None:
    noise = Noise(seed_std=0.6, example_error=0.5)
    assert power(difference, noise, num_seeds) == pytest.approx(
        simulated(difference, noise, num_seeds), abs=0.06
    )


def test_power_grows_with_difference_and_seeds_and_falls_with_noise() -> None:
    noise = Noise(0.6, 0.5)
    by_difference = [power(d, noise, 5) for d in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert by_difference == sorted(by_difference)
    assert by_difference[0] <= 0.06
    assert by_difference[-1] > 0.99
    by_seeds = [power(1.2, noise, number) for number in (2, 3, 5, 10, 30)]
    assert by_seeds == sorted(by_seeds)
    assert power(1.2, Noise(0.6, 0.8), 5) < power(1.2, noise, 5)
    with pytest.raises(ValueError, match="two seeds"):
        power(1.0, noise, 1)


def test_a_detectable_difference_is_found_as_often_as_asked() -> None:
    noise = Noise(0.6, 0.5)
    for share in (0.5, 0.8):
        found = detectable(noise, 5, share=share)
        assert power(found, noise, 5) == pytest.approx(share, abs=0.02)
    assert detectable(noise, 10) < detectable(noise, 3)
    assert detectable(Noise(500.0, 500.0), 3) == 100.0


def test_assumed_noise_of_one_and_of_two_pooled_test_sets() -> None:
    one = Noise.assumed((1351,), seed_std=0.5)
    assert one.seed_std == pytest.approx(0.5 * math.sqrt(2))
    assert one.example_error == pytest.approx(100 * math.sqrt(0.05 / 1351))
    two = Noise.assumed((1351, 1351), seed_std=0.5)
    assert two.seed_std == pytest.approx(0.5)
    assert two.example_error == pytest.approx(one.example_error / math.sqrt(2))
