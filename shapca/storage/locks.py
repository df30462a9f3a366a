"""Locks on the files and folders themselves, held by one process and let go with it.

No lock file stands beside them: a folder that appears when it is complete brings nothing along, and
a killed process leaves nothing that blocks the next one.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shapca.errors import InputError

logger = logging.getLogger(__name__)


def open_locked(
    path: Path, flags: int, *, shown: Path, wait: bool = False, required: bool = False
) -> int:
    """Open and lock what has a name, even where another process replaces it meanwhile.

    Args:
        path: A file or folder.
        flags: For opening it, e.g. `os.O_RDONLY`.
        shown: What to call it in messages.
        wait: Wait for one's turn.
        required: Refuse a file system that knows no locks, instead of going without.

    Returns:
        The descriptor that holds the lock until it is closed.

    Raises:
        BlockingIOError: another process has the lock, and `wait` is false.
        OSError: it cannot be opened.
        InputError: it cannot be locked, and `required` is true.
    """
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            _lock(descriptor, shown, wait=wait, required=required)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it was replaced or removed between opening and locking


def lock_folder(
    path: Path, make: Callable[[Path], object], shown: Path, taken: str, *, flags: int = 0
) -> int:
    """Make a folder and lock it.

    Args:
        path: The folder.
        make: Makes it where it is missing.
        shown: What to call it in messages.
        taken: What to say where another process has the lock.
        flags: For opening it, e.g. `os.O_NOFOLLOW`.

    Returns:
        The descriptor that holds the lock until it is closed.

    Raises:
        InputError: the folder cannot be made, or another process has it.
    """
    while True:
        try:
            make(path)
            return open_locked(path, os.O_RDONLY | os.O_DIRECTORY | flags, shown=shown)
        except FileNotFoundError:  # another process has just finished with it
            continue
        except BlockingIOError:
            raise InputError(f"{shown}: {taken}") from None
        except OSError as error:
            raise InputError(f"{shown}: cannot be made ({error.strerror or error})") from error


@contextmanager
def held(path: Path, flags: int = os.O_RDONLY | os.O_DIRECTORY) -> Iterator[None]:
    """Change or replace what has a name while no other process does; waits for its turn.

    Args:
        path: A folder that exists, or what `flags` open.
        flags: For opening it.
    """
    descriptor = open_locked(path, flags, shown=path, wait=True)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, shown: Path, *, wait: bool, required: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if required:
            raise InputError(f"{shown}: cannot be locked ({error.strerror})") from error
        logger.warning("%s: its file system knows no locks; let one process write to it", shown)
