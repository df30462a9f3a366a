"""How many epochs early stopping lets a trial of the search take on average."""

from __future__ import annotations

import random
from bisect import insort

from orchestrator.config.sweep import SchedulerConfig

SIMULATED_TRIALS = 20_000


def expected_epochs(config: SchedulerConfig, epochs: int, trials: int) -> float:
    """Epochs that a trial of the search takes on average.

    For ASHA, the rule of `pruners.RayPruner` is played through with trials of random quality
    that come one after the other, a trial's rank being the same at every rung. For many trials
    that is `g + (gr - g)/r + (gr² - gr)/r² + …`; the first few pass more easily. The median rule
    stops half of the trials after the grace period.

    Args:
        config: The scheduler.
        epochs: Epochs of a whole trial.
        trials: Trials of the search.
    """
    if trials < 1 or config.kind == "none" or config.grace_period >= epochs:
        return float(epochs)
    if config.kind == "median":
        return (config.grace_period + epochs) / 2
    generator, rounds = random.Random(0), max(1, min(500, SIMULATED_TRIALS // trials))
    taken = sum(
        sum(simulate(config, epochs, [generator.random() for _ in range(trials)]))
        for _ in range(rounds)
    )
    return taken / (rounds * trials)


def simulate(config: SchedulerConfig, epochs: int, qualities: list[float]) -> list[int]:
    """Epochs of each of several trials under ASHA.

    Args:
        config: The scheduler.
        epochs: Epochs of a whole trial.
        qualities: What each trial reports at every epoch, in the order in which they come.
    """
    rungs: dict[int, list[float]] = {}
    milestone = config.grace_period
    while milestone <= epochs:
        rungs[milestone] = []
        milestone *= config.reduction_factor
    taken = []
    for quality in qualities:
        stopped_at = epochs
        for milestone, seen in rungs.items():
            is_weak = bool(seen) and quality < _quantile(seen, 1 - 1 / config.reduction_factor)
            insort(seen, quality)
            if is_weak:
                stopped_at = milestone
                break
        taken.append(stopped_at)
    return taken


def _quantile(ordered: list[float], share: float) -> float:
    """The quantile of sorted values, interpolated as NumPy does."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
