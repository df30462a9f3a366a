"""Under which names a run's figures stand in MLflow, which sorts its charts by them.

Curves come first (`train`, `val`), one value a run after them: a metric that has no later step
than 0 is drawn as a bar, and `val_best`, `z_cost` and `z_test` sort behind `val`.

    val/f1               after each epoch; also precision, recall, alignment
    val_best/f1          at the best epoch, and its scores by type; of averages f1_mean, f1_std
    z_cost/seconds …     what an epoch took
    z_test/f1            of the test split; of averages f1_mean, f1_std
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.tracking.client.client import MetricPoint, milliseconds

LAYOUT = 2
"""Of the names; runs that were published under older ones are sent their figures again."""
BEST, COST, TEST = "val_best/", "z_cost/", "z_test/"
_ALONE = {
    "best_epoch": f"{BEST}epoch",
    "num_seeds": f"{BEST}num_seeds",
    "peak_memory_mb": f"{COST}peak_memory_mb",
}
_COST = re.compile(r"(train|val)/(seconds|samples_per_second|input_seconds|input_wait_share)")
_BY_TYPE = re.compile(r"val/(strict_.*|(\w+_)?(f1|precision|recall)_.+)")


def figure_name(name: str) -> str:
    """The name of a figure that a run has once."""
    if name.startswith("test/"):
        return TEST + name.removeprefix("test/")
    if name.startswith("val/"):
        return BEST + name.removeprefix("val/")
    return _ALONE.get(name, name)


def series_name(name: str) -> str | None:
    """The name of a metric of each epoch; None where MLflow gets its best value alone."""
    if found := _COST.fullmatch(name):
        return f"{COST}{found[1]}_{found[2]}"
    return None if _BY_TYPE.fullmatch(name) else _ALONE.get(name, name)


def epoch_points(records: Sequence[Mapping[str, Any]]) -> Iterator[MetricPoint]:
    """Epoch records as points, each at its epoch."""
    for record in records:
        at = milliseconds(record["finished_at"])
        for name, value in record["metrics"].items():
            if (shown := series_name(name)) is not None:
                yield MetricPoint(shown, value, at, record["epoch"])


def figure_points(metrics: Mapping[str, float], ended_at: float) -> Iterator[MetricPoint]:
    """Final figures as points at step 0, when the run ended."""
    for name, value in metrics.items():
        yield MetricPoint(figure_name(name), value, milliseconds(ended_at), 0)
