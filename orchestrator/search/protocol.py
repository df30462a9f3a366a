"""What a sweep tries next and what it concludes: a pure function of what has happened so far.

Kinds of protocol:
    confirm     search with one seed → more seeds for the best few → fresh seeds for the winner
    replicate   every configuration on every seed; the winner's test scores at the end
    single      one seed each, nothing confirmed
    listed      every listed configuration on every seed, each tested: nothing is chosen

Nothing here trains, stores or draws: `Protocol` is told of proposals and outcomes and answers what
comes next, so that a sweep taken up again goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean
from typing import Literal

from orchestrator.config.dimensions import Values
from orchestrator.config.sweep import ProtocolConfig
from orchestrator.search.samplers import Tried
from orchestrator.search.standings import Outcome, Phase, Proposal, Standing, rank, standing_of
from shapca.errors import InputError


class Signal(Enum):
    """What `Protocol.propose` answers where there is nothing to start."""

    WAIT = "wait"
    """Running trials must end first."""
    DONE = "done"
    """The protocol is complete."""


@dataclass
class _Tried:
    proposal: Proposal
    outcome: Outcome | None = None


class Protocol:
    """The state machine of one sweep.

    Args:
        config: The protocol's settings.
        ask: The sampler: index of the configuration and history to values.
        configuration_of: Key of the configuration that values resolve to.
        limit: Configurations that the sampler can give at most (grid).
        target: Validation F1 at which the search ends.
    """

    def __init__(
        self,
        config: ProtocolConfig,
        ask: Callable[[int, Sequence[Tried]], Values],
        configuration_of: Callable[[Values], str],
        *,
        limit: int | None = None,
        target: float | None = None,
    ) -> None:
        self.config = config
        self._ask = ask
        self._configuration_of = configuration_of
        self._num_entries = config.trials if limit is None else min(config.trials, limit)
        if config.kind == "listed" and limit is not None:
            self._num_entries = limit
        self._target = target
        self._tried: list[_Tried] = []

    def proposed(self, proposal: Proposal) -> None:
        """Take note of a proposal: the next in order.

        Raises:
            ValueError: its number is not the next one.
        """
        if proposal.number != len(self._tried) + 1:
            raise ValueError(f"proposal {proposal.number} after {len(self._tried)} others")
        self._tried.append(_Tried(proposal))

    def ended(self, number: int, outcome: Outcome) -> None:
        """Take note of how a proposal ended."""
        self._tried[number - 1].outcome = outcome

    def reopened(self, number: int) -> None:
        """Forget how a proposal ended: it is run again."""
        self._tried[number - 1].outcome = None

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """Every proposal so far, in order."""
        return tuple(tried.proposal for tried in self._tried)

    def outcome(self, number: int) -> Outcome | None:
        """How a proposal ended; none while it has not."""
        return self._tried[number - 1].outcome

    def unfinished(self) -> list[Proposal]:
        """Proposals without an outcome, in order."""
        return [tried.proposal for tried in self._tried if tried.outcome is None]

    def planned(self) -> dict[str, int]:
        """Trials per phase that are wanted at most."""
        config = self.config
        if config.kind == "replicate":
            seeds = len(config.seeds)
            return {"replicate": self._num_entries * seeds, "confirm": seeds}
        if config.kind == "listed":
            return {"study": self._num_entries * len(config.seeds)}
        planned = {"search": self._num_entries}
        if config.kind == "confirm":
            candidates = min(config.shortlist, self._num_entries)
            shortlist = candidates * len(config.shortlist_seeds) if candidates > 1 else 0
            planned |= {"shortlist": shortlist, "confirm": len(config.confirm_seeds)}
        return planned

    # What comes next ------------------------------------------------------------------------

    def propose(self) -> Proposal | Signal:
        """The next cell; the same for the same history."""
        if self.config.kind == "listed":
            return self._propose_listed()
        search_phase: Phase = "replicate" if self.config.kind == "replicate" else "search"
        entries = self._entries(search_phase)
        for entry, tried in sorted(entries.items()):
            first = tried[0].proposal
            for seed in self._without(self.config.seeds, tried):
                return self._proposal(search_phase, entry, first.values, seed)
        if len(entries) < self._num_entries and not self._target_reached():
            index = len(entries) + 1
            values = self._ask(index, self.history())
            return self._proposal(search_phase, index, values, self.config.seeds[0])
        if self._waits_for(search_phase):
            return Signal.WAIT
        if self.config.kind == "single":
            return Signal.DONE
        return self._after_search()

    def check_seeds(self) -> None:
        """Refuse a seed in a role that is another one than it had.

        A file may be edited in the midst of a sweep, but a seed that has chosen the winner cannot
        report it, nor the other way round.

        Raises:
            InputError: naming the seeds.
        """
        if self.config.kind != "confirm":
            return
        had = {
            is_confirm: {
                t.proposal.seed
                for t in self._tried
                if (t.proposal.phase == "confirm") == is_confirm
            }
            for is_confirm in (False, True)
        }
        roles = (
            ("confirm_seeds", self.config.confirm_seeds, had[False], "has served the search"),
            (
                "shortlist_seeds",
                (*self.config.seeds, *self.config.shortlist_seeds),
                had[True],
                "has confirmed a winner",
            ),
        )
        for key, wanted, taken, role in roles:
            if again := sorted(set(wanted) & taken):
                raise InputError(
                    f"protocol.{key}: {' '.join(map(str, again))} {role} of this sweep before; "
                    "choose seeds that are fresh, or give the sweep another name"
                )

    def _propose_listed(self) -> Proposal | Signal:
        """Every configuration on the first seed, then on the next: a whole table comes early."""
        tried = {(t.proposal.entry, t.proposal.seed) for t in self._tried}
        for seed in self.config.seeds:
            for entry in range(1, self._num_entries + 1):
                if (entry, seed) not in tried:
                    return self._proposal("study", entry, self._ask(entry, ()), seed)
        return Signal.WAIT if self._waits_for("study") else Signal.DONE

    def _after_search(self) -> Proposal | Signal:
        candidates = self.shortlist()
        if self.config.kind == "confirm" and len(candidates) > 1:
            for candidate in candidates:
                tried = [t for t in self._of(candidate) if t.proposal.phase != "confirm"]
                for seed in self._without(self.config.shortlist_seeds, tried):
                    return self._proposal("shortlist", candidate.entry, candidate.values, seed)
            if self._waits_for("shortlist"):
                return Signal.WAIT
        winner = self.winner()
        if winner is None:
            return Signal.DONE
        confirmed = [t for t in self._of(winner) if t.proposal.phase == "confirm"]
        for seed in self._without(self._confirm_seeds(winner), confirmed):
            return self._proposal("confirm", winner.entry, winner.values, seed)
        return Signal.WAIT if self._waits_for("confirm") else Signal.DONE

    def _confirm_seeds(self, winner: Standing) -> tuple[int, ...]:
        if self.config.kind == "replicate":  # its own cells, now with their test scores
            return tuple(seed for seed in self.config.seeds if seed in winner.scores)
        return self.config.confirm_seeds

    def _proposal(self, phase: Phase, entry: int, values: Values, seed: int) -> Proposal:
        return Proposal(
            number=len(self._tried) + 1,
            phase=phase,
            entry=entry,
            values=dict(values),
            seed=seed,
            configuration=self._configuration_of(values),
            test=phase in ("confirm", "study"),
        )

    # What has happened ----------------------------------------------------------------------

    def history(self) -> list[Tried]:
        """What the sampler learns from: one item per configuration of the search, in order.

        A configuration with several seeds counts with their mean once all have ended; with one of
        them failed or diverged it counts as failed.
        """
        phase = "replicate" if self.config.kind == "replicate" else "search"
        seeds = self.config.seeds
        history = []
        for _, tried in sorted(self._entries(phase).items()):
            values = tried[0].proposal.values
            outcomes = [t.outcome for t in tried if t.outcome is not None]
            scores = [o.value for o in outcomes if o.value is not None]
            if len(outcomes) < len(seeds):
                history.append(Tried(values, "running"))
            elif any(o.status in ("failed", "diverged") for o in outcomes) or not scores:
                history.append(Tried(values, "failed"))
            else:
                pruned = any(o.status == "pruned" for o in outcomes)
                last_epoch = max(o.epoch for o in outcomes)
                state: Literal["pruned", "finished"] = "pruned" if pruned else "finished"
                history.append(Tried(values, state, fmean(scores), last_epoch))
        return history

    def standings(self, *phases: Phase) -> list[Standing]:
        """Configurations with the seeds that the phases gave them; best first.

        Those of which every seed finished come before the others; then the higher mean, then the
        earlier entry.
        """
        groups: dict[str, list[tuple[Proposal, Outcome]]] = {}
        for tried in self._tried:
            if tried.proposal.phase in phases and tried.outcome is not None:
                pair = (tried.proposal, tried.outcome)
                groups.setdefault(tried.proposal.configuration, []).append(pair)
        return sorted(map(standing_of, groups.values()), key=rank)

    def shortlist(self) -> list[Standing]:
        """The best configurations of the search that ran to their end, best first."""
        if self.config.kind != "confirm":
            return []
        finished = [standing for standing in self.standings("search") if standing.whole]
        return finished[: self.config.shortlist]

    def winner(self) -> Standing | None:
        """The configuration to confirm; none while the search runs or where nothing finished.

        Of listed configurations none wins.

        Selected by mean validation F1 over the seeds of search and shortlist. A configuration
        with a seed that did not finish wins only where no other is whole.
        """
        if self.config.kind == "listed":
            return None
        if self.config.kind == "replicate":
            standings = self.standings("replicate")
        elif self.config.kind == "single":
            standings = self.standings("search")
        else:
            candidates = {standing.configuration for standing in self.shortlist()}
            standings = [
                standing
                for standing in self.standings("search", "shortlist")
                if standing.configuration in candidates
            ]
        scored = [standing for standing in standings if standing.scores]
        return scored[0] if scored else None

    def confirmation(self) -> Standing | None:
        """The winner on its confirm seeds, or none where none has been tried."""
        winner = self.winner()
        for standing in self.standings("confirm"):
            if winner is not None and standing.configuration == winner.configuration:
                return standing
        return None

    def phase(self) -> Phase | Literal["done"]:
        """Where the sweep stands."""
        if unfinished := self.unfinished():
            return unfinished[0].phase
        following = self.propose()
        return following.phase if isinstance(following, Proposal) else "done"

    def _entries(self, phase: str) -> dict[int, list[_Tried]]:
        entries: dict[int, list[_Tried]] = {}
        for tried in self._tried:
            if tried.proposal.phase == phase:
                entries.setdefault(tried.proposal.entry, []).append(tried)
        return entries

    def _of(self, standing: Standing) -> list[_Tried]:
        return [t for t in self._tried if t.proposal.configuration == standing.configuration]

    @staticmethod
    def _without(seeds: Sequence[int], tried: Sequence[_Tried]) -> list[int]:
        used = {t.proposal.seed for t in tried}
        return [seed for seed in seeds if seed not in used]

    def _waits_for(self, phase: str) -> bool:
        return any(t.outcome is None for t in self._tried if t.proposal.phase == phase)

    def _target_reached(self) -> bool:
        return self._target is not None and any(
            item.state == "finished" and item.value is not None and item.value >= self._target
            for item in self.history()
        )
