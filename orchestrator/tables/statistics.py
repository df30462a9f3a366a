"""Honest figures from a few seeds: intervals, significance of differences, search effort.

Pure functions of scores and per-example counts, in F1 points (percent).

Two sources of chance stand in a mean over seeds on a test set: the seeds (few) and the examples
(many). The examples' part is bootstrapped: examples are drawn with replacement, the same for all
seeds and both systems. The seeds' part has n - 1 degrees of freedom, too few for a bootstrap: with
three seeds resampling them reproduces two thirds of their variance and none of the doubt about it.
It is therefore drawn from Student's t with the standard error over seeds as its scale. Their sum is
the Behrens-Fisher distribution of the error, and it answers both "how wide is the interval" and
"how likely is a difference this large where there is none".

S seeds, N examples; counts are (S, N, 3): correct, predicted, gold.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
LEVEL = 0.95
_CHUNK = 4_000_000  # resampled counts held at once


@dataclass(frozen=True)
class Difference:
    """System A minus system B.

    Attributes:
        mean: Mean difference in F1 points.
        low: Lower end of the confidence interval.
        high: Upper end.
        p_value: Two-sided; NaN where fewer than two seeds leave the seeds' part unknown.
        seed_error: Standard error that the seeds contribute.
        example_error: Standard error that the examples contribute.
        num_seeds: Pairs of seeds.
        num_examples: Examples of the test set.
    """

    mean: float
    low: float
    high: float
    p_value: float
    seed_error: float
    example_error: float
    num_seeds: int
    num_examples: int


def on_the_scale(low: float, high: float) -> str:
    """An interval of a score in words, cut where no score can be: below 0 and above 100."""
    cut = " (cut at the ends of the scale)" if low < 0.0 or high > 100.0 else ""
    return f"{max(0.0, low):.2f} to {min(100.0, high):.2f}{cut}"


def t_interval(scores: Collection[float]) -> tuple[float, float] | None:
    """Student's 95% interval of a mean over seeds; None below two.

    It is that of the expected score *on this test set*: it knows of seeds alone.
    """
    if len(scores) < 2:
        return None
    from scipy import stats  # takes most of a second: a finished sweep given again needs none

    half = float(stats.t.ppf((1 + LEVEL) / 2, len(scores) - 1))
    half *= stdev(scores) / math.sqrt(len(scores))
    return fmean(scores) - half, fmean(scores) + half


def micro_f1(counts: Counts) -> Floats:
    """Micro F1 in percent over the last but one axis; 0 where nothing is gold or predicted.

    Args:
        counts: (..., N, 3).
    """
    totals = counts.sum(axis=-2, dtype=np.float64)
    return _f1(totals)


def _f1(totals: Floats) -> Floats:
    denominator = totals[..., 1] + totals[..., 2]
    f1: Floats = 200.0 * totals[..., 0] / np.where(denominator == 0, 1.0, denominator)
    return f1


def bootstrap_f1(counts: Counts, num_resamples: int, generator: np.random.Generator) -> Floats:
    """F1 on resampled test sets; every system and seed sees the same resample.

    Args:
        counts: (M, N, 3) of M systems or seeds.
        num_resamples: R.
        generator: Source of the resamples.

    Returns:
        (R, M)
    """
    num_models, num_examples, _ = counts.shape
    flat = np.moveaxis(counts, 1, 0).reshape(num_examples, -1).astype(np.float64)
    chunk = max(1, _CHUNK // num_examples)
    parts = []
    for start in range(0, num_resamples, chunk):
        size = min(chunk, num_resamples - start)
        uniform = np.full(num_examples, 1.0 / num_examples)
        times = generator.multinomial(num_examples, uniform, size=size).astype(np.float64)
        parts.append(_f1((times @ flat).reshape(size, num_models, 3)))
    return np.concatenate(parts)


def paired_difference(
    a: Counts,
    b: Counts,
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Paired bootstrap over examples, with Student's t over seeds, for the F1 of A minus B.

    Args:
        a: (S, N, 3) counts of system A.
        b: (S, N, 3) counts of system B on the same examples; its seeds are paired with A's.
        level: Confidence level.
        num_resamples: Resampled test sets.
        seed: Of the resampling, so that a report is reproducible.

    Raises:
        ValueError: The shapes differ, or there is nothing to compare.
    """
    return pooled_difference([(a, b)], level=level, num_resamples=num_resamples, seed=seed)


