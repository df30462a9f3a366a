"""What a search has tried, kept as proposals come and end: only what changed is looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from orchestrator.search.samplers import State, Tried
from orchestrator.search.standings import Outcome, Proposal


@dataclass
class Tries:
    """Configurations of a search by their entries, which come in order.

    Attributes:
        seeds: Training seeds that each is to have.
        target: Validation F1 at which the search ends, if any.
        outcomes: How proposals ended, by number.
        by_entry: Their proposals.
    """

    seeds: Sequence[int]
    target: float | None
    outcomes: Mapping[int, Outcome]
    by_entry: dict[int, list[Proposal]] = field(default_factory=dict, init=False)
    _lacking: set[int] = field(default_factory=set, init=False)
    _known: dict[int, Tried] = field(default_factory=dict, init=False)
    _changed: dict[int, None] = field(default_factory=dict, init=False)  # in order
    _reached: set[int] = field(default_factory=set, init=False)
    _num_given: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._wanted = frozenset(self.seeds)

    @property
    def num_sampled(self) -> int:
        """Configurations that the sampler was asked for."""
        return len(self.by_entry) - self._num_given

    def add(self, proposal: Proposal) -> None:
        """Take note of a proposal."""
        tried = self.by_entry.setdefault(proposal.entry, [])
        tried.append(proposal)
        self._num_given += len(tried) == 1 and proposal.given
        if self._wanted <= {one.seed for one in tried}:
            self._lacking.discard(proposal.entry)
        else:
            self._lacking.add(proposal.entry)
        self._changed[proposal.entry] = None

    def changed(self, proposal: Proposal) -> None:
        """Take note that a proposal has ended, or runs again."""
        if proposal.entry in self.by_entry:
            self._changed[proposal.entry] = None

    def lacking(self) -> tuple[Proposal, int] | None:
        """The first configuration that lacks a seed, as it was proposed first, and that seed."""
        if not self._lacking:
            return None
        tried = self.by_entry[min(self._lacking)]
        return tried[0], unused(self.seeds, tried)[0]

    def history(self) -> list[Tried]:
        """What the sampler learns from: one item per configuration, in order.

        A configuration with several seeds counts with their mean once all have ended; with one of
        them failed or diverged it counts as failed.
        """
        for entry in self._changed:
            item = self._known[entry] = self._item(self.by_entry[entry])
            self._reached.discard(entry)
            score = item.value if item.state == "finished" else None
            if self.target is not None and score is not None and score >= self.target:
                self._reached.add(entry)
        self._changed.clear()
        return list(self._known.values())

    def has_reached_the_target(self) -> bool:
        """Whether a configuration has finished with the target or more."""
        if self.target is not None and self._changed:
            self.history()
        return bool(self._reached)

    def _item(self, tried: Sequence[Proposal]) -> Tried:
        values = tried[0].values
        outcomes = [self.outcomes[p.number] for p in tried if p.number in self.outcomes]
        if len(outcomes) < len(self.seeds):
            return Tried(values, "running")
        scores = [outcome.value for outcome in outcomes if outcome.value is not None]
        states = {outcome.status for outcome in outcomes}
        if not scores or not states.isdisjoint(("failed", "diverged")):
            return Tried(values, "failed")
        state: State = "pruned" if "pruned" in states else "finished"
        return Tried(values, state, fmean(scores), max([outcome.epoch for outcome in outcomes]))


def unused(seeds: Sequence[int], tried: Iterable[Proposal]) -> list[int]:
    """Seeds that none of some proposals has."""
    used = {proposal.seed for proposal in tried}
    return [seed for seed in seeds if seed not in used]
