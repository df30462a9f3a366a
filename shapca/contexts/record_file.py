"""The file of records: appended to during the work, one line a picture when it is done."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Self

from shapca.contexts.generators.generator import Identity
from shapca.data.preparation.context_record import ContextRecord
from shapca.data.preparation.readers.source import shown
from shapca.errors import InputError
from shapca.storage.files import written_whole
from shapca.storage.locks import open_locked
from shapca.storage.records import check_form, parse_json


class RecordFile:
    """Records by image id, safe against being killed at any moment, held by one process.

    Lines are appended and synced batch by batch; the one that a killed process left half-written is
    cut off when the file is opened again. A later record of an image takes the place of an earlier
    one.

    Args:
        file: The JSONL file; made where it does not exist.
        identity: What all its records must agree on.

    Raises:
        InputError: the file is no such file, was made with other settings, or is in use.
    """

    def __init__(self, file: Path, identity: Identity) -> None:
        self.file = file
        self.records: dict[str, ContextRecord] = {}
        self.num_cut = 0
        self._identity = identity
        self._num_lines = 0
        self._handle = self._open()
        try:
            self._read()
        except BaseException:
            self._handle.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def append(self, records: Iterable[ContextRecord]) -> None:
        """Add records, and return when they are on the disk."""
        lines = []
        for record in records:
            self.records[record.image] = record
            lines.append(_line(record))
        if lines:
            self._handle.write(b"".join(lines))
            self._sync()
            self._num_lines += len(lines)

    def tidy(self) -> None:
        """Leave one line a picture, ordered by image id: whatever the order of the work."""
        lines = [_line(self.records[image]) for image in sorted(self.records)]
        content = b"".join(lines)
        if self._num_lines == len(lines) and self.file.read_bytes() == content:
            return
        with written_whole(self.file) as handle:
            handle.write(content)

    def _open(self) -> IO[bytes]:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            return os.fdopen(open_locked(self.file, flags, shown=self.file, required=True), "a+b")
        except BlockingIOError:
            raise InputError(
                f"{self.file}: another process is writing to it; wait for it, or choose "
                "another --out"
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self.file}: cannot be written ({reason})") from error

    def _read(self) -> None:
        self._handle.seek(0)
        content = self._handle.read()
        *lines, rest = content.split(b"\n")
        for line in lines:
            self._take(line)
        if not rest:
            return
        if _is_json(rest):  # whole, and lacks its line break alone
            self._take(rest)
            self._handle.write(b"\n")
        elif not lines and not _may_begin_a_record(rest):
            raise InputError(f"{self.file}:1: {_NOT_OURS}")
        else:
            self.num_cut = 1
            self._handle.truncate(len(content) - len(rest))
        self._sync()

    def _take(self, line: bytes) -> None:
        place = f"{self.file}:{self._num_lines + 1}"
        try:
            found = parse_json(line, "it")
            record = ContextRecord.from_json(found)
            check_form(found, ContextRecord, "it")
        except (ValueError, TypeError) as error:
            raise InputError(f"{place}: {_NOT_OURS} ({error})") from error
        mine, wanted = self._identity.fields(), record.to_json()
        for name in ("model", "prompt_sha256", "sampling"):
            if mine[name] != wanted[name]:
                raise InputError(
                    f"{place}: made with other settings: {name} {shown(wanted[name])} by "
                    f"{record.generator[:80]}, now {shown(mine[name])} by "
                    f"{self._identity.generator}; "
                    "choose another --out"
                )
        self.records[record.image] = record
        self._num_lines += 1

    def _sync(self) -> None:
        self._handle.flush()
        os.fsync(self._handle.fileno())


_IMAGE = re.compile(rb'\{"image": "(?:[^"\\]|\\.)*')
_AFTER_IMAGE = b'", "image_sha256": '
_NOT_OURS = "not a record of a generated context; choose another --out"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _may_begin_a_record(line: bytes) -> bool:
    """Whether a line is a record cut short, as far as its first two fields tell."""
    begun = _IMAGE.match(line)
    if begun is None:
        return False
    rest = line[begun.end() :]
    return rest.startswith(_AFTER_IMAGE) or _AFTER_IMAGE.startswith(rest)


def _line(record: ContextRecord) -> bytes:
    return (json.dumps(record.to_json(), ensure_ascii=False) + "\n").encode()
