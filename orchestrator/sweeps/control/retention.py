"""Whose weights stay in the store: a sweep of a large model would fill any disk otherwise.

While a cell runs it keeps its last checkpoint and its best weights. What stays of it afterwards is
said by `keep_models`: those of the cells reported (`confirmed`), also those of the best
configurations of the search (`leaders`), or `all`. Records of epochs and scores always stay.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.config.sweep import LISTED, SweepConfig
from orchestrator.search.protocol import Protocol
from orchestrator.store.cells import CellStore


def wanted_proposals(sweep: SweepConfig, protocol: Protocol) -> set[int]:
    """Proposals whose cells keep their weights as things stand."""
    proposals = protocol.proposals
    if sweep.keep_models == "all":
        return {proposal.number for proposal in proposals}
    if sweep.configurations:
        return {
            proposal.number
            for proposal in proposals
            if protocol.outcome(proposal.number) is None
            or sweep.configurations[str(proposal.values[LISTED])].keep_models
        }
    wanted = {
        proposal.number
        for proposal in proposals
        if proposal.phase == "confirm" or protocol.outcome(proposal.number) is None
    }
    if sweep.protocol.kind == "replicate":
        # The winner's cells are tested at the end: the leader's weights stay until it is known,
        # and so do those of a configuration whose seeds are not all done.
        standings = protocol.standings("replicate")
        kept = standings[:1] if sweep.keep_models == "confirmed" else standings[:3]
        kept += [s for s in standings if len(s.numbers) < len(sweep.protocol.seeds)]
    elif sweep.protocol.kind == "single":
        kept = protocol.standings("search")
        kept = kept[:1] if sweep.keep_models == "confirmed" else kept[: sweep.protocol.shortlist]
    else:
        kept = [] if sweep.keep_models == "confirmed" else protocol.shortlist()
    configurations = {standing.configuration for standing in kept}
    return wanted | {p.number for p in proposals if p.configuration in configurations}


class Retention:
    """Removes the weights of cells that this sweep trained and that nobody wants any more.

    Args:
        cells: The store.
        sweep: The sweep's file.
        protocol: What has happened.
        keys: Cell of each proposal, by its number.
    """

    def __init__(
        self, cells: CellStore, sweep: SweepConfig, protocol: Protocol, keys: Mapping[int, str]
    ) -> None:
        self._cells = cells
        self._sweep = sweep
        self._protocol = protocol
        self._keys = keys
        self._dropped: set[str] = set()

    def apply(self) -> None:
        """Remove what is not wanted now. Failed cells keep their checkpoint, to be tried again."""
        wanted = wanted_proposals(self._sweep, self._protocol)
        kept = {self._keys[number] for number in wanted}
        for proposal in self._protocol.proposals:
            key = self._keys[proposal.number]
            outcome = self._protocol.outcome(proposal.number)
            if outcome is None or outcome.status == "failed" or key in kept | self._dropped:
                continue
            self._dropped.add(key)
            if self._is_ours(key):
                self._cells.drop_weights(key)

    def _is_ours(self, key: str) -> bool:
        """Whether no other sweep or study trains or trained the cell, or reports its test score.

        A cell that this sweep pruned may be on its way to the end in another one, which has claimed
        it then. Listed configurations are all tested, so who trained a cell decides alone.
        """
        if self._cells.claimed_by(key) not in (None, self._sweep.name):
            return False
        if not self._sweep.configurations and self._cells.evaluation(key, "test") is not None:
            return False
        summary = self._cells.summary(key)
        return summary is None or summary.get("sweep") == self._sweep.name
