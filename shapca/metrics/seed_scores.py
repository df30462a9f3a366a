"""Mean and deviation of a score over training seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


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

    def named(self, name: str) -> dict[str, float]:
        """`<name>_mean` and `<name>_std`, where they are known."""
        known = {f"{name}_mean": self.mean, f"{name}_std": self.std}
        return {key: value for key, value in known.items() if value is not None}
