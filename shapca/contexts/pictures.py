"""The pictures that get contexts: files of a folder, or the squares of a prepared data set."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from shapca.data.decoding import open_picture, upright_rgb
from shapca.data.images import (
    IMAGE_SUFFIXES,
    ImageStore,
    find_images,
    image_id,
    near_misses,
    picture_files,
    shown_near_misses,
)
from shapca.errors import InputError


@dataclass(frozen=True)
class PictureSource:
    """Where the pictures of some image ids are.

    Attributes:
        files: Image id to file.
        store: Squares of a prepared data set, read for ids without a file.
        absent: Ids that have no picture.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    store: ImageStore | None = None
    absent: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        names = set(self.files) | set(self.store.index if self.store is not None else ())
        return iter(sorted(names))

    def read(self, image: str) -> bytes:
        """A picture's file as it is; a square as an uncompressed BMP, equal for equal pixels.

        Raises:
            OSError: it cannot be read.
        """
        if image in self.files:
            return self.files[image].read_bytes()
        if self.store is None:
            raise FileNotFoundError(image)
        buffer = io.BytesIO()
        Image.fromarray(self.store.array[self.store.index[image]]).save(buffer, format="BMP")
        return buffer.getvalue()


def pictures_of_folder(folder: Path) -> PictureSource:
    """Every picture of a folder and of the folders below it; links to nothing are absent ones.

    Raises:
        InputError: no such folder, no picture in it, a name that is no image id, or two different
            pictures of one id.
    """
    names = set()
    for file in picture_files(folder):
        try:
            names.add(image_id(file.name))
        except ValueError as error:
            raise InputError(f"{file}: {error}") from error
    found = find_images(folder, names)
    if not found:
        expected = ", ".join(IMAGE_SUFFIXES)
        raise InputError(f"{folder}: no picture in it; expected files ending in {expected}")
    return PictureSource(found, absent=tuple(sorted(names - set(found))))


def pictures_of_data(
    folder: Path, images: Path | None, *, needs_pixels: bool = True
) -> PictureSource:
    """The pictures of a prepared data set's posts.

    Args:
        folder: The prepared folder.
        images: Folder of the original pictures; `None`: the stored squares are used.
        needs_pixels: Refuse a data set without pictures; else its ids alone serve.

    Raises:
        InputError: no prepared folder, or no pictures to be had.
    """
    from shapca.data.preparation.picture_sources import image_ids
    from shapca.data.prepared import PreparedData

    data = PreparedData.load(folder)
    wanted = image_ids(data.splits)
    if images is not None:
        found = find_images(images, wanted)
        if not found:
            raise InputError(
                f"{images}: not one of the {len(wanted)} pictures of {folder} is here; "
                f"expected names like {next(iter(wanted), 'ID')}.jpg"
                + shown_near_misses(near_misses(images, wanted))
            )
        return PictureSource(found, absent=tuple(i for i in wanted if i not in found))
    store = data.image_store()
    if store is None and not needs_pixels:
        return PictureSource(absent=tuple(wanted))
    if store is None:
        raise InputError(f"{folder}: prepared without images; name their folder with --images")
    return PictureSource(store=store, absent=tuple(i for i in wanted if i not in store.index))


def sha256(content: bytes) -> str:
    """SHA-256 of a picture's bytes."""
    return hashlib.sha256(content).hexdigest()


def decode(content: bytes) -> Image.Image:
    """A picture: RGB, upright; of a moving one, the first frame.

    Raises:
        OSError, ValueError, …: damaged, or no picture.
    """
    with open_picture(content) as image:
        return upright_rgb(image)
