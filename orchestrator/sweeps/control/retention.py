"""Which weights stay in the store: those of every cell of a large sweep would fill any disk.

While a cell runs it keeps its last checkpoint and its best weights. What stays of it afterwards is
said by `keep_models`: those of the cells reported (`confirmed`), also those of the best
configurations of the search (`leaders`), or `all`. Records of epochs and scores always stay.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from orchestrator.store.cell_folder import CLAIM, in_cell, weights_of
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.event_log import Ended, ended_since
from orchestrator.sweeps.record.history import History
from shapca.runs.layout import best_weights, commits, evaluation_record


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
    _wanted: list[int] = field(default_factory=list, init=False)  # of those that ended
    _num_seen: int = field(default=0, init=False)

    def apply(self, left: int | None = None) -> list[str]:
        """Remove the checkpoints that are not wanted now, with their weights.

        Failed cells keep theirs, to be tried again.

        Args:
            left: Number of the proposal that a trial of this sweep has just ended: while its claim
                stands, nobody else has to do with the cell.

        Returns:
            What else is to be removed, in any order: best weights of cells that have ended.
        """
        unwanted, candidates = list[str](), self._not_wanted()
        # Of many, as where a sweep goes on, some would go long after they were looked at.
        is_quick = len(candidates) <= 2
        for number, key, end in candidates:
            if key in self.dropped:
                continue
            self.dropped.add(key)
            is_left = number == left and end.trained > 0
            if is_left and end.best_epoch is not None and end.status != "pruned":
                unwanted.append(in_cell(key, best_weights(end.best_epoch)))
                continue
            names = self.cells.objects(key)
            if not is_left and not self._is_ours(key, names):
                continue
            if not is_quick or any(map(commits, names)):
                self.cells.drop_weights(key)
            else:
                unwanted += (in_cell(key, name) for name in weights_of(names))
        return unwanted

    def _not_wanted(self) -> list[tuple[int, str, Ended]]:
        """Ends whose cells nobody wants any more: of many only those that did not end long ago.

        While a driver works what has ended stays so.
        """
        history, wanted = self.history, list[int]()
        found: list[tuple[int, str, Ended]] = []
        if history.sweep.keep_models == "all":
            return found
        new = [end.number for end in ended_since(history.ended, self._num_seen)]
        self._num_seen += len(new)
        keeps = history.protocol.keeps(history.sweep)
        for number in (*self._wanted, *new):
            end, key = history.ended[number], history.proposed[number].cell
            if end.status == "failed" or key in self.dropped:
                continue
            if any(keeps(history.proposed[twin]) for twin in history.twins.of(key)):
                wanted.append(number)
            else:
                found.append((number, key, end))
        self._wanted = wanted
        return found

    def _is_ours(self, key: str, names: Collection[str]) -> bool:
        """Whether no other sweep or study trains or trained the cell, or reports its test score.

        A cell that this sweep pruned may be on its way to the end in another one, which has claimed
        it then. Listed configurations are all tested, so who trained a cell decides alone.
        """
        sweep = self.history.sweep
        if CLAIM in names and self.cells.claimed_by(key) not in (None, sweep.name):
            return False
        if not sweep.configurations and evaluation_record("test") in names:
            return False
        summary = self.cells.summary(key)
        return summary is None or summary.get("sweep") == sweep.name
