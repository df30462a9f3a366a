"""Search with one seed, more seeds for the best few, fresh seeds for the winner."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.protocol import Protocol, Signal
from orchestrator.search.standings import Phase, Proposal, Standing
from shapca.errors import InputError
from shapca.words import counted


class Confirm(Protocol):
    """Of the winner only fresh seeds are reported: those that chose it flatter it."""

    def planned(self) -> dict[str, int]:
        """Trials per phase that are wanted at most."""
        candidates = min(self.config.shortlist, self._num_entries)
        shortlist = candidates * len(self.config.shortlist_seeds) if candidates > 1 else 0
        confirm = len(self.config.confirm_seeds) * (2 if self.given else 1)
        return {"search": self._num_entries, "shortlist": shortlist, "confirm": confirm}

    def _after_search(self) -> Proposal | Signal:
        candidates = self.shortlist()
        if len(candidates) > 1:
            seeds = self.config.shortlist_seeds
            following = self._more_seeds("shortlist", [(s, seeds) for s in candidates])
            if following is not None:
                return following
        winner = self.winner()
        if winner is None:
            return Signal.DONE
        return self._confirm(winner, lambda standing: self.config.confirm_seeds)

    def shortlist(self) -> list[Standing]:
        """The best configurations of the search that ran to their end, best first.

        One that scores 0 is not among them: more seeds would teach nothing.
        """
        finished = (s for s in self.standings("search") if s.whole and s.mean)
        return list(islice(finished, self.config.shortlist))

    def winner(self) -> Standing | None:
        """The best of the shortlist over the seeds of search and shortlist."""
        shortlisted = {standing.configuration for standing in self.shortlist()}
        ranked = self.standings("search", "shortlist")
        return next((s for s in ranked if s.configuration in shortlisted and s.scores), None)

    def ranking(self) -> list[tuple[Standing, Phase]]:
        """Every configuration with its seeds of search and shortlist, the shortlist first."""
        candidates = self.shortlist()
        # A single one gets no further seeds: there is nothing to choose.
        shortlisted = {s.configuration for s in candidates if len(candidates) > 1}
        ranked: list[tuple[Standing, Phase]] = [
            (standing, "shortlist" if standing.configuration in shortlisted else "search")
            for standing in self.standings("search", "shortlist")
        ]
        return sorted(ranked, key=lambda ranked: ranked[1] != "shortlist")

    def averaged(self, phase: Phase) -> tuple[tuple[Phase, ...], int]:
        """Phases whose cells are averaged with those of one, and how many seeds that makes."""
        if phase == "shortlist":
            return ("search", "shortlist"), 1 + len(self.config.shortlist_seeds)
        return ("confirm",), len(self.config.confirm_seeds)

    def check_seeds(self) -> None:
        """Refuse a seed in a role that is another one than it had.

        A file may be edited in the midst of a sweep, but a seed that has chosen the winner cannot
        report it, nor the other way round.

        Raises:
            InputError: Names the seeds.
        """
        config = self.config
        selection = (*config.seeds, *config.shortlist_seeds)
        for key, wanted, is_confirm, role in (
            ("confirm_seeds", config.confirm_seeds, False, "has served the search"),
            ("shortlist_seeds", selection, True, "has confirmed a winner"),
        ):
            taken = {p.seed for p in self.proposals if (p.phase == "confirm") == is_confirm}
            if again := sorted(set(wanted) & taken):
                raise InputError(
                    f"protocol.{key}: {' '.join(map(str, again))} {role} of this sweep before; "
                    "choose seeds that are fresh, or give the sweep another name"
                )

    @classmethod
    def num_leaders(cls, sweep: SweepConfig) -> int:
        """The shortlist, where more than what was confirmed is kept."""
        return 0 if sweep.keep_models == "confirmed" else sweep.protocol.shortlist

    @classmethod
    def _num_kept(cls, sweep: SweepConfig, planned: Mapping[str, int]) -> int:
        num_seeds = 1 + len(sweep.protocol.shortlist_seeds)
        return planned.get("confirm", 0) + cls.num_leaders(sweep) * num_seeds

    @classmethod
    def words(cls, sweep: SweepConfig) -> str:
        """The end of a sentence that began with a sweep's task and data set."""
        protocol = sweep.protocol
        seeds, shortlist_seeds, confirm_seeds = (
            " ".join(map(str, seeds))
            for seeds in (protocol.seeds, protocol.shortlist_seeds, protocol.confirm_seeds)
        )
        return (
            f", {counted(len(sweep.space), 'hyper-parameter')} varied: search with seed {seeds} "
            f"(at most {counted(protocol.trials, 'configuration')}, {protocol.sampler}, "
            f"{sweep.scheduler.kind}), the best {protocol.shortlist} also with seeds "
            f"{shortlist_seeds}, the winner{' and the baseline' if protocol.first else ''} on the "
            f"fresh seeds {confirm_seeds}, which alone are reported."
        )
