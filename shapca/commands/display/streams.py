"""Standard streams that work can rely on, though nobody may read them, or no longer."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

READER_GONE = (errno.EPIPE, errno.EIO)
"""What is raised where a pipe's reader has ended, or a terminal was closed."""


class _Output(io.FileIO):
    """A descriptor that swallows what is written once nobody can read it."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in READER_GONE:
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes


def make_steady() -> None:
    """Let output never end the work.

    Streams that were closed lead nowhere, so that no file that is opened later takes their place;
    a reader that goes is not missed; a letter that the encoding lacks is replaced.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))
        elif _is_plain(stream, number):
            stream.flush()
            steady = io.TextIOWrapper(
                io.BufferedWriter(_Output(number, "wb", closefd=False)),
                encoding=stream.encoding,
                errors="replace",
                line_buffering=stream.line_buffering or stream.write_through,
                write_through=stream.write_through,
            )
            setattr(sys, name, steady)


def _is_plain(stream: object, number: int) -> bool:
    """Whether it is Python's own stream of a descriptor; tests put others in its place."""
    try:
        return (
            isinstance(stream, io.TextIOWrapper)
            and stream.fileno() == number
            and not isinstance(getattr(stream.buffer, "raw", None), _Output)
        )
    except (OSError, ValueError):
        return False
