"""Posts as strangers send them: columns, limits, pictures by path or base64, and never a URL.

text          required
context       bridging context, e.g. a caption of the picture
image_base64  the picture's file, base64
image         path of the picture on the server, under the folder that SHAPCA_IMAGE_ROOT names;
              where that is not set, paths are refused. URLs always are: a server that fetches
              what strangers name reaches what they cannot
entities      for relations between given entities (MRE): [[start, end], …] in characters
"""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from shapca.data.decoding import open_picture
from shapca.errors import InputError
from shapca.prediction.extraction import Extraction, Post, PostError

IMAGE_ROOT = "SHAPCA_IMAGE_ROOT"

MAX_POSTS = 64
MAX_TEXT = 5_000
MAX_CONTEXT = 10_000
MAX_ENTITIES = 16
MAX_PAIRS = 480
"""Pairs of given entities in a request, each of which the model reads by itself (MRE)."""
MAX_IMAGE_BYTES = 10 * 2**20
COLUMNS = ("text", "context", "image", "image_base64", "entities")


class Finder(Protocol):
    """A model, or what stands before one."""

    def extract_many(self, posts: Sequence[Post]) -> list[Extraction]:
        """What is found in each post."""
        ...


def extract(extractor: Finder, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What a model finds in each post of a request.

    Args:
        extractor: The model.
        records: Posts as above; a missing value is absent, None or NaN.

    Raises:
        InputError: A post beyond the limits, or one that the model has no use for.
    """
    if len(records) > MAX_POSTS:
        raise InputError(f"{len(records)} posts: expected {MAX_POSTS} at most in a request")
    with TemporaryDirectory() as folder:
        posts = []
        for number, record in enumerate(records, start=1):
            try:
                posts.append(read_post(record, Path(folder, str(number))))
            except InputError as error:
                raise InputError(f"post {number}: {error}") from None
        num_pairs = sum(math.comb(len(post.entities), 2) for post in posts)
        if num_pairs > MAX_PAIRS:
            raise InputError(
                f"{num_pairs} pairs of entities: expected {MAX_PAIRS} at most in a request; send "
                "fewer posts at once"
            )
        try:
            return [found.to_json() for found in extractor.extract_many(posts)]
        except PostError as error:
            raise InputError(f"post {error.index + 1}: {error}") from None


def read_post(record: Mapping[str, Any], file: Path) -> Post:
    """A post of a request, checked.

    Args:
        record: The post's columns.
        file: Where to write its picture.

    Raises:
        InputError: An unknown column, a value of a wrong kind, or one beyond its limit.
    """
    given = {key: value for key, value in record.items() if not _is_missing(value)}
    if unknown := sorted(map(str, set(given) - set(COLUMNS))):
        raise InputError(f"{unknown[0]!r} is no column; expected {', '.join(COLUMNS)}")
    text = _string(given, "text", MAX_TEXT)
    if text is None:
        raise InputError("text is missing")
    if "image" in given and "image_base64" in given:
        raise InputError("image and image_base64: give one of them")
    return Post(
        text,
        image=_picture(given, file),
        context=_string(given, "context", MAX_CONTEXT),
        entities=_entities(given.get("entities", ())),
    )


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _string(given: Mapping[str, Any], name: str, longest: int) -> str | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{name}: expected a string, got {type(value).__name__}")
    if len(value) > longest:
        raise InputError(f"{name}: {len(value)} characters, expected {longest} at most")
    return value


def _entities(value: Any) -> tuple[tuple[int, int], ...]:
    try:
        pairs = tuple((int(start), int(end)) for start, end in value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            "entities: expected pairs of characters, e.g. [[0, 5], [10, 14]]"
        ) from None
    if len(pairs) > MAX_ENTITIES:
        raise InputError(f"entities: {len(pairs)}, expected {MAX_ENTITIES} at most")
    return pairs


def _picture(given: Mapping[str, Any], file: Path) -> Path | None:
    """The picture's bytes, checked and written to a file of the request's own."""
    if (path := _string(given, "image", 4096)) is not None:
        content, name = _read_allowed(path), "image"
    elif (text := _string(given, "image_base64", MAX_IMAGE_BYTES * 4 // 3 + 4)) is not None:
        name = "image_base64"
        try:
            content = base64.b64decode(text, validate=True)
        except ValueError:
            raise InputError(
                f"{name}: no base64 (without line breaks and `data:` prefix)"
            ) from None
    else:
        return None
    if len(content) > MAX_IMAGE_BYTES:
        raise InputError(f"{name}: expected {MAX_IMAGE_BYTES} bytes at most")
    _check_picture(content, name)
    file.write_bytes(content)
    return file


def _read_allowed(path: str) -> bytes:
    if "://" in path or path.startswith("data:"):
        raise InputError("image: URLs are refused; send the file as image_base64")
    root = os.environ.get(IMAGE_ROOT)
    if not root:
        raise InputError(
            f"image: paths are refused, since the server was started without {IMAGE_ROOT}; send "
            "the file as image_base64"
        )
    folder = Path(root).resolve()
    try:
        file = (folder / path).resolve()
        if file.is_relative_to(folder) and file.is_file():
            with file.open("rb") as stream:
                return stream.read(MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError, RuntimeError):
        pass  # a NUL in the name, a circle of links, no permission
    # The same words for all: the answer must not tell what lies outside the folder.
    raise InputError(f"image {path!r}: no readable file under the server's folder of images")


def _check_picture(content: bytes, name: str) -> None:
    """Refuse what is no picture, or one that grows beyond all measure when it is decoded."""
    try:
        open_picture(content).close()
    except Exception as error:  # whatever damaged bytes make a reader of them raise
        raise InputError(f"{name}: {error}") from None
