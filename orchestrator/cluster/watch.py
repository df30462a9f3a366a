"""Notices that Ray is gone: its own library then waits for ever, or ends the process by itself.

When the node manager beside a driver dies, calls into Ray never return; when the head dies, Ray
waits a minute, with all of Python standing still if it is asked for anything, and then ends the
process without a word to it. So a thread looks again and again, and interrupts the driver in time.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal, Self

INTERVAL_SECONDS = 2.0
PATIENCE_SECONDS = 20.0
"""A head that answers nothing for so long is gone; Ray itself gives up after 60 seconds."""

Sight = Literal["alive", "dead", "silent"]


class RayLostError(RuntimeError):
    """Ray, or the node that this process is connected to, is gone."""


class RayWatch:
    """Watches Ray while it is entered; a loss interrupts the thread that made it.

    Args:
        look: Whether this process's node is alive, dead, or nobody answers.
        interval: Seconds between looks.
        patience: Seconds of silence after which Ray counts as gone.

    Attributes:
        lost: What was lost, if anything.
    """

    def __init__(
        self,
        look: Callable[[], Sight],
        *,
        interval: float = INTERVAL_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.lost: str | None = None
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
                return


@contextlib.contextmanager
def watched(*, is_local: bool = False) -> Iterator[None]:
    """Turn the loss of Ray into an error.

    Args:
        is_local: It is a local Ray, whose head is never started again.

    Raises:
        RayLostError: this process's node, or all of Ray, is gone. Nothing may be asked of Ray from
            then on.
    """
    watch = RayWatch(look_at_ray(is_local=is_local))
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

    def look() -> Sight:
        try:
            # Asked for its nodes, a head that is gone would stop every thread of this process.
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
                pass
            nodes = ray.nodes()
        except ConnectionRefusedError:
            return "dead" if is_local else "silent"
        except Exception:
            return "silent"
        return "alive" if any(n["NodeID"] == own and n["Alive"] for n in nodes) else "dead"

    return look
