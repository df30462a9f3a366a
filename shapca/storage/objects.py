"""Where runs keep what they make: a small store of named objects.

Only six operations, so that a folder and a bucket serve alike: nothing relies on
appending, renaming or syncing across objects. Names are relative, `/`-separated.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from shapca.errors import InputError, StorageError
from shapca.storage.files import TEMPORARY as TEMPORARY
from shapca.storage.files import below, refuse_link
from shapca.storage.processes import is_gone, this_process


class ObjectStore(Protocol):
    """Named, immutable-by-convention byte objects."""

    def put_new(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists; whether it was written. Atomic: one writer wins."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write or replace an object; a reader sees the old or the new one, never a part."""
        ...

    def get(self, name: str) -> bytes | None:
        """The object's content, or `None` where it does not exist."""
        ...

    def folders(self, folder: str) -> list[str]:
        """Sorted names of the folders right below one, `folder/`; what they hold is not listed."""
        ...

    def list(self, prefix: str = "", after: str = "") -> list[str]:
        """Sorted names that begin with the prefix and come after a name."""
        ...

    def delete(self, *names: str) -> None:
        """Remove objects, in any order; one that does not exist is no error."""
        ...


def check_name(name: str) -> str:
    """An object's name that stays within its store.

    Raises:
        InputError: it is empty or absolute, leads upwards, or is of no use as a file's name.
    """
    if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise InputError(f"object name {name!r}: expected a relative name without '..'")
    return name


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone.

    Raises:
        OSError: it cannot be made.
    """
    # Python gives `mode` to the last folder only.
    for missing in reversed([parent for parent in folder.parents if not parent.exists()]):
        missing.mkdir(exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)


def remove_leftovers(folder: Path, *, nobody_writes: bool = False) -> int:
    """Remove from a folder what killed processes left half-written.

    Args:
        folder: Where; folders in it are left alone.
        nobody_writes: Nobody writes there now, so that every half-written file is one. Else only
            those of processes that ran on this machine and are gone.

    Returns:
        How many files.
    """
    num_removed = 0
    for path in folder.glob(f"{TEMPORARY}*"):
        writer = path.name.removeprefix(TEMPORARY).partition("-")[0]
        if nobody_writes or is_gone(writer):
            path.unlink(missing_ok=True)
            num_removed += 1
    return num_removed


class FolderStore:
    """Objects as files under a folder, readable by their owner alone.

    A link below the folder is refused by all six operations (`InputError`).
    The folder is made by the first object that is put. Once it was seen it must stay: what vanishes
    in the middle of the work, or is another folder since a disk was unmounted, is not made anew.
    All six operations raise `StorageError` where the system refuses them.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._identity: tuple[int, int] | None = None

    def _path(self, name: str) -> Path:
        place = self.root / check_name(name)
        with self._told(place):
            return below(self.root, name)

    @contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        """Raise what the system says as a `StorageError` with the place."""
        try:
            yield
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(error.errno, error.strerror or str(error), str(path)) from error

    def _require_root(self) -> None:
        """Make sure that the folder is the one that was seen before.

        Raises:
            StorageError: it is not.
        """
        try:
            found = self.root.stat()
        except (FileNotFoundError, NotADirectoryError):
            identity = None
        else:
            identity = found.st_dev, found.st_ino
        if self._identity is None:
            self._identity = identity
        elif identity != self._identity:
            raise StorageError(
                errno.ENOENT,
                "the storage is gone: its folder was removed, renamed or unmounted",
                str(self.root),
            )

    def _write_temporary(self, path: Path, content: bytes) -> str:
        self._require_root()
        make_private_folder(path.parent)
        if self._identity is None:
            self._require_root()
        prefix = f"{TEMPORARY}{this_process()}-"
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(temporary)
            raise
        return temporary

    def put_new(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists; whether it was written."""
        path = self._path(name)
        with self._told(path):
            if path.exists():
                return False
            temporary = self._write_temporary(path, content)
            try:
                os.link(temporary, path)  # fails if the name is taken, unlike a rename
            except FileExistsError:
                return False
            finally:
                os.unlink(temporary)
        return True

    def put(self, name: str, content: bytes) -> None:
        """Write or replace an object in one step."""
        path = self._path(name)
        with self._told(path):
            temporary = self._write_temporary(path, content)
            try:
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise

    def get(self, name: str) -> bytes | None:
        """The object's content, or `None` where it does not exist."""
        path = self._path(name)
        with self._told(path):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._require_root()
                return None

    def folders(self, folder: str) -> list[str]:
        """Sorted names of the folders right below one, `folder/`."""
        path = self._path(folder)
        with self._told(path):
            self._require_root()
            try:
                entries = list(path.iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []
            for entry in entries:
                if entry.is_symlink():
                    refuse_link(entry)
            return sorted(entry.name for entry in entries if entry.is_dir())

    def list(self, prefix: str = "", after: str = "") -> list[str]:
        """Sorted names that begin with the prefix and come after a name."""
        if prefix:
            check_name(prefix)
        # Only the folder that the prefix names is walked, so that a store of many cells lists fast.
        with self._told(self.root / prefix):
            folder = below(self.root, prefix.rpartition("/")[0])
            self._require_root()
        start = "" if folder == self.root else folder.relative_to(self.root).as_posix() + "/"
        names = _names_below(folder, start, after)
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, *names: str) -> None:
        """Remove objects in this order; one that does not exist is no error."""
        for path in map(self._path, names):
            with self._told(path):
                path.unlink(missing_ok=True)

    def remove_leftovers(self, prefix: str, *, nobody_writes: bool = False) -> int:
        """`remove_leftovers` of the folder of a prefix, and of all below it; how many files."""
        top = self._path(prefix)
        folders = [
            Path(folder)
            for folder, _, names in os.walk(top)
            if any(name.startswith(TEMPORARY) for name in names)
        ]
        return sum(remove_leftovers(folder, nobody_writes=nobody_writes) for folder in folders)


def _names_below(folder: Path | str, start: str, after: str = "") -> Iterator[str]:
    """Names of the files of a folder and of those in it, half-written ones left out.

    Args:
        folder: Where they lie.
        start: What their names begin with.
        after: Which name they come after.

    Raises:
        InputError: A link is among them.
    """
    try:
        entries = os.scandir(folder)
    except OSError:
        return
    with entries:
        for entry in entries:
            if entry.is_symlink():
                refuse_link(Path(entry))
            if entry.is_dir(follow_symlinks=False):
                yield from _names_below(entry.path, f"{start}{entry.name}/", after)
            elif (name := start + entry.name) > after and not entry.name.startswith(TEMPORARY):
                yield name


class SubStore:
    """The objects of another store under a prefix, as a store of their own."""

    def __init__(self, parent: ObjectStore, prefix: str) -> None:
        self.parent = parent
        self.prefix = prefix.rstrip("/") + "/"

    def put_new(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists; whether it was written."""
        return self.parent.put_new(self.prefix + name, content)

    def put(self, name: str, content: bytes) -> None:
        """Write or replace an object."""
        self.parent.put(self.prefix + name, content)

    def get(self, name: str) -> bytes | None:
        """The object's content, or `None` where it does not exist."""
        return self.parent.get(self.prefix + name)

    def folders(self, folder: str) -> list[str]:
        """Sorted names of the folders right below one, `folder/`."""
        return self.parent.folders(self.prefix + folder)

    def list(self, prefix: str = "", after: str = "") -> list[str]:
        """Sorted names that begin with the prefix and come after a name."""
        names = self.parent.list(self.prefix + prefix, after=after and self.prefix + after)
        return [name.removeprefix(self.prefix) for name in names]

    def delete(self, *names: str) -> None:
        """Remove objects; one that does not exist is no error."""
        self.parent.delete(*(self.prefix + name for name in names))


def place_name(place: str | Path | ObjectStore) -> str:
    """What to call a folder or store in a message."""
    if isinstance(place, FolderStore):
        return str(place.root)
    if isinstance(place, SubStore):
        return f"{place_name(place.parent)}/{place.prefix.rstrip('/')}"
    return str(place) if isinstance(place, str | Path) else "the store"