def pooled_difference(
    pairs: Sequence[tuple[Counts, Counts]],
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """`paired_difference` of the mean over several test sets: one question, one interval.

    Args:
        pairs: Counts (S, N, 3) of the systems A and B on each test set; N may differ, and seeds
            are paired throughout.
        level: Confidence level.
        num_resamples: Resampled test sets.
        seed: Of the resampling.

    Raises:
        ValueError: The shapes differ, or there is nothing to compare.
    """
    for a, b in pairs:
        if a.shape != b.shape or a.ndim != 3 or a.shape[-1] != 3 or 0 in a.shape:
            raise ValueError(f"expected two equal shapes (S, N, 3), got {a.shape} and {b.shape}")
    if len({a.shape[0] for a, _ in pairs}) != 1:
        raise ValueError("expected pairs of as many seeds each, and at least one pair")
    num_seeds = pairs[0][0].shape[0]
    num_examples = sum(a.shape[1] for a, _ in pairs)
    generator = np.random.default_rng(seed)
    per_seed = np.mean([micro_f1(a) - micro_f1(b) for a, b in pairs], axis=0)
    mean = float(per_seed.mean())
    covariance = np.zeros((num_seeds, num_seeds))
    for pair in pairs:  # test sets are independent of each other
        resampled = bootstrap_f1(np.concatenate(pair), num_resamples, generator)
        differences = resampled[:, :num_seeds] - resampled[:, num_seeds:]
        covariance += np.atleast_2d(np.cov(differences, rowvar=False)) / len(pairs) ** 2
    if num_seeds == 1:
        example_error = math.sqrt(float(covariance[0, 0]))
        return Difference(
            mean, math.nan, math.nan, math.nan, math.nan, example_error, 1, num_examples
        )
    # Between seeds, resampled differences share what the examples do to all of them. What they do
    # to one seed alone (the diagonal's surplus) already shows in the spread over seeds.
    shared = (covariance.sum() - covariance.trace()) / (num_seeds * (num_seeds - 1))
    example_error = math.sqrt(max(0.0, float(shared)))
    seed_error = float(per_seed.std(ddof=1)) / math.sqrt(num_seeds)
    half, p_value = behrens_fisher(mean, seed_error, num_seeds - 1, example_error, level)
    return Difference(
        mean, mean - half, mean + half, p_value, seed_error, example_error, num_seeds, num_examples
    )


def behrens_fisher(
    mean: float, seed_error: float, seed_freedom: int, example_error: float, level: float = 0.95
) -> tuple[float, float]:
    """Half-width of the interval and two-sided p of `seed_error · t + example_error · z`.

    t has `seed_freedom` degrees of freedom, z is standard normal. Solved by quadrature over the
    quantiles of z, so that the answer has no sampling error of its own.
    """
    from scipy import optimize, stats

    if seed_error == 0.0 and example_error == 0.0:
        return 0.0, 1.0 if mean == 0.0 else 0.0
    if seed_error == 0.0:
        half = float(stats.norm.ppf((1 + level) / 2)) * example_error
        return half, float(2 * stats.norm.sf(abs(mean) / example_error))
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    weights = weights / weights.sum()

    def tail(distance: float) -> float:
        upper = stats.t.sf((distance - example_error * nodes) / seed_error, seed_freedom)
        return float(2 * (weights * upper).sum())

    high = float(stats.t.ppf((1 + level) / 2, seed_freedom) * seed_error + 6 * example_error)
    while tail(high) > 1 - level:
        high *= 2
    half = optimize.brentq(lambda distance: tail(distance) - (1 - level), 0.0, high, xtol=1e-12)
    return float(half), min(1.0, tail(abs(mean)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; NaN stays NaN and is not counted as a test."""
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(order):
        running = max(running, min(1.0, p * (len(order) - rank)))
        adjusted[i] = running
    return adjusted


def smallest_p(num_seeds: int) -> float:
    """The smallest two-sided p that n paired seeds alone allow: all signs agree, 2 / 2ⁿ."""
    return min(1.0, 2.0 ** (1 - num_seeds))


def expected_maximum(scores: Sequence[float], trials: Sequence[int] | None = None) -> Floats:
    """Expected best validation score after 1 … n random trials (Dodge et al., 2019, Eq. 5).

    E[max of m draws] = Σ_i v_(i) · [(i/n)^m − ((i−1)/n)^m] over the sorted scores.

    Args:
        scores: Validation scores of n trials, in any order.
        trials: The numbers m to tell it for; None: 1 … n.

    Returns:
        Expectation after each m of `trials`.

    Raises:
        ValueError: No scores.
    """
    values = np.sort(np.asarray(scores, dtype=np.float64))
    n = len(values)
    if n == 0:
        raise ValueError("expected performance needs at least one score")
    with np.errstate(divide="ignore"):
        log_share = np.log(np.arange(n + 1) / n)  # a power of it takes ten times as long
    draws = range(1, n + 1) if trials is None else trials
    return np.array([np.diff(np.exp(m * log_share)) @ values for m in draws])
