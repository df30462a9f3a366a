"""Private folders for what a process needs while it runs; what killed processes left is removed.

A folder is its owner's alone, whatever is opened to others inside of it. It names the process that
made it, so that the next one can tell that it is gone, and removes the folder with all processes
that were started in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shapca.errors import InputError
from shapca.storage.processes import is_gone, this_process

PREFIX = "orchestrator-"
OWNER = "owner"
PLACES = ("/tmp", "/var/tmp", "/dev/shm")
LONGEST = 18
"""Letters of the folder above: the sockets of Ray lie 89 deeper, and a socket's name has 107."""


@contextlib.contextmanager
def scratch_folder(*, for_sockets: bool = False) -> Iterator[Path]:
    """A new folder of this process; at its end it is removed, with processes that live in it.

    Args:
        for_sockets: Ray's sockets will lie in it, so that its path must be short.

    Raises:
        InputError: no folder for temporary files can be used.
    """
    place = socket_place() if for_sockets else Path(tempfile.gettempdir())
    remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(dir=place, prefix=PREFIX))
    try:
        (folder / OWNER).write_text(this_process(), encoding="ascii")
        yield folder
    finally:
        _clear(folder)


def socket_place() -> Path:
    """Where Ray's sockets may lie: where temporary files do, unless that is too long a path.

    Raises:
        InputError: nowhere; names the places.
    """
    asked = os.environ.get("TMPDIR", "")
    for place in (asked, *PLACES):
        is_short = 0 < len(os.fsencode(place)) <= LONGEST
        if is_short and os.path.isabs(place) and os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    raise InputError(
        f"Ray's sockets: none of {', '.join(filter(None, (asked, *PLACES)))} can be written. Set "
        f"TMPDIR to a folder that can, of at most {LONGEST} letters"
    )


def remove_abandoned(place: Path) -> None:
    """Remove scratch folders of this user whose process is gone, with what still lives in them."""
    for folder in place.glob(f"{PREFIX}*"):
        try:
            if folder.lstat().st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
                continue
            owner = (folder / OWNER).read_text(encoding="ascii")
        except (OSError, ValueError):
            continue  # not one of ours, or its process is just making it
        if is_gone(owner):
            _clear(folder)


def _clear(folder: Path) -> None:
    for pid in _processes_in(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def _processes_in(folder: Path) -> list[int]:
    """Processes of this user whose command names a file below the folder, but for this one.

    Ray's workers have given up their command for a title; they are known by the logs they write.
    """
    found, mark = [], os.fsencode(folder) + b"/"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid != os.getuid():
                continue
            command = (process / "cmdline").read_bytes()
            names = [command]
            if command.startswith(b"ray::"):
                names = [os.fsencode(os.readlink(file)) for file in (process / "fd").iterdir()]
            if any(mark in name for name in names):
                found.append(int(process.name))
        except OSError:  # it has just ended
            continue
    return [pid for pid in found if pid != os.getpid()]
