"""A run's objects in one file: to a server that takes files one by one, it goes as one."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from shapca.errors import InputError

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # so that equal objects make equal archives


def write_archive(file: Path, objects: Iterable[tuple[str, bytes]]) -> None:
    """Write objects, by name and content, into a zip file; nothing is compressed."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in objects:
            archive.writestr(zipfile.ZipInfo(name, _FIRST_DATE), content)


class ArchiveStore:
    """The objects of an archive that `write_archive` made; nothing can be written.

    Args:
        file: The archive.

    Raises:
        InputError: it is no such archive. A compressed one could become of any size.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._archive = zipfile.ZipFile(file)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(f"{file}: no readable archive ({error})") from error
        self._members = {member.filename: member for member in self._archive.infolist()}
        for name, member in self._members.items():
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise InputError(f"{file}: {name!r} is compressed or encrypted; expected neither")

    def get(self, name: str) -> bytes | None:
        """The object's content, or `None` where it does not exist."""
        if (member := self._members.get(name)) is None:
            return None
        try:
            return self._archive.read(member)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{self._file}: {name!r} is damaged ({error})") from error

    def folders(self, folder: str) -> list[str]:
        """Sorted names of the folders right below one, `folder/`."""
        parts = [name.removeprefix(folder).split("/") for name in self.list(folder)]
        return sorted({part[0] for part in parts if len(part) > 1})

    def list(self, prefix: str = "", after: str = "") -> list[str]:
        """Sorted names that begin with the prefix and come after a name."""
        return sorted(name for name in self._members if name.startswith(prefix) and name > after)

    def put_new(self, name: str, content: bytes) -> bool:
        """Refuse to write."""
        raise InputError(f"{self._file}: an archive is only read")

    def put(self, name: str, content: bytes) -> None:
        """Refuse to write."""
        raise InputError(f"{self._file}: an archive is only read")

    def delete(self, *names: str) -> None:
        """Refuse to write."""
        raise InputError(f"{self._file}: an archive is only read")
