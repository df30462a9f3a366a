"""The library's messages (missing images, cut texts, warnings), shown while a command works."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shapca.words import visible

logger = logging.getLogger("shapca")


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


@contextmanager
def shown_messages(say: Callable[[str], None] = _to_stderr) -> Iterator[None]:
    """Show the library's messages while a command works.

    Args:
        say: Shows a line; by default on stderr, so that stdout stays a program's.
    """
    handler, level = _SayHandler(say), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _SayHandler(logging.Handler):
    """Hands each message on as a line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Show one message."""
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self._say(prefix + visible(record.getMessage()))
