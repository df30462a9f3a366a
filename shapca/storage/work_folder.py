"""The hidden folder in which a data set is made: locked while in use, taken up after a kill.

Work for `data/mnre` is done in `data/.mnre.partial`, on the same file system, so that a rename
completes it. A process holds a lock on that folder while it lives; what a dead one left is used
where it was made from the same input, and removed where it was not.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shapca.storage.files import refuse_link
from shapca.storage.locks import held, lock_folder

KEY = ".made-from"
"""Names what the work is made from; the work files of a half-made data set begin with a dot."""

logger = logging.getLogger(__name__)


@dataclass
class WorkFolder:
    """A locked folder beside the one to be made.

    Attributes:
        out: The folder to be made.
        path: Where the work is done.
        keep: Whether work that ends in an error is worth resuming.
    """

    out: Path
    path: Path
    keep: bool = False

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
def work_folder(
    out: Path, *, key: str | None = None, resumable: Sequence[str] = ()
) -> Iterator[WorkFolder]:
    """Work on a folder that shall appear when it is complete.

    Args:
        out: The folder to be made, by `WorkFolder.move_into_place`.
        key: Names the input; what a dead process made from the same is taken up. `None`: nothing
            is.
        resumable: Names of the files that are taken up; all others are removed.

    Raises:
        InputError: the folder cannot be made, a living process works on it, or a link stands where
            the work is done.
    """
    path = refuse_link(out.with_name(f".{out.name}.partial"))
    taken = "another process is making it right now; wait until it has ended"
    lock = lock_folder(
        path, lambda p: p.mkdir(parents=True, exist_ok=True), out, taken, flags=os.O_NOFOLLOW
    )
    try:
        _put_back_replaced(out)
        made_from = path / KEY
        same = key is not None and made_from.exists() and made_from.read_text("utf-8") == key
        kept = {KEY, *resumable} if same else set()
        leftovers = [e for e in path.iterdir() if e.name not in kept or e.is_symlink()]
        for entry in leftovers:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if kept:
            logger.warning("%s: resuming the work of an interrupted run", out)
        elif leftovers:
            logger.warning("%s: removed what an interrupted run with other input left", out)
        if key is not None:
            made_from.write_text(key, encoding="utf-8")
        work = WorkFolder(out, path)
        try:
            yield work
        except BaseException:
            if work.keep:
                logger.warning("%s: not finished; the same command resumes from %s", out, path)
            else:
                shutil.rmtree(path, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _old_folder(out: Path) -> Path:
    return refuse_link(out.with_name(f".{out.name}.old"))


def _put_back_replaced(out: Path) -> None:
    """Undo a replacement that died between its two renames, or finish one that died after."""
    old = _old_folder(out)
    if not old.exists():
        return
    if out.exists() and any(out.iterdir()):
        shutil.rmtree(old)
    else:
        os.replace(old, out)
