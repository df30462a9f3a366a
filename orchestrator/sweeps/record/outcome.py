"""What a sweep came to: every configuration with its seeds, the winner, and where its model is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeVar

from orchestrator.config.dimensions import Computed, Values
from orchestrator.config.naming import describe
from orchestrator.search.standings import Standing
from orchestrator.store.cell_folder import cell_folder
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.history import History
from orchestrator.tracking.run_document import ModelDocument
from orchestrator.tracking.state import TrackingState
from shapca.metrics.seed_scores import SeedScores

if TYPE_CHECKING:
    import pandas

    from orchestrator.tables.table import Comparison

CHAMPION = "champion"
DEFAULTS = "defaults"
Value = TypeVar("Value")
Ending = Literal["finished", "interrupted", "budget"]


@dataclass(frozen=True)
class ConfigurationResult:
    """A configuration over its seeds.

    Attributes:
        name: For people, e.g. `lr=1e-4 α=0.2`.
        phase: Where it got to: `search`, `shortlist`, `replicate` or `confirm`.
        configuration: Its key.
        values: The setting of the search space.
        val: Best validation F1 by seed, of the seeds that finished.
        test: Test F1 by seed, of the seeds that were tested.
        missing: Seeds that failed or diverged, with the reason.
        cells: Key of the cell by seed.
        pruned: Seeds that early stopping ended, with the epoch.
        entry: Its number in the search, by which it is called `#4`.
    """

    name: str
    phase: str
    configuration: str
    values: Values
    val: Mapping[int, float]
    test: Mapping[int, float]
    missing: Mapping[int, str]
    cells: Mapping[int, str]
    pruned: Mapping[int, int] = field(default_factory=dict)
    entry: int = 0

    @property
    def is_unconfirmed(self) -> bool:
        """Whether it was to be confirmed, and every confirm seed that ended has failed."""
        return self.phase == "confirm" and bool(self.missing) and not self.val

    @property
    def val_mean(self) -> float | None:
        """Mean validation F1 over the seeds that finished."""
        return SeedScores(list(self.val.values())).mean

    @property
    def val_std(self) -> float | None:
        """Sample standard deviation of the validation F1 (n - 1)."""
        return SeedScores(list(self.val.values())).std

    @property
    def test_mean(self) -> float | None:
        """Mean test F1 over the seeds that were tested."""
        return SeedScores(list(self.test.values())).mean

    @property
    def test_std(self) -> float | None:
        """Sample standard deviation of the test F1 (n - 1)."""
        return SeedScores(list(self.test.values())).std


@dataclass(frozen=True)
class SweepOutcome:
    """A sweep when its driver ends.

    Attributes:
        sweep: Its name.
        status: `finished`, `interrupted` by the user, or out of `budget`.
        reason: Why it ended early, if it did.
        rows: Configurations, best first: those with several seeds, then those of the search. Each
            is made when it is asked for, since a sweep may have 100,000.
        winner: The configuration to report: on its confirm seeds where there are any.
        champion: Key of the winner's cell with the best validation F1 whose weights are kept.
        model: Where the champion's run lies; `shapca predict` and `evaluate` read it.
        counts: Trials by verdict, and `reused`: those found done in the storage.
        seconds: How long this driver worked.
        storage: Address of the storage.
        tracking: How far MLflow follows.
        num_collapsed: Trials whose alignment told true pairs from others in no epoch.
        baseline: The first given point on the seeds that are reported, where the file has one.
        against: The winner minus the baseline in test F1, over the seeds that both have.
    """

    sweep: str
    status: Ending
    reason: str | None
    rows: Sequence[ConfigurationResult]
    winner: ConfigurationResult | None
    champion: str | None
    model: str | None
    counts: Mapping[str, int]
    seconds: float
    storage: str
    tracking: TrackingState = field(default=TrackingState("off"))
    num_collapsed: int = 0
    baseline: ConfigurationResult | None = None
    against: Comparison | None = None

    @property
    def scores_nothing(self) -> bool:
        """Whether seeds finished, and every one of them scores 0."""
        has_scores = any(row.val for row in self.rows)
        return has_scores and not any(any(row.val.values()) for row in self.rows)

    @property
    def is_incomplete(self) -> bool:
        """Whether nothing finished above 0, or a confirm seed of the reported winner failed."""
        winner = self.winner
        if winner is not None and winner.phase == "confirm" and winner.missing:
            return True
        return self.scores_nothing or not any(row.val for row in self.rows)

    def to_frame(self) -> pandas.DataFrame:
        """A table of the trials, the reported ones first: setting, seed, scores, verdict, cell.

        Scores are F1 in percent, NaN where there is none; test scores stand with tested seeds.
        """
        import pandas

        reported = [row for row in (self.winner, self.baseline) if row is not None]
        first = [row for row in reported if row not in self.rows]
        return pandas.DataFrame(
            [
                {
                    "phase": row.phase,
                    **row.values,
                    "seed": seed,
                    "val_f1": row.val.get(seed),
                    "test_f1": row.test.get(seed),
                    "pruned_at": row.pruned.get(seed),
                    "missing": row.missing.get(seed),
                    "configuration": row.configuration,
                    "cell": cell,
                }
                for row in (*first, *self.rows)
                for seed, cell in row.cells.items()
            ]
        )


def outcome_of(
    history: History,
    cells: CellStore,
    *,
    seconds: float,
    storage: str,
    status: Ending = "finished",
    reason: str | None = None,
    tracking: TrackingState = TrackingState("off"),
) -> SweepOutcome:
    """The outcome of a sweep, from its record and its cells."""
    winner, baseline = reported(history, cells), _baseline(history, cells)
    champion = None
    if winner is not None:
        ranked = sorted(winner.val, key=lambda seed: (-winner.val[seed], seed))
        kept = [seed for seed in ranked if cells.has_weights(winner.cells[seed])]
        champion = winner.cells[kept[0]] if kept else None
    counts = Counter[str](end.status for end in history.ended.values())
    counts["reused"] = sum(end.found for end in history.ended.values())
    return SweepOutcome(
        sweep=history.sweep.name,
        status=status,
        reason=reason,
        rows=configurations(history, cells),
        winner=winner,
        champion=champion,
        model=None if champion is None else f"{storage.rstrip('/')}/{cell_folder(champion)}",
        counts=dict(counts),
        num_collapsed=sum(end.alignment == "collapsed" for end in history.ended.values()),
        seconds=seconds,
        storage=storage,
        tracking=tracking,
        baseline=baseline,
        against=_difference(cells, winner, baseline),
    )


def reported(history: History, cells: CellStore) -> ConfigurationResult | None:
    """The winner on the seeds that are reported of it; None where nothing finished."""
    protocol = history.protocol
    if (confirmation := protocol.confirmation()) is not None:
        return _result(history, cells, confirmation, "confirm")
    if (winner := protocol.winner()) is None:
        return None
    phases = (p for one, p in protocol.ranking() if one.configuration == winner.configuration)
    return _result(history, cells, winner, next(phases))


def _baseline(history: History, cells: CellStore) -> ConfigurationResult | None:
    """The baseline on the seeds that are reported of it; None where it has not come to them."""
    confirmed = history.protocol.confirmed(history.protocol.baseline())
    if confirmed is None:
        return None
    given = history.sweep.protocol.first[0]
    return _result(history, cells, confirmed, "confirm", describe(given) if given else DEFAULTS)


def _difference(
    cells: CellStore, winner: ConfigurationResult | None, baseline: ConfigurationResult | None
) -> Comparison | None:
    """Winner minus baseline over the posts and seeds that were tested for both."""
    if winner is None or baseline is None or winner.configuration == baseline.configuration:
        return None
    seeds = [seed for seed in winner.test if seed in baseline.test]
    counts = [[_counts(cells, row.cells[seed]) for seed in seeds] for row in (winner, baseline)]
    if not seeds or not all(map(all, counts)):
        return None
    import numpy as np

    array = np.asarray(counts, dtype=np.int64)
    return _compared(array.tobytes(), array.shape, tuple(seeds))


@lru_cache(maxsize=8)
def _compared(counts: bytes, shape: tuple[int, ...], seeds: tuple[int, ...]) -> Comparison:
    """The comparison of counts (2, S, N, 3): a driver asks for it several times, it takes long."""
    import numpy as np

    from orchestrator.tables.statistics import paired_difference
    from orchestrator.tables.table import Comparison

    first, second = np.frombuffer(counts, dtype=np.int64).reshape(shape)
    return Comparison.of(paired_difference(first, second), seeds)


def _counts(cells: CellStore, key: str) -> list[list[int]]:
    """Counts behind a cell's test F1, post by post; none where it was not tested."""
    record = cells.evaluation(key, "test") or {}
    counts: list[list[int]] = record.get("per_example", {}).get("main", [])
    return counts


