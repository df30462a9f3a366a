"""What a table of results is, whoever shows it: columns, rows, and cells that say what they are.

Nothing here trains, reads a store or formats text: `studies.tables` fills a table from the cell
store and `formats` writes it down. Scores are percentages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from orchestrator.tables.statistics import Difference, holm, on_the_scale, smallest_p, t_interval
from shapca.metrics.seed_scores import SeedScores

CellState = Literal["done", "running", "stale", "missing", "n/a", "published"]
LEVELS = ((0.01, "**"), (0.05, "*"))
"""Corrected p below which a difference gets a mark."""


@dataclass(frozen=True)
class Comparison:
    """A cell minus the cell of the reference row in its column, over the seeds that both have.

    Attributes:
        mean: Mean difference in F1 points.
        low: Lower end of its 95% interval, NaN for one seed.
        high: Upper end, NaN for one seed.
        p_value: Two-sided, of this comparison alone; NaN for one seed.
        corrected: After Holm over all comparisons of the table; NaN for one seed.
        seeds: The paired seeds.
        num_examples: Examples of the test set.
    """

    mean: float
    low: float
    high: float
    p_value: float
    corrected: float
    seeds: tuple[int, ...]
    num_examples: int

    @classmethod
    def of(cls, found: Difference, seeds: Sequence[int]) -> Comparison:
        """A difference by itself, before it is corrected for others.

        Args:
            found: The difference.
            seeds: Its paired seeds.
        """
        return cls(
            found.mean, found.low, found.high, found.p_value, found.p_value, tuple(seeds),
            found.num_examples,
        )  # fmt: skip

    @property
    def mark(self) -> str:
        """`**`, `*` or nothing."""
        return next((mark for level, mark in LEVELS if self.corrected < level), "")


@dataclass(frozen=True)
class TableCell:
    """One figure of a table, or why there is none.

    Attributes:
        state: `done` (every seed that was asked for), `running`, `stale` (made by other code than
            the present one), `missing` (a seed failed or was never run), `n/a` (the row does not
            apply to the column), `published` (a number of others, not measured here).
        mean: Mean over the seeds that count; what was published, for a published cell.
        std: Sample standard deviation (n - 1); None below two seeds.
        low: Lower end of the 95% interval (Student's t over the seeds).
        high: Its upper end.
        scores: Score by seed, of the seeds that count.
        missing: Seeds without a score, with the reason.
        target: What was published for a measured cell, if that is known.
        against: The difference to the reference row, if there is one.
        cells: Key of the cell by seed.
        reason: Why there is nothing, or what is wrong with it.
    """

    state: CellState
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None
    scores: Mapping[int, float] = field(default_factory=dict)
    missing: Mapping[int, str] = field(default_factory=dict)
    target: float | None = None
    against: Comparison | None = None
    cells: Mapping[int, str] = field(default_factory=dict)
    reason: str | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that count, by name."""
        return tuple(self.scores)

    @property
    def difference(self) -> float | None:
        """Measured minus published."""
        if self.state == "published" or self.mean is None or self.target is None:
            return None
        return self.mean - self.target

    @classmethod
    def published(cls, value: float) -> TableCell:
        """A number of others."""
        return cls("published", mean=value)

    @classmethod
    def pooled(cls, parts: Sequence[TableCell]) -> TableCell:
        """The mean of cells of one row, by the seeds that all of them have."""
        order: tuple[CellState, ...] = ("n/a", "missing", "running", "stale", "published", "done")
        state = min((part.state for part in parts), key=order.index)
        if state == "published":
            return cls.published(sum(part.mean or 0.0 for part in parts) / len(parts))
        seeds = [seed for seed in parts[0].scores if all(seed in p.scores for p in parts)]
        missing = {seed: why for part in parts for seed, why in part.missing.items()}
        return cls.measured(
            state,
            {seed: sum(part.scores[seed] for part in parts) / len(parts) for seed in seeds},
            missing=missing,
            reason=next((part.reason for part in parts if part.reason is not None), None),
        )

    @classmethod
    def measured(cls, state: CellState, scores: Mapping[int, float], **others: Any) -> TableCell:
        """Mean, deviation and interval of the seeds' scores; with none, an empty cell.

        Args:
            state: Of the cell.
            scores: By seed.
            **others: More of the cell's attributes.
        """
        seeds = SeedScores(list(scores.values()))
        low, high = t_interval(scores.values()) or (None, None)
        return cls(state, seeds.mean, seeds.std, low, high, dict(scores), **others)


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: What the cells of a row are kept under.
        title: Its heading.
        group: Heading over it and its neighbours of the same group, if any.
        digits: Decimals shown.
        better: Which values are better; None: nothing is marked as best.
        unit: Stands behind every figure, e.g. `M`.
    """

    key: str
    title: str
    group: str | None = None
    digits: int = 2
    better: Literal["high", "low"] | None = "high"
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        key: Tells it from the others.
        title: Its heading.
        cells: By the column's key; a column without one is empty.
        group: Heading over it and its neighbours of the same group, if any.
    """

    key: str
    title: str
    cells: Mapping[str, TableCell]
    group: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        name: For files and labels, e.g. `table1`.
        title: Its caption.
        columns: From left to right.
        rows: From top to bottom.
        reference: Key of the row that the others are compared with, if any.
        heading: Over the column of row titles.
        scored_on: What the scores were measured on, as a clause.
        notes: What a reader has to know, besides what `remarks` says of every table.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    reference: str | None = None
    heading: str = "Method"
    notes: tuple[str, ...] = ()
    scored_on: str = "on the test split, which each cell sees once"

    def row(self, key: str) -> Row | None:
        """The row of that key, or None."""
        return next((row for row in self.rows if row.key == key), None)

    def best(self, column: Column) -> frozenset[str]:
        """Keys of the rows with the best complete measured mean of a column."""
        means = {
            row.key: round(cell.mean, column.digits)
            for row in self.rows
            if (cell := row.cells.get(column.key)) is not None
            and cell.state == "done"
            and cell.mean is not None
        }
        if column.better is None or len(means) < 2:
            return frozenset()
        best = max(means.values()) if column.better == "high" else min(means.values())
        return frozenset(key for key, mean in means.items() if mean == best)

    def cells(self) -> list[tuple[Row, Column, TableCell]]:
        """Every cell that is there, row by row."""
        return [
            (row, column, row.cells[column.key])
            for row in self.rows
            for column in self.columns
            if column.key in row.cells
        ]

    def gaps(self) -> tuple[str, ...]:
        """What is missing and why, one line a row and reason: never silently dropped."""
        columns: dict[str, list[str]] = {}
        for row, column, cell in self.cells():
            reasons = [f"seed {seed}: {why}" for seed, why in cell.missing.items()]
            if not reasons and cell.state == "missing":
                reasons = [cell.reason or "no figure"]
            for reason in reasons:
                columns.setdefault(f"{row.title} · {reason}", []).append(column.key)
        return tuple(f"missing: {what} ({', '.join(of)})" for what, of in columns.items())

    def doubts(self) -> tuple[str, ...]:
        """Intervals of the means, and every difference to the reference with its p, in words."""
        lines = []
        for row, column, cell in self.cells():
            parts = []
            if cell.low is not None and cell.high is not None:
                parts.append(f"95% interval {on_the_scale(cell.low, cell.high)}")
            if (against := cell.against) is not None:
                text = f"{against.mean:+.2f} to the reference"
                if not math.isnan(against.p_value):
                    text += (
                        f" ({against.low:+.2f} to {against.high:+.2f}), p = {against.p_value:.3g}, "
                        f"corrected {against.corrected:.3g}"
                    )
                parts.append(f"{text}, seeds {' '.join(map(str, against.seeds))}")
            if parts:
                lines.append(f"{row.title}, {column.key}: {'; '.join(parts)}")
        return tuple(lines)

    def remarks(self) -> tuple[str, ...]:
        """The notes, and what the marks of this very table mean."""
        cells = [cell for _, _, cell in self.cells()]
        lines = list(self.notes)
        if any(cell.std is not None for cell in cells):
            seeds = sorted({seed for cell in cells for seed in cell.seeds})
            lines.append(
                "± is the sample standard deviation over the seeds "
                f"({' '.join(map(str, seeds))}), {self.scored_on}."
            )
        lines += self._comparison_remarks([c.against for c in cells if c.against is not None])
        if any(cell.difference is not None for cell in cells):
            lines.append("[ ] what was published for the same cell, and measured minus published.")
        if any(cell.state == "published" for cell in cells):
            lines.append("† published by others, not measured here.")
        if any(cell.state == "stale" for cell in cells):
            lines.append("‡ stale: made by other code than the present one.")
        if any(cell.missing and cell.mean is not None for cell in cells):
            lines.append("§ incomplete: the seeds in brackets of those that were asked for.")
        if any(self.best(column) for column in self.columns):
            lines.append("Bold: the best complete measured mean of a column.")
        return tuple(lines)

    def _comparison_remarks(self, comparisons: Sequence[Comparison]) -> list[str]:
        reference = None if self.reference is None else self.row(self.reference)
        if reference is None or not comparisons:
            return []
        tested = [c for c in comparisons if not math.isnan(c.p_value)]
        lines = []
        if tested:
            lines.append(
                f"*, ** differs from {reference.title} with p below 0.05, 0.01: paired bootstrap "
                f"over examples, Student's t over seeds, Holm-corrected over {len(tested)} "
                f"comparison{'' if len(tested) == 1 else 's'}."
            )
        for number in sorted({len(c.seeds) for c in comparisons}):
            seeds = "1 seed" if number == 1 else f"{number} seeds"
            lines.append(
                f"{seeds} alone (sign test) can reach no p below {smallest_p(number):g}."
                if number > 1
                else "1 seed says nothing about seeds: no significance is computed for it."
            )
        return lines


def corrected(table: Table) -> Table:
    """The table with the p-values of all its comparisons corrected by Holm's method."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    values = iter(holm([cell.against.p_value for cell in cells if cell.against is not None]))

    def with_value(cell: TableCell) -> TableCell:
        if cell.against is None:
            return cell
        return replace(cell, against=replace(cell.against, corrected=next(values)))

    rows = (
        replace(row, cells={key: with_value(cell) for key, cell in row.cells.items()})
        for row in table.rows
    )
    return replace(table, rows=tuple(rows))
