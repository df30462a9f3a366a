"""Proposals of the same cell: duplicates of a search, and cells that are tested in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.sweeps.record.event_log import Proposed


@dataclass
class Twins:
    """Finds the proposals of a cell; of many only those are looked at that came since.

    Attributes:
        proposed: Proposals by number, from 1; none is ever taken away.
    """

    proposed: Mapping[int, Proposed]
    _numbers: dict[str, list[int]] = field(default_factory=dict, init=False)  # by cell
    _num_seen: int = field(default=0, init=False)

    def of(self, key: str) -> Sequence[int]:
        """Numbers of the proposals of a cell, in order."""
        for number in range(self._num_seen + 1, len(self.proposed) + 1):
            self._numbers.setdefault(self.proposed[number].cell, []).append(number)
        self._num_seen = len(self.proposed)
        return self._numbers.get(key, ())
