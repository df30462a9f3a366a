"""Intervals and significance against enumeration, known distributions and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from orchestrator.tables.statistics import (
    behrens_fisher,
    bootstrap_f1,
    expected_maximum,
    holm,
    micro_f1,
    on_the_scale,
    paired_difference,
    pooled_difference,
    smallest_p,
    t_interval,
)


def test_micro_f1_by_hand() -> None:
    counts = np.array([[2, 3, 4], [0, 1, 0], [1, 1, 1]])  # correct, predicted, gold
    assert micro_f1(counts) == pytest.approx(100 * 2 * 3 / (5 + 5))
    assert micro_f1(np.zeros((2, 3), dtype=int)) == 0.0


def test_bootstrap_draws_the_same_examples_for_all_systems() -> None:
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 3, (1, 50, 3))
    counts = np.concatenate([counts, counts])
    resampled = bootstrap_f1(counts, 300, generator)
    assert resampled.shape == (300, 2)
    np.testing.assert_array_equal(resampled[:, 0], resampled[:, 1])
    assert resampled[:, 0].std() > 0


def test_bootstrap_variance_equals_that_of_all_resamples() -> None:
    # Three examples have 27 equally likely resamples, which can be enumerated.
    counts = np.array([[[1, 1, 1], [0, 1, 1], [1, 2, 3]]])
    everything = [micro_f1(counts[0, list(rows)]) for rows in itertools.product(range(3), repeat=3)]
    resampled = bootstrap_f1(counts, 40_000, np.random.default_rng(0))
    assert resampled.mean() == pytest.approx(np.mean(everything), abs=0.5)
    assert resampled.std() == pytest.approx(np.std(everything), rel=0.03)


def test_behrens_fisher_limits_and_simulation() -> None:
    half, p = behrens_fisher(2.0, 1.0, 2, 0.0)
    assert half == pytest.approx(stats.t.ppf(0.975, 2), rel=1e-6)
    assert p == pytest.approx(2 * stats.t.sf(2.0, 2), rel=1e-6)
    half, p = behrens_fisher(2.0, 0.0, 2, 1.0)
    assert half == pytest.approx(1.959964, rel=1e-5)
    assert behrens_fisher(0.0, 0.0, 2, 0.0) == (0.0, 1.0)
    assert behrens_fisher(1.0, 0.0, 2, 0.0) == (0.0, 0.0)
    generator = np.random.default_rng(0)
    draws = 0.7 * generator.standard_t(2, 400_000) + 0.5 * generator.standard_normal(400_000)
    half, p = behrens_fisher(1.5, 0.7, 2, 0.5)
    assert (np.abs(draws) > half).mean() == pytest.approx(0.05, abs=0.002)
    assert (np.abs(draws) > 1.5).mean() == pytest.approx(p, abs=0.003)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    corrected = holm([0.02, math.nan, 0.5])
    assert corrected[0] == pytest.approx(0.04)
    assert math.isnan(corrected[1])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("num_seeds", [1, 2, 3, 5])
def test_smallest_p_is_that_of_enumerated_sign_flips(num_seeds: int) -> None:
    differences = np.arange(1.0, num_seeds + 1)
    signs = np.array(list(itertools.product([-1, 1], repeat=num_seeds)))
    extreme = np.abs(signs @ differences) >= differences.sum() - 1e-9
    assert smallest_p(num_seeds) == pytest.approx(extreme.mean())


def test_expected_maximum_is_that_of_enumerated_draws() -> None:
    scores = [3.0, 1.0, 2.0, 2.0]
    expected = [
        np.mean([max(draw) for draw in itertools.product(scores, repeat=m)]) for m in range(1, 5)
    ]
    assert expected_maximum(scores) == pytest.approx(expected)


def test_difference_is_antisymmetric_and_reproducible() -> None:
    generator = np.random.default_rng(0)
    a, b = simulate(generator, 3, 100, 0.5), simulate(generator, 3, 100, 0.5)
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert one.mean == pytest.approx(-other.mean)
    assert one.low == pytest.approx(-other.high, rel=0.1)
    assert one == paired_difference(a, b)


def test_one_seed_leaves_significance_open() -> None:
    generator = np.random.default_rng(0)
    a, b = simulate(generator, 1, 100, 0.5), simulate(generator, 1, 100, 0.5)
    difference = paired_difference(a, b)
    assert math.isnan(difference.p_value)
    assert difference.example_error > 0


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="two equal shapes"):
        paired_difference(np.zeros((3, 5, 3), int), np.zeros((3, 4, 3), int))


def test_several_test_sets_are_one_question() -> None:
    generator = np.random.default_rng(0)
    pairs = [
        (simulate(generator, 4, size, 0.5), simulate(generator, 4, size, 0.5)) for size in (150, 90)
    ]
    alone = [paired_difference(*pair) for pair in pairs]
    assert pooled_difference(pairs[:1]) == alone[0]
    both = pooled_difference(pairs)
    assert both.mean == pytest.approx((alone[0].mean + alone[1].mean) / 2)
    assert (both.num_seeds, both.num_examples) == (4, 240)
    per_seed = np.mean([micro_f1(a) - micro_f1(b) for a, b in pairs], axis=0)
    assert both.seed_error == pytest.approx(per_seed.std(ddof=1) / 2)
    expected = math.hypot(alone[0].example_error, alone[1].example_error) / 2
    assert both.example_error == pytest.approx(expected, rel=0.1)
    with pytest.raises(ValueError, match="as many seeds"):
        pooled_difference([pairs[0], (pairs[1][0][:3], pairs[1][1][:3])])


def simulate(
    generator: np.random.Generator, num_seeds: int, num_examples: int, seed_std: float
) -> np.ndarray:
    """Counts of one system in a population with hard and easy entities.

    The logit of finding an entity adds the example's difficulty, the system's own view of the
    example, chance of example and seed together, and the seed, whose effect has a standard
    deviation of `seed_std` F1 points.
    """
    difficulty = _DIFFICULTY[:num_examples]
    gold = _GOLD[:num_examples]
    logits = 2.2 + difficulty + generator.normal(0, 0.8, num_examples)
    slope = 10.0  # F1 points per unit of logit in this population, see the test below
    runs = []
    for _ in range(num_seeds):
        shift = generator.normal(0, seed_std / slope)
        chance = generator.normal(0, 1.0, num_examples)
        correct = generator.binomial(gold, 1 / (1 + np.exp(-(logits + chance + shift))))
        wrong = generator.binomial(gold - correct, 0.9)
        runs.append(np.stack([correct, correct + wrong, gold], axis=-1))
    return np.stack(runs)


_POPULATION = np.random.default_rng(7)
_DIFFICULTY = _POPULATION.normal(0, 2.5, 3257)
_GOLD = _POPULATION.integers(0, 4, 3257)


def test_an_interval_is_cut_where_no_score_can_be() -> None:
    assert on_the_scale(67.031, 76.969) == "67.03 to 76.97"
    assert on_the_scale(-5.19, 127.91) == "0.00 to 100.00 (cut at the ends of the scale)"
    assert on_the_scale(99.0, 100.0) == "99.00 to 100.00"


def test_population_slope() -> None:
    chance = np.random.default_rng(1).normal(0, math.hypot(0.8, 1.0), _DIFFICULTY.shape)
    p = 1 / (1 + np.exp(-(2.2 + _DIFFICULTY + chance)))
    assert 100 * (p * (1 - p)).mean() == pytest.approx(10.0, abs=0.5)


def rejected_and_covered(
    num_examples: int, num_seeds: int, seed_std: float, *, repetitions: int, num_resamples: int
) -> tuple[float, float]:
    """Shares of simulated null differences that are called significant, and whose interval holds
    zero."""
    generator = np.random.default_rng([num_examples, num_seeds, int(10 * seed_std)])
    differences = [
        paired_difference(
            simulate(generator, num_seeds, num_examples, seed_std),
            simulate(generator, num_seeds, num_examples, seed_std),
            num_resamples=num_resamples,
            seed=repetition,
        )
        for repetition in range(repetitions)
    ]
    rejected = np.mean([difference.p_value < 0.05 for difference in differences])
    covered = np.mean([difference.low <= 0 <= difference.high for difference in differences])
    return float(rejected), float(covered)


@pytest.mark.parametrize(("num_seeds", "seed_std"), [(3, 1.0), (5, 0.7)])
def test_coverage_and_type_one_error_at_a_glance(num_seeds: int, seed_std: float) -> None:
    rejected, covered = rejected_and_covered(
        723, num_seeds, seed_std, repetitions=150, num_resamples=100
    )
    # 150 repetitions estimate a rate near 0.04 with a standard error of 0.016.
    assert rejected <= 0.08
    assert covered >= 0.92


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed_std", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("num_seeds", [3, 5])
@pytest.mark.parametrize("num_examples", [723, 3257])
def test_coverage_and_type_one_error_in_simulation(
    num_examples: int, num_seeds: int, seed_std: float
) -> None:
    rejected, covered = rejected_and_covered(
        num_examples, num_seeds, seed_std, repetitions=1000, num_resamples=300
    )
    # 1,000 repetitions estimate a rate near 0.04 with a standard error of 0.006.
    assert rejected <= 0.06
    assert 0.92 <= covered <= 0.98


def test_the_interval_over_seeds_is_students() -> None:
    scores = [80.0, 81.0, 84.0]
    expected = stats.t.interval(0.95, 2, loc=np.mean(scores), scale=stats.sem(scores))
    assert t_interval(scores) == pytest.approx(expected)
    assert t_interval([80.0]) is None
    assert t_interval([]) is None


@pytest.mark.parametrize("num_seeds", [3, 5])
def test_intervals_of_a_mean_over_seeds_cover_it(num_seeds: int) -> None:
    generator = np.random.default_rng(num_seeds)
    covered = []
    naive = []
    for _ in range(4000):
        scores = generator.normal(76.9, 0.7, num_seeds)
        low, high = t_interval(scores.tolist()) or (0.0, 0.0)
        covered.append(low <= 76.9 <= high)
        naive.append(abs(scores.mean() - 76.9) <= 1.96 * scores.std(ddof=1) / math.sqrt(num_seeds))
    assert 0.94 <= np.mean(covered) <= 0.96
    assert np.mean(naive) < 0.90  # what the normal distribution would claim to be 95%
