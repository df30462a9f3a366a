"""What a model finds in a file of posts, written line by line so that it can be gone on with.

Beside `found.jsonl` stands `found.jsonl.source.json`: of which posts, by which model, read how.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from shapca.data.batches.sampler import BATCHES_SORTED_TOGETHER
from shapca.errors import InputError
from shapca.prediction.extraction import PostError
from shapca.prediction.extractor import Extractor
from shapca.prediction.post_file import NumberedPost
from shapca.storage.files import written_whole
from shapca.storage.locks import open_locked

ENDING = ".source.json"


@dataclass(frozen=True)
class FoundReport:
    """What was written.

    Attributes:
        num_posts: Posts of the file.
        num_kept: Of them, those that were there already.
        num_entities: Entities that were found this time.
        num_relations: Relations that were found this time.
    """

    num_posts: int
    num_kept: int
    num_entities: int
    num_relations: int


def predict_file(
    extractor: Extractor,
    posts: Sequence[NumberedPost],
    out: Path,
    source: Mapping[str, Any],
    progress: Callable[[str, int, int], None],
) -> FoundReport:
    """Write a line for each post, in their order, after those that are there already.

    Posts are predicted some batches at a time, sorted by length among each other; the same ones go
    together whenever it goes on. A half-written last line is written anew.

    Args:
        extractor: The model.
        posts: All posts of the file.
        out: Where the lines go.
        source: What the lines depend on, by names for messages; kept beside the lines.
        progress: Told of what is done (a label, how many posts, of how many).

    Raises:
        InputError: `out` holds lines of something else, another process writes it, or a picture
            cannot be read, in which case the lines before it are kept.
    """
    size = extractor.config.optimisation.batch_size * BATCHES_SORTED_TOGETHER
    num_entities = num_relations = 0
    with _opened(out) as file:
        kept = _go_on(file, out, source, [post.id for post in posts])
        for begin in range(kept - kept % size, len(posts), size):
            part = posts[begin : begin + size]
            try:
                found = extractor.extract_many([numbered.post for numbered in part])
            except PostError as error:
                raise InputError(f"{part[error.index].place}: {error}") from error
            new = list(zip(part, found, strict=True))[max(0, kept - begin) :]
            lines = [
                json.dumps({"id": numbered.id, **extraction.to_json()}, ensure_ascii=False) + "\n"
                for numbered, extraction in new
            ]
            file.write("".join(lines).encode())
            file.flush()
            num_entities += sum(len(extraction.entities) for _, extraction in new)
            num_relations += sum(len(extraction.relations) for _, extraction in new)
            progress("posts", begin + len(part), len(posts))
    return FoundReport(len(posts), kept, num_entities, num_relations)


@contextmanager
def _opened(out: Path) -> Iterator[BinaryIO]:
    """The file, made if need be, that no other process writes meanwhile."""
    if out.exists() and not out.is_file():
        kind = "a folder" if out.is_dir() else "no regular file"
        raise InputError(f"{out}: is {kind}; expected a file")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = open_locked(out, os.O_RDWR | os.O_CREAT, shown=out)
    except BlockingIOError as error:
        raise InputError(f"{out}: another process writes it") from error
    with os.fdopen(descriptor, "r+b") as file:
        yield file


def _go_on(file: BinaryIO, out: Path, source: Mapping[str, Any], ids: Sequence[str | int]) -> int:
    """Hold what is there against what is asked for, and go to the end of its last whole line.

    Returns:
        How many lines are there.
    """
    content = file.read()
    beside = out.with_name(out.name + ENDING)
    if not content:
        with written_whole(beside) as handle:
            handle.write(json.dumps(dict(source), ensure_ascii=False, indent=2).encode() + b"\n")
        return 0
    before = _source_of(beside)
    if before is None:
        raise InputError(
            f"{out}: is there already, without the {beside.name} that tells what it was found in; "
            "choose another --out, or remove it"
        )
    if differing := [name for name in source if before.get(name) != source[name]]:
        raise InputError(
            f"{out}: was begun with another {' and '.join(differing)}; choose another --out, or "
            "remove it"
        )
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        if number > len(ids) or _id_of(line) != ids[number - 1]:
            raise InputError(
                f"{out}:{number}: not what was written for the post of this place; choose another "
                "--out, or remove it"
            )
    file.truncate(len(whole))
    file.seek(len(whole))
    return len(lines)


def _source_of(beside: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(beside.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _id_of(line: bytes) -> Any:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found.get("id") if isinstance(found, dict) else None
