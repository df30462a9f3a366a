"""Cells that a sweep proposes, how they end, and how configurations stand over their seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.config.dimensions import Values
from orchestrator.config.naming import describe
from shapca.metrics.seed_scores import SeedScores

Phase = Literal["search", "shortlist", "replicate", "confirm", "study"]
Verdict = Literal["finished", "pruned", "diverged", "failed"]


@dataclass(frozen=True)
class Proposal:
    """One cell that the sweep wants.

    Attributes:
        number: Its place in the sweep, from 1.
        phase: Why it is wanted.
        entry: Which configuration of the search it belongs to, from 1.
        values: The setting of the search space.
        seed: The training seed.
        configuration: Key of the configuration that the values resolve to.
        test: Whether the cell's test score is wanted.
        given: Whether the sweep's file gives the setting (`protocol.first`).
    """

    number: int
    phase: Phase
    entry: int
    values: Values
    seed: int
    configuration: str
    test: bool = False
    given: bool = False

    @property
    def setting(self) -> str:
        """Its setting for people, e.g. `lr=1e-4 α=0.2`."""
        return describe(self.values)

    @property
    def name(self) -> str:
        """Setting and seed, e.g. `lr=1e-4 α=0.2 · seed 1`."""
        return f"{self.setting} · seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How a proposed cell ended.

    Attributes:
        status: The verdict of this sweep.
        value: Best validation F1 in percent; None where no epoch was completed.
        epoch: Last epoch that the sweep saw.
        reason: Why it failed or diverged.
    """

    status: Verdict
    value: float | None = None
    epoch: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Standing:
    """A configuration with the seeds it was given.

    Attributes:
        entry: Its number in the search.
        values: The setting of the search space.
        configuration: Its key.
        scores: Validation F1 by seed, of the seeds that finished.
        missing: Seeds that failed or diverged, with the reason: named, never dropped silently.
        pruned: Seeds that early stopping ended, with the epoch.
        numbers: Proposal of each seed.
        reached: Best validation F1 of the seeds that early stopping ended, where there is one.
    """

    entry: int
    values: Values
    configuration: str
    scores: dict[int, float]
    missing: dict[int, str]
    pruned: dict[int, int]
    numbers: dict[int, int]
    reached: float | None = None

    @property
    def whole(self) -> bool:
        """Whether every seed finished."""
        return bool(self.scores) and not self.missing and not self.pruned

    @property
    def seed_scores(self) -> SeedScores:
        """Validation F1 of the seeds that finished."""
        return SeedScores(list(self.scores.values()))

    @property
    def mean(self) -> float | None:
        """Their mean."""
        return self.seed_scores.mean


def standing_of(group: Iterable[tuple[Proposal, Outcome]]) -> Standing:
    """How one configuration stands, from the ends of its proposals in their order."""
    pairs = list(group)
    first = pairs[0][0]
    scores: dict[int, float] = {}
    missing: dict[int, str] = {}
    pruned: dict[int, int] = {}
    numbers: dict[int, int] = {}
    for proposal, outcome in pairs:
        numbers.setdefault(proposal.seed, proposal.number)
        if outcome.status == "finished" and outcome.value is not None:
            scores[proposal.seed] = outcome.value
        elif outcome.status == "pruned":
            pruned[proposal.seed] = outcome.epoch
        else:
            missing[proposal.seed] = outcome.reason or outcome.status
    cut = [o.value for _, o in pairs if o.status == "pruned" and o.value is not None]
    missing = {seed: reason for seed, reason in missing.items() if seed not in scores}
    return Standing(
        first.entry, first.values, first.configuration, scores, missing, pruned, numbers,
        max(cut, default=None),
    )  # fmt: skip


@dataclass
class Ranked:
    """Configurations in order, kept as their proposals end: only what changed is looked at again.

    Attributes:
        phases: Of which phases proposals count.
    """

    phases: tuple[Phase, ...]
    _known: dict[str, tuple[tuple[bool, int, float, int, float, int], Standing]] = field(
        default_factory=dict, init=False
    )
    _order: list[Standing] | None = field(default=None, init=False)

    def update(
        self, configuration: str, tried: Iterable[Proposal], outcomes: Mapping[int, Outcome]
    ) -> None:
        """Take note that a proposal of a configuration has ended, or runs again.

        Args:
            configuration: Which one.
            tried: All its proposals, in order.
            outcomes: How proposals ended, by number.
        """
        group = [
            (proposal, outcome)
            for proposal in tried
            if proposal.phase in self.phases and (outcome := outcomes.get(proposal.number))
        ]
        if group:
            standing = standing_of(group)
            self._known[configuration] = (rank(standing), standing)
        else:
            self._known.pop(configuration, None)
        self._order = None

    def standings(self) -> list[Standing]:
        """Configurations with the seeds that have ended; best first."""
        if self._order is None:
            ordered = sorted(self._known.values(), key=lambda known: known[0])
            self._order = [standing for _, standing in ordered]
        return list(self._order)


def rank(standing: Standing) -> tuple[bool, int, float, int, float, int]:
    """Sorts configurations best first: whole ones, then by mean, then the earlier one.

    Of those that early stopping ended the one that it ended later stands first, then the one that
    had reached more.
    """
    mean, reached = standing.mean, standing.reached
    return (
        not standing.whole,
        len(standing.missing) + len(standing.pruned),
        -mean if mean is not None else 0.0,
        -max(standing.pruned.values(), default=0),
        -reached if reached is not None else 0.0,
        standing.entry,
    )
