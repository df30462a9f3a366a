"""Which weights stay in the store: those of every cell of a large sweep would fill any disk.

While a cell runs it keeps its last checkpoint and its best weights. What stays of it afterwards is
said by `keep_models`: those of the cells reported (`confirmed`), also those of the best
configurations of the search (`leaders`), or `all`. Records of epochs and scores always stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.history import History


@dataclass
class Retention:
    """Removes the weights of cells that this sweep trained and that nobody wants any more.

    Attributes:
        cells: The store.
        history: The sweep's record.
        dropped: Cells whose weights it removed.
    """

    cells: CellStore
    history: History
    dropped: set[str] = field(default_factory=set, init=False)

    def apply(self) -> None:
        """Remove what is not wanted now. Failed cells keep their checkpoint, to be tried again."""
        history = self.history
        kept = {history.proposed[n].cell for n in history.protocol.kept(history.sweep)}
        for number, end in history.ended.items():
            key = history.proposed[number].cell
            if end.status == "failed" or key in kept or key in self.dropped:
                continue
            self.dropped.add(key)
            if self._is_ours(key):
                self.cells.drop_weights(key)

    def _is_ours(self, key: str) -> bool:
        """Whether no other sweep or study trains or trained the cell, or reports its test score.

        A cell that this sweep pruned may be on its way to the end in another one, which has claimed
        it then. Listed configurations are all tested, so who trained a cell decides alone.
        """
        sweep = self.history.sweep
        if self.cells.claimed_by(key) not in (None, sweep.name):
            return False
        if not sweep.configurations and self.cells.evaluation(key, "test") is not None:
            return False
        summary = self.cells.summary(key)
        return summary is None or summary.get("sweep") == sweep.name
