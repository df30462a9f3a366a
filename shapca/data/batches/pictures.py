"""Pictures of a split, cropped from the memory map when a batch is taken.

N posts of the split, B batch, P side of the stored square, S side of the crop, in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapca.data.batches.ragged import Bools, Ints
from shapca.data.images import ImageStore
from shapca.errors import InputError


@dataclass(frozen=True)
class Augmentation:
    """Where the pictures of one epoch are cropped and which are mirrored.

    Attributes:
        tops: (N,) first row of each crop.
        lefts: (N,) first column of each crop.
        flips: (N,) which pictures are mirrored left to right.
    """

    tops: Ints
    lefts: Ints
    flips: Bools


@dataclass(frozen=True)
class Pictures:
    """The pictures of N posts.

    Attributes:
        store: The stored squares.
        places: (N,) row of each post's picture in the store; -1 for a missing one.
        size: Side S.
    """

    store: ImageStore
    places: Ints
    size: int

    @classmethod
    def of(cls, images: Sequence[str | None], store: ImageStore, size: int) -> Pictures:
        """Look the posts' pictures up.

        Raises:
            InputError: the stored squares are smaller than the crop.
        """
        if size > store.size:
            raise InputError(
                f"image.size: {size} pixels, yet the pictures were stored with {store.size}; "
                "choose a smaller image.size, or prepare the data set with larger pictures"
            )
        places = [-1 if image is None else store.index.get(image, -1) for image in images]
        return cls(store, np.asarray(places, dtype=np.int64), size)

    @property
    def present(self) -> Bools:
        """(N,) whether each post has a picture."""
        present: Bools = self.places >= 0
        return present

    @property
    def num_missing(self) -> int:
        """Posts without a picture."""
        return int((self.places < 0).sum())

    def augmentation(self, generator: np.random.Generator) -> Augmentation:
        """Random crops and flips, drawn for all N posts, whatever batches they fall into."""
        num_posts, room = len(self.places), self.store.size - self.size + 1
        return Augmentation(
            tops=generator.integers(room, size=num_posts),
            lefts=generator.integers(room, size=num_posts),
            flips=generator.integers(2, size=num_posts).astype(bool),
        )

    def centre(self, place: int) -> NDArray[np.uint8]:
        """(3, S, S) the centre of one stored square."""
        start = (self.store.size - self.size) // 2
        square = self.store.array[place, start:, start:][: self.size, : self.size]
        return np.ascontiguousarray(square.transpose(2, 0, 1))

    def crop(self, rows: Ints, augmentation: Augmentation | None = None) -> NDArray[np.uint8]:
        """Pictures of a batch.

        Args:
            rows: (B,) numbers of the posts.
            augmentation: Crops and flips of the N posts; `None`: the centre.

        Returns:
            (B, 3, S, S) RGB, zeros where the picture is missing.
        """
        size = self.size
        result = np.zeros((len(rows), size, size, 3), dtype=np.uint8)
        if augmentation is None:
            tops = lefts = np.full(len(rows), (self.store.size - size) // 2)
        else:
            tops, lefts = augmentation.tops[rows], augmentation.lefts[rows]
        places = self.places[rows]
        for index in np.flatnonzero(places >= 0):
            top, left = tops[index], lefts[index]
            square = self.store.array[places[index]]  # (P, P, 3)
            result[index] = square[top : top + size, left : left + size]
        if augmentation is not None:
            flips = augmentation.flips[rows]
            result[flips] = result[flips, :, ::-1]
        return np.ascontiguousarray(result.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class PictureFeatures:
    """Features of N posts' pictures, as a frozen encoder gives them, in place of their pixels.

    Attributes:
        file: (P, R + 1, H_v) float32 array of the stored pictures: R regions, the global feature.
        places: (N,) row of each post's picture in it; -1 for a missing one.
    """

    file: Path
    places: Ints

    @cached_property
    def _array(self) -> NDArray[np.float32]:
        array: NDArray[np.float32] = np.load(self.file, mmap_mode="r", allow_pickle=False)
        return array

    def take(self, rows: Ints) -> NDArray[np.float32]:
        """(B, R + 1, H_v) features of posts (B,), zeros where the picture is missing."""
        places = self.places[rows]
        result = np.zeros((len(rows), *self._array.shape[1:]), dtype=np.float32)
        result[places >= 0] = self._array[places[places >= 0]]
        return result

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the file again instead of receiving its content.
        return {"file": self.file, "places": self.places}
