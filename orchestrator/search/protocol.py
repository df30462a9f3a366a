"""What a sweep tries next and what it concludes: a pure function of what has happened so far.

`Protocol` is told of proposals and outcomes and answers what comes next, so that a resumed sweep
goes on as if it had never stopped. Nothing here trains, stores or draws. What follows a search
differs by kind of protocol: each is a small class in `protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from orchestrator.config.dimensions import Values
from orchestrator.config.sweep import ProtocolConfig, SweepConfig
from orchestrator.search.samplers import Tried
from orchestrator.search.standings import Outcome, Phase, Proposal, Ranked, Standing
from orchestrator.search.tries import Tries, unused
from shapca.words import counted


class Signal(Enum):
    """What `Protocol.propose` answers where there is nothing to start."""

    WAIT = "wait"
    """Running trials must end first."""
    DONE = "done"
    """The protocol is complete."""


@dataclass
class Protocol:
    """The state machine of one sweep, which searches first; subclasses say what follows.

    Attributes:
        search_phase: Phase of the cells that the sampler learns from.
        config: The protocol's settings.
        ask: The sampler: index of the configuration and history to values.
        configuration_of: Key of the configuration that values resolve to.
        limit: Configurations that the sampler can give at most (grid).
        target: Validation F1 at which the search ends.
        given: Settings that are tried before the sampler is asked; the first is the baseline.
        proposals: Every proposal so far, in order.
        outcomes: How they ended, by number, in the order in which they did.
    """

    search_phase: ClassVar[Phase] = "search"

    config: ProtocolConfig
    ask: Callable[[int, Sequence[Tried]], Values]
    configuration_of: Callable[[Values], str]
    limit: int | None = None
    target: float | None = None
    given: Sequence[Values] = ()
    proposals: list[Proposal] = field(default_factory=list, init=False)
    outcomes: dict[int, Outcome] = field(default_factory=dict, init=False)
    # Kept as events come, so that late in a sweep what comes next takes no longer than early.
    _of: dict[str, list[Proposal]] = field(default_factory=dict, init=False)  # by configuration
    _in: dict[Phase, dict[str, None]] = field(default_factory=dict, init=False)  # configurations
    _open: dict[int, Proposal] = field(default_factory=dict, init=False)  # by number
    _ranked: dict[tuple[Phase, ...], Ranked] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._tries = Tries(self.config.seeds, self.target, self.outcomes)

    # What differs by kind -------------------------------------------------------------------

    @property
    def _num_sampled(self) -> int:
        """Configurations that the sampler is asked for at most."""
        wanted = max(0, self.config.trials - len(self.given))
        return wanted if self.limit is None else min(wanted, self.limit)

    @property
    def _num_entries(self) -> int:
        """Configurations that are tried at most; given points come also where none is left."""
        return max(self._num_sampled, self._tries.num_sampled) + len(self.given)

    def planned(self) -> dict[str, int]:
        """Trials per phase that are wanted at most."""
        return {self.search_phase: self._num_entries * len(self.config.seeds)}

    def _after_search(self) -> Proposal | Signal:
        """The next cell once the search has ended."""
        return Signal.DONE

    def shortlist(self) -> Sequence[Standing]:
        """The configurations of which one is chosen, best first."""
        return self.standings(self.search_phase)

    def winner(self) -> Standing | None:
        """The configuration to confirm; None while the search runs or where nothing finished.

        Selected by mean validation F1 over its seeds. A configuration with a seed that did not
        finish wins only where no other is whole, and one that scores 0 never.
        """
        return next((s for s in self.standings(self.search_phase) if s.mean), None)

    def baseline(self) -> Standing | None:
        """The first given point as the search found it; None where it failed, or has not ended."""
        if not self.given:
            return None
        named = {p.configuration for p in self.proposals if p.values == self.given[0]}
        found = (s for s in self.standings(self.search_phase) if s.configuration in named)
        return next((s for s in found if s.scores or s.pruned), None)

    def ranking(self) -> list[tuple[Standing, Phase]]:
        """Every configuration with the phase that it got to, best first."""
        return [(standing, self.search_phase) for standing in self.standings(self.search_phase)]

    def averaged(self, phase: Phase) -> tuple[tuple[Phase, ...], int]:
        """Phases whose cells are averaged with those of one, and how many seeds that makes."""
        return (self.search_phase,), len(self.config.seeds)

    def shown_phase(self, phase: Phase) -> Phase:
        """The phase that a cell's run is shown in."""
        return phase

    def check_seeds(self) -> None:
        """Refuse a seed in a role that is another one than it had.

        Raises:
            InputError: Names the seeds.
        """

    @classmethod
    def num_leaders(cls, sweep: SweepConfig) -> int:
        """Configurations, the best ones, whose weights are kept beside those confirmed."""
        return 1 if sweep.keep_models == "confirmed" else sweep.protocol.shortlist

    @classmethod
    def _num_kept(cls, sweep: SweepConfig, planned: Mapping[str, int]) -> int:
        return cls.num_leaders(sweep) * len(sweep.protocol.seeds)

    def _kept_configurations(self, sweep: SweepConfig) -> set[str]:
        leaders = self.shortlist()[: self.num_leaders(sweep)]
        return {standing.configuration for standing in leaders}

    @classmethod
    def words(cls, sweep: SweepConfig) -> str:
        """The end of a sentence that began with a sweep's task and data set."""
        protocol = sweep.protocol
        return (
            f", {counted(len(sweep.space), 'hyper-parameter')} varied: at most "
            f"{counted(protocol.trials, 'configuration')} ({protocol.sampler}), each on the seeds "
            f"{' '.join(map(str, protocol.seeds))}."
        )

    # What comes next ------------------------------------------------------------------------

    def propose(self) -> Proposal | Signal:
        """The next cell; the same for the same history."""
        if (lacking := self._tries.lacking()) is not None:
            first, seed = lacking
            return self._proposal(self.search_phase, first.entry, first.values, seed)
        if not self._tries.has_reached_the_target():
            tried = self._tries.by_entry.values()
            entry, seed = len(tried) + 1, self.config.seeds[0]
            for values in self.given:
                if all(values != proposals[0].values for proposals in tried):
                    return self._proposal(self.search_phase, entry, values, seed, given=True)
            if (sampled := self._tries.num_sampled) < self._num_sampled:
                values = self.ask(sampled + 1, self.history())
                return self._proposal(self.search_phase, entry, values, seed)
        return self._wait_for(self.search_phase) or self._after_search()

    def _confirm(
        self, winner: Standing, seeds_of: Callable[[Standing], Sequence[int]]
    ) -> Proposal | Signal:
        """The next cell of those that are reported: the winner's, then the baseline's."""
        reported = {s.configuration: s for s in (self.baseline(), winner) if s is not None}
        wanted = [(s, seeds_of(s)) for s in reversed(reported.values())]
        return self._more_seeds("confirm", wanted) or Signal.DONE

    def _more_seeds(
        self, phase: Phase, wanted: Iterable[tuple[Standing, Sequence[int]]]
    ) -> Proposal | Signal | None:
        """The next cell of a phase that gives candidates more seeds; None when all have ended."""
        is_confirm = phase == "confirm"
        for candidate, seeds in wanted:
            known = self._of[candidate.configuration]
            tried = [p for p in known if (p.phase == "confirm") == is_confirm]
            for seed in unused(seeds, tried):
                return self._proposal(phase, candidate.entry, candidate.values, seed)
        return self._wait_for(phase)

    def _wait_for(self, phase: Phase) -> Signal | None:
        is_open = any(proposal.phase == phase for proposal in self.unfinished())
        return Signal.WAIT if is_open else None

    def _proposal(
        self, phase: Phase, entry: int, values: Values, seed: int, *, given: bool = False
    ) -> Proposal:
        return Proposal(
            number=len(self.proposals) + 1,
            phase=phase,
            entry=entry,
            values=dict(values),
            seed=seed,
            configuration=self.configuration_of(values),
            test=phase in ("confirm", "study"),
            given=given,
        )

    # What has happened ----------------------------------------------------------------------

    def proposed(self, proposal: Proposal) -> None:
        """Take note of a proposal: the next in order.

        Raises:
            ValueError: Its number is not the next one.
        """
        if proposal.number != len(self.proposals) + 1:
            raise ValueError(f"proposal {proposal.number} after {len(self.proposals)} others")
        self.proposals.append(proposal)
        self._open[proposal.number] = proposal
        self._of.setdefault(proposal.configuration, []).append(proposal)
        self._in.setdefault(proposal.phase, {})[proposal.configuration] = None
        if proposal.phase == self.search_phase:
            self._tries.add(proposal)

    def ended(self, number: int, outcome: Outcome) -> None:
        """Take note of how a proposal ended."""
        self.outcomes[number] = outcome
        self._open.pop(number, None)
        self._look_again(number)

    def reopened(self, number: int) -> None:
        """Forget how a proposal ended: it is run again."""
        if self.outcomes.pop(number, None) is not None:
            self._open[number] = self.proposals[number - 1]
        self._look_again(number)

    def _look_again(self, number: int) -> None:
        proposal = self.proposals[number - 1]
        self._tries.changed(proposal)
        tried = self._of[proposal.configuration]
        for ranked in self._ranked.values():
            ranked.update(proposal.configuration, tried, self.outcomes)

    def unfinished(self) -> list[Proposal]:
        """Proposals without an outcome, in order."""
        return [self._open[number] for number in sorted(self._open)]

    def history(self) -> list[Tried]:
        """What the sampler learns from: one item per configuration of the search, in order.

        A configuration with several seeds counts with their mean once all have ended; with one of
        them failed or diverged it counts as failed.
        """
        return self._tries.history()

    def standings(self, *phases: Phase) -> Sequence[Standing]:
        """Configurations with the seeds that the phases gave them; best first.

        Those of which every seed finished come before the others; then the higher mean, then the
        earlier entry. What was given stands for the moment: it changes with the next end.
        """
        return self._ranking(phases).standings()

    def _ranking(self, phases: tuple[Phase, ...]) -> Ranked:
        if phases not in self._ranked:
            *before, last = phases
            # Few of a search's configurations have seeds of a further phase.
            ranked = self._ranking(tuple(before)).with_phase(last) if before else Ranked(phases)
            for configuration in self._in.get(last, ()):
                ranked.update(configuration, self._of[configuration], self.outcomes)
            self._ranked[phases] = ranked
        return self._ranked[phases]

    def confirmation(self) -> Standing | None:
        """The winner on its confirm seeds; None where none has been tried."""
        return self.confirmed(self.winner())

    def confirmed(self, of: Standing | None) -> Standing | None:
        """A configuration on its confirm seeds; None where none has been tried."""
        for standing in self.standings("confirm"):
            if of is not None and standing.configuration == of.configuration:
                return standing
        return None

    # Whose weights are kept -----------------------------------------------------------------

    def kept(self, sweep: SweepConfig) -> set[int]:
        """Proposals whose cells keep their weights as things stand."""
        keeps = self.keeps(sweep)
        return {proposal.number for proposal in self.proposals if keeps(proposal)}

    def keeps(self, sweep: SweepConfig) -> Callable[[Proposal], bool]:
        """Tells whether a proposal's cell keeps its weights as things stand."""
        if sweep.keep_models == "all":
            return lambda proposal: True
        configurations = self._kept_configurations(sweep)
        return lambda proposal: (
            proposal.phase == "confirm"
            or proposal.number not in self.outcomes
            or proposal.configuration in configurations
        )

    @classmethod
    def num_kept(cls, sweep: SweepConfig, planned: Mapping[str, int]) -> int:
        """Cells whose weights are kept in the end, at most.

        Args:
            sweep: Its file.
            planned: Trials per phase.
        """
        is_all = sweep.keep_models == "all"
        return sum(planned.values()) if is_all else cls._num_kept(sweep, planned)
