"""Which difference a study can show: the power of its test, before anything is trained.

The test is `paired_difference`'s: seeds by Student's t, examples by a normal error, their sum a
Behrens-Fisher distribution. Power is the share of studies that reach p below a level when the true
difference is given; it is simulated with fixed random numbers, so that it grows smoothly.

R simulated studies, Q nodes of the quadrature over the examples' error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

DISCORDANT = 0.05
"""Share of gold items that one of two near systems finds and the other does not, if not known."""
SEED_STD = 0.55
"""Standard deviation over seeds of one system's F1, in points, if not known."""


@dataclass(frozen=True)
class Noise:
    """What a mean difference between two systems suffers from, in F1 points.

    Attributes:
        seed_std: Standard deviation over seeds of the paired difference.
        example_error: Standard error that the examples of the test sets contribute.
    """

    seed_std: float
    example_error: float

    @classmethod
    def assumed(cls, num_gold: Sequence[int], seed_std: float = SEED_STD) -> Noise:
        """What to expect where nothing has been measured yet.

        Two systems that find the same share of gold items, and of which each finds some that the
        other does not, differ in F1 with an error of about 100 √(discordant share / gold items).

        Args:
            num_gold: Gold items of each test set whose differences are averaged.
            seed_std: Standard deviation over seeds of one system on one test set, in points.
        """
        squares = sum(100.0**2 * DISCORDANT / gold for gold in num_gold)
        number = len(num_gold)
        return cls(seed_std * math.sqrt(2.0 / number), math.sqrt(squares) / number)


def power(
    difference: float,
    noise: Noise,
    num_seeds: int,
    *,
    level: float = 0.05,
    num_studies: int = 4000,
    seed: int = 0,
) -> float:
    """Share of studies that find a true difference.

    Args:
        difference: True difference in F1 points.
        noise: What it is hidden in.
        num_seeds: Paired seeds of a study.
        level: Two-sided p below which a study has found it.
        num_studies: R.
        seed: Of the simulation.

    Raises:
        ValueError: Fewer than two seeds: there is no test.
    """
    if num_seeds < 2:
        raise ValueError(f"a test needs at least two seeds, got {num_seeds}")
    generator = np.random.default_rng(seed)
    freedom = num_seeds - 1
    true_error = math.hypot(noise.seed_std / math.sqrt(num_seeds), noise.example_error)
    means = difference + true_error * generator.standard_normal(num_studies)
    spread = np.sqrt(generator.chisquare(freedom, num_studies) / freedom)
    seed_errors = np.maximum(noise.seed_std * spread / math.sqrt(num_seeds), 1e-12)
    return float((_p_values(means, seed_errors, freedom, noise.example_error) < level).mean())


def detectable(
    noise: Noise, num_seeds: int, *, share: float = 0.8, level: float = 0.05, most: float = 100.0
) -> float:
    """The smallest true difference that a given share of studies find, in F1 points.

    Args:
        noise: What it is hidden in.
        num_seeds: Paired seeds of a study.
        share: Power to reach.
        level: Two-sided p below which a study has found it.
        most: Largest difference looked at; returned where even it is not found.
    """
    low, high = 0.0, most
    while high - low > 0.005:
        middle = (low + high) / 2
        found = power(middle, noise, num_seeds, level=level) >= share
        low, high = (low, middle) if found else (middle, high)
    return high


def _p_values(means: Floats, seed_errors: Floats, freedom: int, example_error: float) -> Floats:
    """Two-sided p of each simulated study, (R,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(32)  # (Q,)
    distances = np.abs(means)[:, None] - example_error * nodes  # (R, Q)
    upper: Floats = stats.t.sf(distances / seed_errors[:, None], freedom)
    return 2.0 * upper @ (weights / weights.sum())