def configurations(history: History, cells: CellStore) -> Sequence[ConfigurationResult]:
    """Every configuration with all its selection seeds, best first."""
    ranking = history.protocol.ranking()
    return Computed(len(ranking), lambda place: _result(history, cells, *ranking[place]))


def _result(
    history: History, cells: CellStore, standing: Standing, phase: str, name: str | None = None
) -> ConfigurationResult:
    keys = {seed: history.proposed[number].cell for seed, number in standing.numbers.items()}
    val = _by_seed(standing.scores)
    # A seed that failed after its test is missing from both means, or they would not compare.
    tested = {seed: history.tested(keys[seed], cells) for seed in val}
    return ConfigurationResult(
        name=name or describe(standing.values),
        phase=phase,
        configuration=standing.configuration,
        values=standing.values,
        val=val,
        test={seed: score for seed, score in tested.items() if score is not None},
        missing=_by_seed(standing.missing),
        cells=keys,
        pruned=_by_seed(standing.pruned),
        entry=standing.entry,
    )


def _by_seed(found: dict[int, Value]) -> dict[int, Value]:
    return dict(sorted(found.items())) if len(found) > 1 else found


def champion_model(outcome: SweepOutcome) -> ModelDocument | None:
    """The champion as MLflow shall register it, under the sweep's name; None while there is none.

    It is the reported seed with the best validation F1. What is reported is the mean of all seeds.
    """
    winner = outcome.winner
    if winner is None or outcome.champion is None:
        return None
    seed = next(seed for seed, cell in winner.cells.items() if cell == outcome.champion)
    test = f", test F1 {score(winner.test_mean, winner.test_std)}" if winner.test else ""
    return ModelDocument(
        name=outcome.sweep,
        alias=CHAMPION,
        note=f"Champion of the sweep **{outcome.sweep}**: {winner.name}, seed {seed}, of "
        f"{len(winner.val)} the one with the best validation F1 ({winner.val[seed]:.2f}).\n\n"
        f"Mean over the seeds: val F1 {score(winner.val_mean, winner.val_std)}{test}.",
        tags={
            "sweep": outcome.sweep,
            "cell": outcome.champion,
            "configuration": winner.configuration,
            "phase": winner.phase,
            "seed": str(seed),
            "val_f1": f"{winner.val[seed]:.2f}",
        },
    )


def score(mean: float | None, std: float | None) -> str:
    """`76.93 ± 0.41`, or what there is of it."""
    if mean is None:
        return ""
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"
