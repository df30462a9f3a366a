"""Which weights stay in the store: those of every cell of a large sweep would fill any disk.

While a cell runs it keeps its last checkpoint and its best weights. What stays of it afterwards is
said by `keep_models`: those of the cells reported (`confirmed`), also those of the best
configurations of the search (`leaders`), or `all`. Records of epochs and scores always stay.
"""

from __future__ import annotations

from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.history import History


class Retention:
    """Removes the weights of cells that this sweep trained and that nobody wants any more.

    Args:
        cells: The store.
        history: The sweep's record.
    """

    def __init__(self, cells: CellStore, history: History) -> None:
        self._cells = cells
        self._history = history
        self._dropped: set[str] = set()

    def apply(self) -> None:
        """Remove what is not wanted now. Failed cells keep their checkpoint, to be tried again."""
        history = self._history
        kept = {history.proposed[n].cell for n in history.protocol.kept(history.sweep)}
        for number, end in history.ended.items():
            key = history.proposed[number].cell
            if end.status == "failed" or key in kept or key in self._dropped:
                continue
            self._dropped.add(key)
            if self._is_ours(key):
                self._cells.drop_weights(key)

    def _is_ours(self, key: str) -> bool:
        """Whether no other sweep or study trains or trained the cell, or reports its test score.

        A cell that this sweep pruned may be on its way to the end in another one, which has claimed
        it then. Listed configurations are all tested, so who trained a cell decides alone.
        """
        sweep = self._history.sweep
        if self._cells.claimed_by(key) not in (None, sweep.name):
            return False
        if not sweep.configurations and self._cells.evaluation(key, "test") is not None:
            return False
        summary = self._cells.summary(key)
        return summary is None or summary.get("sweep") == sweep.name
