"""When a request may go out: a limit a minute, pauses that are asked for, back-off after faults."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable, Mapping

FIRST_WAIT = 1.0
"""Seconds before the first repetition; each further one waits twice as long."""


class Pace:
    """Shared by all threads that send requests.

    Args:
        per_minute: Requests a minute at most; `None`: no limit.
        clock: Seconds that only grow.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        per_minute: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._spacing = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Wait for one's turn."""
        with self._lock:
            now = self._clock()
            turn = max(self._next, now)
            self._next = turn + self._spacing
        if turn > now:
            self._sleep(turn - now)

    def pause(self, seconds: float) -> None:
        """Let nobody send anything for some seconds: the endpoint has asked for it."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)


def back_off(repetition: int, longest: float) -> float:
    """Seconds to wait before a repetition: doubling, and spread so that threads do not march.

    Args:
        repetition: 0 for the first.
        longest: Limit.
    """
    return min(FIRST_WAIT * 2.0**repetition, longest) * random.uniform(0.5, 1.0)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait (`Retry-After`, in seconds or as a date), or `None`."""
    written = headers.get("retry-after", "")
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000.0)
        return max(0.0, float(written))
    except ValueError:
        parsed = email.utils.parsedate_tz(written)
        try:
            return None if parsed is None else max(0.0, email.utils.mktime_tz(parsed) - time.time())
        except (ValueError, OverflowError):  # no date of any calendar
            return None
