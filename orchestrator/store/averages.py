"""Test scores of cells, and averages of scores over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.store.cells import CellStore
from shapca.metrics.seed_scores import SeedScores


def test_metrics(cells: CellStore, key: str) -> dict[str, float]:
    """Test scores of a cell, `test/f1` …; empty where it was not tested."""
    evaluation = cells.evaluation(key, "test") or {"metrics": {}}
    return {f"test/{name}": value for name, value in evaluation["metrics"].items()}


def test_averages(cells: CellStore, keys: Sequence[str]) -> dict[str, float]:
    """`test/…_mean` and `test/…_std` (n - 1) over the cells; empty unless all were tested."""
    scores = [test_metrics(cells, key) for key in keys]
    return averages(scores) if all(scores) else {}


def averages(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """`<score>_mean` and `<score>_std` (n - 1) of each score of the first of several seeds."""
    found: dict[str, float] = {}
    for name in scores[0] if scores else ():
        found |= SeedScores([score[name] for score in scores if name in score]).named(name)
    return found
