"""Cells that a sweep proposes, how they end, and how configurations stand over their seeds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from orchestrator.config.dimensions import Values
from orchestrator.config.naming import describe
from shapca.metrics.seed_scores import SeedScores

Phase = Literal["search", "shortlist", "replicate", "confirm", "study"]
Verdict = Literal["finished", "pruned", "diverged", "failed"]
Rank = tuple[bool, int, float, int, float, int, str]


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


@dataclass(frozen=True, slots=True)
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


@dataclass(slots=True)
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


def standing_of(pairs: Sequence[tuple[Proposal, Outcome]]) -> Standing:
    """How one configuration stands, from the ends of its proposals in their order."""
    first = pairs[0][0]
    scores: dict[int, float] = {}
    missing: dict[int, str] = {}
    pruned: dict[int, int] = {}
    numbers: dict[int, int] = {}
    reached: float | None = None
    for proposal, outcome in pairs:
        seed, value = proposal.seed, outcome.value
        numbers.setdefault(seed, proposal.number)
        if outcome.status == "finished" and value is not None:
            scores[seed] = value
        elif outcome.status == "pruned":
            pruned[seed] = outcome.epoch
            if value is not None and (reached is None or value > reached):
                reached = value
        else:
            missing[seed] = outcome.reason or outcome.status
    if missing:
        missing = {seed: reason for seed, reason in missing.items() if seed not in scores}
    return Standing(
        first.entry, first.values, first.configuration, scores, missing, pruned, numbers, reached
    )


@dataclass
class Ranked:
    """Configurations in order, kept as their proposals end: only what changed is looked at again.

    Attributes:
        phases: Of which phases proposals count.
    """

    phases: tuple[Phase, ...]
    _known: dict[str, tuple[Rank, Standing]] = field(default_factory=dict, init=False)
    _order: list[Rank] | None = field(default=None, init=False)
    _standings: list[Standing] = field(default_factory=list, init=False)  # in that order

    def with_phase(self, phase: Phase) -> Ranked:
        """The same of one phase more, of which nothing is known yet."""
        more = Ranked((*self.phases, phase))
        more._known = dict(self._known)
        return more

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
            (proposal, outcomes[proposal.number])
            for proposal in tried
            if proposal.phase in self.phases and proposal.number in outcomes
        ]
        before = self._known.pop(configuration, None)
        if before is not None and self._order is not None:
            self._take_out(before[0])
        if group:
            standing = standing_of(group)
            place = rank(standing)
            self._known[configuration] = place, standing
            if self._order is not None:
                index = bisect_left(self._order, place)
                self._order.insert(index, place)
                self._standings.insert(index, standing)

    def _take_out(self, place: Rank) -> None:
        assert self._order is not None
        index = bisect_left(self._order, place)
        if self._order[index : index + 1] == [place]:
            del self._order[index], self._standings[index]
        else:  # a score that is no number has no place
            self._order = None

    def standings(self) -> Sequence[Standing]:
        """Configurations with the seeds that have ended; best first. It changes with them."""
        if self._order is None:
            self._order = sorted([place for place, _ in self._known.values()])
            self._standings = [self._known[place[-1]][1] for place in self._order]
        return self._standings


def rank(standing: Standing) -> Rank:
    """Sorts configurations best first: whole ones, then by mean, then the earlier one.

    Of those that early stopping ended the one that it ended later stands first, then the one that
    had reached more.
    """
    scores, missing, pruned = standing.scores, standing.missing, standing.pruned
    return (
        not scores or bool(missing) or bool(pruned),
        len(missing) + len(pruned),
        -fmean(scores.values()) if scores else 0.0,
        -max(pruned.values()) if pruned else 0,
        -standing.reached if standing.reached is not None else 0.0,
        standing.entry,
        standing.configuration,
    )
