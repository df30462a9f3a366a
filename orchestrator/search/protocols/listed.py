"""Every listed configuration on every seed, each tested: nothing is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from orchestrator.config.sweep import LISTED, SweepConfig
from orchestrator.search.protocol import Protocol, Signal
from orchestrator.search.samplers import Tried
from orchestrator.search.standings import Phase, Proposal, Standing
from shapca.words import counted


class Listed(Protocol):
    """A list in place of a search."""

    search_phase: ClassVar[Phase] = "study"

    @property
    def _num_entries(self) -> int:
        """All of the list, whatever `trials` says."""
        return self.config.trials if self.limit is None else self.limit

    def propose(self) -> Proposal | Signal:
        """Every configuration on the first seed, then on the next: a whole table comes early."""
        tried = {(proposal.entry, proposal.seed) for proposal in self.proposals}
        for seed in self.config.seeds:
            for entry in range(1, self._num_entries + 1):
                if (entry, seed) not in tried:
                    return self._proposal("study", entry, self.ask(entry, ()), seed)
        return self._wait_for("study") or Signal.DONE

    def history(self) -> list[Tried]:
        """Nothing is learned from one configuration for another."""
        return []

    def winner(self) -> Standing | None:
        """Of listed configurations none wins."""
        return None

    def ranking(self) -> list[tuple[Standing, Phase]]:
        """Every configuration in the order of the list."""
        return sorted(super().ranking(), key=lambda ranked: ranked[0].entry)

    def _kept_configurations(self, sweep: SweepConfig) -> set[str]:
        return {
            proposal.configuration
            for proposal in self.proposals
            if sweep.configurations[str(proposal.values[LISTED])].keep_models
        }

    @classmethod
    def _num_kept(cls, sweep: SweepConfig, planned: Mapping[str, int]) -> int:
        kept = sum(listed.keep_models for listed in sweep.configurations.values())
        return kept * len(sweep.protocol.seeds)

    @classmethod
    def words(cls, sweep: SweepConfig) -> str:
        """The end of a sentence that began with a sweep's task and data set."""
        seeds = " ".join(map(str, sweep.protocol.seeds))
        return (
            f": {counted(len(sweep.configurations), 'listed configuration')}, each on the seeds "
            f"{seeds}; nothing is chosen."
        )
