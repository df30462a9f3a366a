"""Where the pictures of a data set are: in a folder, or in the files that the posts are from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL

from shapca.data.decoding import Embedded
from shapca.data.images import find_images, near_misses, shown_near_misses
from shapca.data.preparation.readers import SourceData
from shapca.data.preparation.readers.source import NUM_SHOWN
from shapca.data.schema import SPLITS, Example
from shapca.errors import InputError
from shapca.storage import hash_of
from shapca.words import counted

Picture = Path | Embedded


def image_ids(splits: Mapping[str, Iterable[Example]]) -> list[str]:
    """The distinct image ids of a data set, sorted."""
    ids = {example.image for split in SPLITS for example in splits[split]}
    return sorted(name for name in ids if name is not None)


def find_pictures(
    images: Path, wanted: Sequence[str], data: SourceData, notes: dict[str, Any]
) -> dict[str, Picture]:
    """The pictures of a folder; near misses among the missing ones are noted.

    Raises:
        InputError: no such folder, two pictures of one id, or not one of the wanted ones.
    """
    if not wanted:
        raise InputError(f"--images {images}: no post names a picture; leave it out")
    named = {image: images / path for image, path in data.paths.items()}
    further: dict[str, int] | None = {} if data.many_images else None
    found: dict[str, Picture] = {}
    found |= find_images(images, set(wanted) - named.keys(), further)
    found |= {image: file for image, file in named.items() if file.is_file()}
    missing = [name for name in wanted if name not in found]
    near = near_misses(images, missing) if missing else {}  # a walk over all files
    if not found and not data.embedded and wanted:
        raise InputError(
            f"{images}: not one of the {len(wanted)} pictures of the data set is here; "
            f"expected names like {data.paths.get(wanted[0], f'{wanted[0]}.jpg or .png')}"
            + shown_near_misses(near)
        )
    if near:
        notes["num_near_image_names"] = len(near)
        notes["near_image_names"] = [f"{path} for {image}" for image, path in near.items()][
            :NUM_SHOWN
        ]
    if further:
        notes["num_further_images"] = sum(further.values())
    return found


def picture_warnings(
    wanted: Sequence[str], found: Mapping[str, Picture], broken: Mapping[str, str]
) -> list[str]:
    """What pictures are not there, and which cannot be read, the first by name.

    Args:
        wanted: Ids of all pictures.
        found: Those that are there.
        broken: Ids of those that cannot be read, with the reasons.
    """
    missing = [name for name in wanted if name not in found]
    unread = [f"{name}: {reason}" for name, reason in broken.items()]
    return [
        f"{counted(len(names), 'picture')} {what} ({', '.join(names[:NUM_SHOWN])}"
        + (", …)" if len(names) > NUM_SHOWN else ")")
        for names, what in ((missing, "not there"), (unread, "not readable"))
        if names
    ]


def work_key(inputs: Mapping[str, Any], found: Mapping[str, Picture] | None) -> str:
    """Names all that half-made work depends on: stricter than `inputs`, it knows times too."""
    pictures = [
        [name, picture.size, picture.crc32]
        if isinstance(picture, Embedded)
        else [name, str(picture.absolute()), picture.stat().st_size, picture.stat().st_mtime_ns]
        for name, picture in sorted((found or {}).items())
    ]
    used = {key: value for key, value in inputs.items() if key != "contexts"}
    return hash_of({"inputs": used, "pictures": pictures, "pillow": PIL.__version__})


def listing_hash(found: Mapping[str, Picture]) -> str:
    """Hash of ids, file names and sizes: enough to tell image folders apart without reading."""
    return hash_of(
        [
            [key, picture.crc32, picture.size]
            if isinstance(picture, Embedded)
            else [key, picture.name, picture.stat().st_size]
            for key, picture in sorted(found.items())
        ]
    )
