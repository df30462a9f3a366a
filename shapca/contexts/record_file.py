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
from shapca.errors import InputError
from shapca.storage.locks import open_locked


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
        self._handle: IO[bytes] | None = None
        self._num_lines = 0

    def __enter__(self) -> Self:
        self._handle = self._open()
        try:
            self._read()
        except BaseException:
            self._handle.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._handle is not None
        self._handle.close()

    def append(self, records: Iterable[ContextRecord]) -> None:
        """Add records, and return when they are on the disk."""
        assert self._handle is not None
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
        temporary = self.file.with_name(f".{self.file.name}.partial")
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, self.file)

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
        assert self._handle is not None
        self._handle.seek(0)
        content = self._handle.read()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1):
            record = self._parsed(line, number)
            self.records[record.image] = record
            self._num_lines += 1
        if whole < len(content):
            self._end_last_line(content[whole:], whole)

    def _end_last_line(self, line: bytes, start: int) -> None:
        """Keep a last line that lacks its line break alone; cut off one that a kill cut short."""
        assert self._handle is not None
        if _is_json(line):
            record = self._parsed(line, self._num_lines + 1)
            self.records[record.image] = record
            self._num_lines += 1
            self._handle.write(b"\n")
        elif start == 0 and not _may_begin_a_record(line):
            raise InputError(f"{self.file}:1: {_NOT_OURS}")
        else:
            self.num_cut = 1
            self._handle.truncate(start)
        self._sync()

    def _parsed(self, line: bytes, number: int) -> ContextRecord:
        place = f"{self.file}:{number}"
        try:
            record = ContextRecord.from_json(json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{place}: {_NOT_OURS} ({error})") from error
        mine, wanted = self._identity.fields(), record.to_json()
        for name in ("model", "prompt_sha256", "sampling"):
            if mine[name] != wanted[name]:
                raise InputError(
                    f"{place}: made with other settings: {name} {wanted[name]!r} by "
                    f"{record.generator}, now {mine[name]!r} by {self._identity.generator}; "
                    "choose another --out"
                )
        return record

    def _sync(self) -> None:
        assert self._handle is not None
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
