"""Mean, deviation and interval of a score over training seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

LEVEL = 0.95


@dataclass(frozen=True)
class SeedScores:
    """The scores that one configuration reached with several seeds.

    Attributes:
        values: One score a seed.
    """

    values: Sequence[float]

    @property
    def num(self) -> int:
        """How many seeds there are."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """Their mean; None where there is no seed."""
        return fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """Their sample standard deviation (n - 1); None below two seeds."""
        return stdev(self.values) if self.num > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's 95% interval of the mean; None below two seeds.

        It is that of the expected score *on this test set*: it knows of seeds alone.
        """
        if self.mean is None or self.std is None:
            return None
        from scipy import stats

        half = float(stats.t.ppf((1 + LEVEL) / 2, self.num - 1)) * self.std / math.sqrt(self.num)
        return self.mean - half, self.mean + half

    def named(self, name: str) -> dict[str, float]:
        """`<name>_mean` and `<name>_std`, where they are known."""
        known = {f"{name}_mean": self.mean, f"{name}_std": self.std}
        return {key: value for key, value in known.items() if value is not None}
