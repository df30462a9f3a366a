"""Time of alternatives, taken in turn so that a busy machine slows them alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]


def best_seconds(
    *steps: Step, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """The best of several rounds of each step, taken in turn, after one to warm up."""
    seconds = [[] for _ in steps]
    for step in steps:
        step()
    for _ in range(rounds):
        for step, taken in zip(steps, seconds, strict=True):
            start = clock()
            step()
            taken.append(clock() - start)
    return [min(taken) for taken in seconds]
