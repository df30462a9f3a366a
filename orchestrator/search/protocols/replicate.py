"""Every configuration on every seed; the winner's test scores at the end."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.protocol import Protocol, Signal
from orchestrator.search.standings import Phase, Proposal


class Replicate(Protocol):
    """A search by the mean over seeds; the winner's own cells are tested in the end."""

    search_phase: ClassVar[Phase] = "replicate"

    def planned(self) -> dict[str, int]:
        """Trials per phase that are wanted at most."""
        num_tested = len(self.config.seeds) * (2 if self.given else 1)
        return super().planned() | {"confirm": num_tested}

    def _after_search(self) -> Proposal | Signal:
        winner = self.winner()
        if winner is None:
            return Signal.DONE
        seeds = self.config.seeds
        return self._confirm(winner, lambda one: [seed for seed in seeds if seed in one.scores])

    def shown_phase(self, phase: Phase) -> Phase:
        """Cells that are tested at the end stay the runs that they were."""
        return "replicate"

    @classmethod
    def num_leaders(cls, sweep: SweepConfig) -> int:
        """The winner is tested at the end: the leader's weights stay until it is known."""
        return 1 if sweep.keep_models == "confirmed" else 3

    def _kept_configurations(self, sweep: SweepConfig) -> set[str]:
        standings = self.standings("replicate")
        incomplete = [s for s in standings if len(s.numbers) < len(self.config.seeds)]
        return super()._kept_configurations(sweep) | {s.configuration for s in incomplete}
