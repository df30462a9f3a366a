"""Which weights stay in the store: those of every cell of a large sweep would fill any disk.

While a cell runs it keeps its last checkpoint and its best weights. What stays of it afterwards is
said by `keep_models`: those of the cells reported (`confirmed`), also those of the best
configurations of the search (`leaders`), or `all`. Records of epochs and scores always stay.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.config.sweep import SweepConfig
from orchestrator.search.protocol import Protocol
from orchestrator.store.cells import CellStore


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
        kept = {self._keys[number] for number in self._protocol.kept(self._sweep)}
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
