"""Rows of unequal length in one flat array, padded when a batch is taken.

N rows, B rows of a batch, L the longest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Ragged:
    """N rows of integers.

    Attributes:
        values: The rows, one after another.
        offsets: (N + 1,) where each row begins, and the end.
    """

    values: NDArray[np.int32]
    offsets: Ints

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """Lay rows one after another."""
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        values = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(offsets[-1]))
        return cls(values, offsets)

    @property
    def lengths(self) -> Ints:
        """(N,) length of each row."""
        return np.diff(self.offsets)

    def padded(self, rows: Ints, fill: int = 0) -> tuple[Ints, Bools]:
        """The rows of a batch, padded to the longest.

        Args:
            rows: (B,) which rows.
            fill: What stands on padding.

        Returns:
            (B, L) values and (B, L) mask, true on values; L is at least 1.
        """
        lengths = self.offsets[rows + 1] - self.offsets[rows]  # (B,)
        places = np.arange(max(1, int(lengths.max(initial=0))))  # (L,)
        mask = places < lengths[:, None]
        return self.gather(rows, np.broadcast_to(places, mask.shape), mask, fill), mask

    def gather(self, rows: Ints, places: Ints, mask: Bools, fill: int = 0) -> Ints:
        """Values at given places of each row where the mask is true.

        Args:
            rows: (B,) which rows.
            places: (B, ...) places within the row; read where `mask` is true.
            mask: (B, ...) which places to read.
            fill: What stands elsewhere.
        """
        starts = self.offsets[rows].reshape(-1, *(1,) * (places.ndim - 1))
        result = np.full(mask.shape, fill, dtype=np.int64)
        result[mask] = self.values[(starts + places)[mask]]
        return result
