"""An HTTP client whose answers have a bounded size, and a bounded time from first to last byte.

A timeout of the HTTP library counts from one byte to the next, and its answers have any size.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

MAX_ANSWER_BYTES = 4 * 2**20
Result = TypeVar("Result")


class AnswerTooLarge(Exception):
    """The endpoint sends more than any answer to a question can be."""


def bounded_client(kind: type[Any], seconds: float) -> Any:
    """A client of `httpx` or its successor that gives up what is too large or takes too long.

    Args:
        kind: The client's class.
        seconds: From the headers of an answer to its end.
    """
    base = next(c for c in kind.__mro__ if not c.__module__.startswith("openai"))
    library = sys.modules[base.__module__.partition(".")[0]]

    class Bounded(library.SyncByteStream):  # type: ignore[name-defined]
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            size, deadline = 0, time.monotonic() + seconds
            for chunk in self._stream:
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise AnswerTooLarge(f"more than {MAX_ANSWER_BYTES // 2**20} MiB of answer")
                if time.monotonic() > deadline:
                    raise TimeoutError("the answer does not end")
                yield chunk

        def close(self) -> None:
            self._stream.close()

    def ask_for_plain(request: Any) -> None:
        # Packed, a small answer could become one of any size.
        request.headers["Accept-Encoding"] = "identity"

    def bound(response: Any) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise AnswerTooLarge("the answer is compressed, which was not asked for")
        response.stream = Bounded(response.stream)

    return kind(event_hooks={"request": [ask_for_plain], "response": [bound]})


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """Do some work in a thread of its own, and wait so long for it.

    Raises:
        TimeoutError: it has not ended by then; its thread is left to itself, and keeps nobody.
    """
    ended: list[Result | BaseException] = []

    def run() -> None:
        try:
            ended.append(work())
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        raise TimeoutError(f"no whole answer within {seconds:g} s")
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]
