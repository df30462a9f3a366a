"""The hidden folder in which a data set is made: locked while in use, taken up after a kill.

Work for `data/mnre` is done in `data/.mnre.partial`, on the same file system, so that a rename
completes it. A process holds a lock on that folder while it lives; what a dead one left is used
where it was made from the same input, and removed where it was not.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shapca.errors import InputError

KEY = ".made-from"
"""Names what the work is made from; the work files of a half-made data set begin with a dot."""

logger = logging.getLogger(__name__)


class WorkFolder:
    """A locked folder beside the one to be made.

    Args:
        out: The folder to be made.
        path: Where the work is done.

    Attributes:
        keep: Whether work that ends in an error is worth going on with.
    """

    def __init__(self, out: Path, path: Path) -> None:
        self.out = out
        self.path = path
        self.keep = False

    def keep_from_now_on(self) -> None:
        """Let what is done outlive an interruption."""
        self.keep = True

    def move_into_place(self) -> None:
        """Give the finished folder its name, in the place of what had it."""
        for file in self.path.glob(".*"):
            file.unlink()
        old = _old_folder(self.out)
        if self.out.exists() and any(self.out.iterdir()):
            with held(self.out):
                os.rename(self.out, old)
                os.rename(self.path, self.out)
        else:
            os.rename(self.path, self.out)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Change or replace a finished folder while no other process does; waits for its turn.

    Args:
        folder: it must exist.
    """
    while True:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _flock(descriptor, folder, fcntl.LOCK_EX)
            # While this process waited, another may have replaced the folder.
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                yield
                return
        finally:
            os.close(descriptor)


def _flock(descriptor: int, folder: Path, operation: int) -> None:
    """Lock a folder, where its file system can.

    Raises:
        BlockingIOError: another process has the lock, and `operation` does not wait.
    """
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        raise
    except OSError:
        logger.warning("%s: its file system knows no locks; let one process write to it", folder)


@contextmanager
def work_folder(
    out: Path, *, key: str | None = None, resumable: Sequence[str] = ()
) -> Iterator[WorkFolder]:
    """Work on a folder that shall appear when it is complete.

    Args:
        out: the folder to be made, by `WorkFolder.move_into_place`.
        key: names the input; what a dead process made from the same is taken up. None: nothing is.
        resumable: names of the files that are taken up; all others are removed.

    Raises:
        InputError: the folder cannot be made, or a living process works on it.
    """
    path = out.with_name(f".{out.name}.partial")
    taken = "another process is making it right now; wait until it has ended"
    lock = lock_folder(path, _make, out, taken, flags=os.O_NOFOLLOW)
    try:
        _put_back_replaced(out)
        kept = {KEY, *resumable} if key is not None and _read(path / KEY) == key else set()
        leftovers = [entry for entry in path.iterdir() if entry.name not in kept]
        for entry in leftovers:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if kept:
            logger.warning("%s: going on with the work of an interrupted run", out)
        elif leftovers:
            logger.warning("%s: removed what an interrupted run with other input left", out)
        if key is not None:
            (path / KEY).write_text(key, encoding="utf-8")
        work = WorkFolder(out, path)
        try:
            yield work
        except BaseException:
            if work.keep:
                logger.warning("%s: not finished; the same command goes on from %s", out, path)
            else:
                shutil.rmtree(path, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _make(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def lock_folder(
    path: Path, make: Callable[[Path], object], shown: Path, taken: str, *, flags: int = 0
) -> int:
    """Make a folder and lock it; the lock ends with the process, however it ends.

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
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | flags)
        except FileNotFoundError:  # another process has just finished with it
            continue
        except OSError as error:
            raise InputError(f"{shown}: cannot be made ({error.strerror or error})") from error
        try:
            _flock(descriptor, shown, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise InputError(f"{shown}: {taken}") from None
        # Between opening and locking the other may have moved or removed the folder.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)


def _old_folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def _put_back_replaced(out: Path) -> None:
    """Undo a replacement that died between its two renames, or finish one that died after."""
    old = _old_folder(out)
    if not old.exists():
        return
    if out.exists() and any(out.iterdir()):
        shutil.rmtree(old)
    else:
        os.replace(old, out)


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
