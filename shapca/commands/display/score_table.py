"""Scores as a table: one row a metric, one column a split."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

FIRST = ("f1", "precision", "recall")


def score_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """A table of scores in percent.

    Args:
        scores: Heading of a column to metrics by name.
    """
    table = Table("metric", box=None, pad_edge=False)
    for heading in scores:
        table.add_column(heading, justify="right")
    names = {name for metrics in scores.values() for name in metrics} - set(FIRST)
    for name in (*FIRST, *sorted(names)):
        values = (metrics.get(name) for metrics in scores.values())
        table.add_row(name, *("" if value is None else f"{value:.2f}" for value in values))
    return table
