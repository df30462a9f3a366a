"""Mean, deviation and interval over seeds against other implementations and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from shapca.metrics.seed_scores import SeedScores


def test_the_interval_is_students() -> None:
    scores = [80.0, 81.0, 84.0]
    seeds = SeedScores(scores)
    expected = stats.t.interval(0.95, 2, loc=np.mean(scores), scale=stats.sem(scores))
    assert (seeds.mean, seeds.num) == (pytest.approx(81.6666667), 3)
    assert seeds.std == pytest.approx(np.std(scores, ddof=1))
    assert seeds.interval == pytest.approx(expected)
    assert seeds.named("f1") == {"f1_mean": seeds.mean, "f1_std": seeds.std}


def test_one_seed_has_no_spread() -> None:
    seeds = SeedScores([80.0])
    assert (seeds.mean, seeds.std, seeds.interval) == (80.0, None, None)
    assert seeds.named("f1") == {"f1_mean": 80.0}


def test_no_seed_has_no_mean() -> None:
    seeds = SeedScores([])
    assert (seeds.num, seeds.mean, seeds.std, seeds.interval) == (0, None, None, None)
    assert seeds.named("f1") == {}


@pytest.mark.parametrize("num_seeds", [3, 5])
def test_intervals_of_a_mean_over_seeds_cover_it(num_seeds: int) -> None:
    generator = np.random.default_rng(num_seeds)
    drawn = [SeedScores(generator.normal(76.9, 0.7, num_seeds).tolist()) for _ in range(4000)]
    covered = []
    naive = []
    for seeds in drawn:
        assert seeds.mean is not None
        assert seeds.std is not None
        assert seeds.interval is not None
        covered.append(seeds.interval[0] <= 76.9 <= seeds.interval[1])
        naive.append(abs(seeds.mean - 76.9) <= 1.96 * seeds.std / math.sqrt(num_seeds))
    assert 0.94 <= np.mean(covered) <= 0.96
    assert np.mean(naive) < 0.90  # what the normal distribution would claim to be 95%
