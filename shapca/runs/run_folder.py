"""The folder of a run: nobody else's files, and one process at a time that trains in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shapca.errors import InputError
from shapca.runs.layout import RUN
from shapca.storage import make_private_folder
from shapca.storage.locks import lock_folder
from shapca.storage.objects import TEMPORARY

BUSY = "another process trains this run right now; wait until it has ended, or choose another --out"


def check_run_folder(folder: Path) -> None:
    """Refuse a folder that cannot be a run's, before anything is read or written.

    Raises:
        InputError: it or what should hold it is no folder, or one that we may not write to, or it
            holds files and no run.
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents)
                 if os.path.lexists(parent))  # fmt: skip
    if not there.is_dir():
        raise InputError(f"{folder}: expected a folder to write to, but {there} is none")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no permission to write in {there}")
    if there == folder.absolute():
        _refuse_other_files(folder)


def _refuse_other_files(folder: Path) -> None:
    """A run removes checkpoints and weights that it needs no more: they must be its own."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from error
    # A process killed at its first write leaves a half-written file and nothing else.
    others = sorted(name for name in names if not name.startswith(TEMPORARY))
    if others and RUN not in others:
        raise InputError(
            f"{folder}: expected a new or empty folder, or that of a run, but it holds "
            f"{others[0]} and no {RUN}; choose another --out"
        )


@contextmanager
def held_run_folder(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder, which is made where it is missing.

    The lock ends with the process, however it ends. Where nothing was written in the end, the
    folders that were made for it are removed again.

    Raises:
        InputError: the folder cannot be made, or another process trains in it.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    descriptor = lock_folder(folder, make_private_folder, folder, BUSY)
    try:
        yield
    finally:
        with suppress(OSError):  # the first that is not empty ends it
            for empty in made:
                empty.rmdir()
        os.close(descriptor)
