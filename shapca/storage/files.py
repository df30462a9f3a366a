"""Files below a folder that was perhaps handed over: written whole, and no link is followed.

The folder itself may be a link, since its user named it; nothing below it leaves it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from shapca.errors import InputError
from shapca.storage.processes import this_process

TEMPORARY = ".tmp-"
"""What files begin with that are not objects yet; the process that writes them comes next."""


def refuse_link(path: Path) -> Path:
    """The path, where it is no link.

    Raises:
        InputError: it is one; where it leads is not said.
    """
    if path.is_symlink():
        raise InputError(
            f"{path}: is a link, and links are not followed here; put what it leads to in its place"
        )
    return path


def below(folder: Path, name: str) -> Path:
    """The path of a name below a folder, no part of which is a link.

    Raises:
        InputError: a part of it is a link; the message names that part.
    """
    path = folder
    for part in PurePosixPath(name).parts:
        path = refuse_link(path / part)
    return path


def half_written(file: Path) -> Path:
    """A name beside a file that nobody can guess, so that nobody plants a link there."""
    return file.with_name(f"{TEMPORARY}{this_process()}-{secrets.token_hex(8)}")


@contextmanager
def written_whole(file: Path) -> Iterator[BinaryIO]:
    """Write or replace a file in one step: its name means the old content or all of the new."""
    temporary = half_written(file)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
