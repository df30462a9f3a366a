"""What a sweep came to: every configuration with its seeds, the winner, and where its model is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from orchestrator.config.dimensions import Values
from orchestrator.config.naming import describe
from orchestrator.search.standings import Standing
from orchestrator.store.cell_folder import cell_folder
from orchestrator.store.cells import CellStore, test_metrics
from orchestrator.sweeps.record.history import History
from orchestrator.tracking.run_document import ModelDocument
from orchestrator.tracking.state import TrackingState
from shapca.metrics.seed_scores import SeedScores

if TYPE_CHECKING:
    import pandas

CHAMPION = "champion"
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
        rows: Configurations, best first: those with several seeds, then those of the search.
        winner: The configuration to report: on its confirm seeds where there are any.
        champion: Key of the winner's cell with the best validation F1 whose weights are kept.
        model: Where the champion's run lies; `shapca predict` and `evaluate` read it.
        counts: Trials by verdict, and `reused`: those found done in the storage.
        seconds: How long this driver worked.
        storage: Address of the storage.
        tracking: How far MLflow follows.
        num_collapsed: Trials whose alignment told true pairs from others in no epoch.
    """

    sweep: str
    status: Ending
    reason: str | None
    rows: tuple[ConfigurationResult, ...]
    winner: ConfigurationResult | None
    champion: str | None
    model: str | None
    counts: Mapping[str, int]
    seconds: float
    storage: str
    tracking: TrackingState = field(default=TrackingState("off"))
    num_collapsed: int = 0

    @property
    def is_incomplete(self) -> bool:
        """Whether nothing finished, or a confirm seed of the reported winner failed."""
        winner = self.winner
        if winner is not None and winner.phase == "confirm" and winner.missing:
            return True
        return not any(row.val for row in self.rows)

    def to_frame(self) -> pandas.DataFrame:
        """A table of the trials, the reported winner's first: setting, seed, scores, verdict, cell.

        Scores are F1 in percent, NaN where there is none; test scores stand with tested seeds.
        """
        import pandas

        winner = [] if self.winner is None or self.winner in self.rows else [self.winner]
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
                for row in (*winner, *self.rows)
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
    winner = reported(history, cells)
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
    )


def reported(history: History, cells: CellStore) -> ConfigurationResult | None:
    """The winner on the seeds that are reported of it; None where nothing finished."""
    protocol = history.protocol
    if (confirmation := protocol.confirmation()) is not None:
        return _result(history, cells, confirmation, "confirm")
    if (winner := protocol.winner()) is None:
        return None
    phases = {standing.configuration: phase for standing, phase in protocol.ranking()}
    return _result(history, cells, winner, phases[winner.configuration])


def configurations(history: History, cells: CellStore) -> tuple[ConfigurationResult, ...]:
    """Every configuration with all its selection seeds, best first."""
    ranking = history.protocol.ranking()
    return tuple(_result(history, cells, standing, phase) for standing, phase in ranking)


def _result(
    history: History, cells: CellStore, standing: Standing, phase: str
) -> ConfigurationResult:
    keys = {seed: history.proposed[number].cell for seed, number in standing.numbers.items()}
    # A seed that failed after its test is missing from both means, or they would not compare.
    tested = {
        seed: test_metrics(cells, key) for seed, key in keys.items() if seed in standing.scores
    }
    return ConfigurationResult(
        name=describe(standing.values),
        phase=phase,
        configuration=standing.configuration,
        values=standing.values,
        val=dict(sorted(standing.scores.items())),
        test={seed: scores["test/f1"] for seed, scores in sorted(tested.items()) if scores},
        missing=dict(sorted(standing.missing.items())),
        cells=keys,
        pruned=dict(sorted(standing.pruned.items())),
    )


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
