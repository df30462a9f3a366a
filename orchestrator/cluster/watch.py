"""Notices that Ray is gone: its own library then waits for ever, or ends the process by itself.

When the node manager beside a driver dies, calls into Ray never return; when the head dies, Ray
waits a minute in whatever it was asked for, and then ends the process without a word to it. So a
thread looks again and again, and interrupts the driver in time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NoReturn, Self

INTERVAL_SECONDS = 2.0
PATIENCE_SECONDS = 20.0
"""A head that answers nothing for so long is gone; Ray itself gives up after 60 seconds."""

GRACE_SECONDS = 15.0
"""A driver that an interrupt does not reach for so long waits in a call into Ray itself."""
ANSWER_SECONDS = 1.0
KEPT = "Nothing that was trained is lost: the same command resumes"

Sight = Literal["alive", "dead", "silent"]


class RayLostError(RuntimeError):
    """Ray, or the node that this process is connected to, is gone."""


class NodesFailedError(RuntimeError):
    """Nodes lost the same work again and again, or cannot do it."""


class RayWatch:
    """Watches Ray while it is entered; a loss interrupts the thread that made it.

    Args:
        look: Whether this process's node is alive, dead, or nobody answers.
        interval: Seconds between looks.
        patience: Seconds of silence after which Ray counts as gone.
        grace: Seconds that the interrupted thread has to leave the watch.
        otherwise: Called with what was lost if it does not.

    Attributes:
        lost: What was lost, if anything.
    """

    def __init__(
        self,
        look: Callable[[], Sight],
        *,
        interval: float = INTERVAL_SECONDS,
        patience: float = PATIENCE_SECONDS,
        grace: float = GRACE_SECONDS,
        otherwise: Callable[[str], object] = lambda lost: None,
    ) -> None:
        self.lost: str | None = None
        self._grace = grace
        self._otherwise = otherwise
        self._look = look
        self._interval = interval
        self._patience = patience
        self._stop = threading.Event()
        self._watched = threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="ray-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2 * self._interval)

    def _run(self) -> None:
        answered = time.monotonic()
        while not self._stop.wait(self._interval):
            sight = self._look()
            if sight == "alive":
                answered = time.monotonic()
            elif sight == "dead":
                self.lost = "the Ray that this driver is connected to has died"
            elif time.monotonic() - answered > self._patience:
                self.lost = f"the head of Ray has not answered for {self._patience:.0f} s"
            if self.lost is not None and not self._stop.is_set():
                signal.pthread_kill(self._watched, signal.SIGINT)
                if not self._stop.wait(self._grace):
                    self._otherwise(self.lost)
                return


def say_farewell(lost: str) -> NoReturn:
    """End this process, which has lost its Ray, with a message and exit code 1."""
    print(f"error: {lost}. {KEPT}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(1)  # Ray's own farewell would wait for what is gone


@contextlib.contextmanager
def watched(
    *, is_local: bool = False, before_farewell: Callable[[str], object] = lambda lost: None
) -> Iterator[None]:
    """Turn the loss of Ray into an error; where a call into Ray does not return, into the end.

    Args:
        is_local: It is a local Ray, whose head is never started again.
        before_farewell: What to do, in another thread, before such an end; told what was lost.

    Raises:
        RayLostError: this process's node, or all of Ray, is gone. Nothing may be asked of Ray from
            then on.
    """

    def end(lost: str) -> None:
        try:
            before_farewell(lost)
        finally:
            say_farewell(lost)

    watch = RayWatch(look_at_ray(is_local=is_local), otherwise=end)
    try:
        with watch:
            yield
    except KeyboardInterrupt:  # it may also come while the watch is left
        if watch.lost is None:
            raise
        raise RayLostError(watch.lost) from None


def look_at_ray(*, is_local: bool = False) -> Callable[[], Sight]:
    """What looks at the Ray that this process is connected to.

    Args:
        is_local: Where nothing listens at its head's port, it is dead.
    """
    import ray

    context = ray.get_runtime_context()
    own, address = context.get_node_id(), context.gcs_address
    host, _, port = address.rpartition(":")

    asked: _Question | None = None

    def look() -> Sight:
        nonlocal asked
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
                pass
        except ConnectionRefusedError:
            return "dead" if is_local else "silent"
        except OSError:
            return "silent"
        # Asked just before it goes, a head does not answer for a minute: nobody waits for that.
        asked = asked or _Question(ray.nodes)
        asked.join(ANSWER_SECONDS)
        if asked.is_alive():
            return "silent"
        nodes, asked = asked.answer, None
        if nodes is None:
            return "silent"
        return "alive" if any(n["NodeID"] == own and n["Alive"] for n in nodes) else "dead"

    return look


class _Question(threading.Thread):
    """Something that is asked in a thread of its own; `answer` is None where that fails."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        super().__init__(name="ray-question", daemon=True)
        self.answer: Any = None
        self._ask = ask
        self.start()

    def run(self) -> None:
        with contextlib.suppress(Exception):
            self.answer = self._ask()
