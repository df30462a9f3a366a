"""The lease of a sweep: at most one driver works on it.

A driver acquires the lease by creating the next numbered object, which only one can do, and keeps
it by a heartbeat. The lease of a driver that stopped beating may be taken over; at once where it
ran on this machine and is no more. Clocks of machines differ: where they say that a driver
elsewhere is silent, or that it beat in the future, its heart is watched by this machine's clock.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Self

from orchestrator.store.forms import BeatForm
from orchestrator.store.sweep_folder import (
    BEATS,
    LEASES,
    in_sweep,
    number_of,
    numbered,
    put_own,
)
from shapca.errors import InputError
from shapca.storage import ObjectStore, read_json, to_json
from shapca.storage.processes import born, machine

HEARTBEAT_SECONDS = 10.0
EXPIRY_SECONDS = 60.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        host: Name of the machine.
        machine: What tells this boot of this machine, and its process namespace, from others.
        pid: Process id.
        born: When the process began, as the system counts it; process ids are used again.
        at: Unix time in seconds at which the lease was acquired.
    """

    host: str
    machine: str
    pid: int
    born: str
    at: float

    @classmethod
    def current(cls) -> Holder:
        """This process."""
        return cls(socket.gethostname(), machine(), os.getpid(), born(os.getpid()), time.time())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def is_gone(self) -> bool:
        """Whether it certainly runs no more: it ran on this machine and is not there."""
        return self.machine == machine() and born(self.pid) != self.born


class LeaseLost(RuntimeError):
    """Another driver has taken the sweep over, so this one must stop."""


class Lease:
    """A held lease; as a context manager it beats until it is left.

    Args:
        store: The storage.
        sweep: The sweep's name.
        heartbeat: Seconds between signs of life.
        expiry: Seconds without a sign of life after which others may take over.
    """

    def __init__(
        self,
        store: ObjectStore,
        sweep: str,
        *,
        heartbeat: float = HEARTBEAT_SECONDS,
        expiry: float = EXPIRY_SECONDS,
    ) -> None:
        self._store = store
        self._sweep = sweep
        self._heartbeat = heartbeat
        self._expiry = expiry
        self._number = 0
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread: threading.Thread | None = None
        self._beat_at = time.monotonic()
        self.holder = Holder.current()

    @property
    def number(self) -> int:
        """Which lease of the sweep it is, counted from 1; 0 where it is not held."""
        return self._number

    def acquire(self) -> Self:
        """Take the lease and begin to beat.

        Raises:
            InputError: Another driver works on the sweep; the message says which.
        """
        last, holder = self._last()
        age = None if holder is None or holder.is_gone() else self._age(last)
        if age is not None and not 0 <= age < self._expiry:
            # Its clock is not ours. One that is ahead does not say how long it has been silent.
            seconds = self._expiry if age < 0 else 2 * self._heartbeat
            age = 0.0 if self._beats(last, seconds) else None
        if age is not None:
            raise InputError(
                f"sweep {self._sweep}: {holder} works on it (last sign of life {age:.0f} s "
                f"ago). Wait for it or stop it; a driver silent for {self._expiry:.0f} s may "
                "be taken over by running the same command again"
            )
        # The sign of life comes first: a lease without one counts as released.
        self._number = last + 1
        self._beat()
        if not put_own(self._store, self._name(LEASES, last + 1), to_json(asdict(self.holder))):
            _, other = self._last()
            self._number = 0
            raise InputError(f"sweep {self._sweep}: {other or 'another driver'} was faster")
        for kind in (LEASES, BEATS):
            for name in self._store.list(in_sweep(self._sweep, kind)):
                if number_of(name) < self._number:
                    self._store.delete(name)
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()
        return self

    def check(self) -> None:
        """Make sure that the lease is still held; after a suspension the storage is asked.

        Raises:
            LeaseLost: Another driver holds it now.
        """
        if time.monotonic() - self._beat_at > self._expiry:
            self._look()
        if self._lost.is_set():
            raise LeaseLost(f"sweep {self._sweep}: another driver has taken it over")

    def release(self) -> None:
        """Stop beating and let others take the lease at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self._number and not self._lost.is_set():
            self._store.delete(self._name(BEATS, self._number))
        self._number = 0

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def _keep(self) -> None:
        while not self._stop.wait(self._heartbeat):
            try:
                self._look()
                if self._lost.is_set():
                    return
                self._beat()
            except Exception:
                # The storage is away for a moment (what a bucket's client raises is its own
                # affair); others see an old sign of life meanwhile.
                continue

    def _look(self) -> None:
        if newest_lease(self._store, self._sweep) != self._number:
            self._lost.set()

    def _beats(self, number: int, seconds: float) -> bool:
        """Whether a holder that looks silent gives a sign of life within some seconds."""
        name = self._name(BEATS, number)
        before, deadline = self._store.get(name), time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(self._heartbeat / 10)
            if self._store.get(name) != before:
                return True
        return False

    def _beat(self) -> None:
        self._store.put(self._name(BEATS, self._number), to_json({"at": time.time()}))
        self._beat_at = time.monotonic()

    def _last(self) -> tuple[int, Holder | None]:
        names = self._store.list(in_sweep(self._sweep, LEASES))
        if not names:
            return 0, None
        name = max(names, key=number_of)
        record: dict[str, Any] | None = read_json(self._store, name, Holder)
        return number_of(name), None if record is None else Holder(**record)

    def _age(self, number: int) -> float | None:
        """Seconds since the last sign of life; None where the lease was released."""
        beat = read_json(self._store, self._name(BEATS, number), BeatForm)
        return None if beat is None else time.time() - beat["at"]

    def _name(self, kind: str, number: int) -> str:
        return in_sweep(self._sweep, numbered(kind, number))


def holder_of(
    store: ObjectStore, sweep: str, *, heartbeat: float = HEARTBEAT_SECONDS
) -> Holder | None:
    """Who works on a sweep now; None where nobody does or the last one is certainly gone.

    One whose clock is ahead is watched for two heartbeats.
    """
    lease = Lease(store, sweep, heartbeat=heartbeat)
    number, holder = lease._last()
    if holder is None or holder.is_gone():
        return None
    age = lease._age(number)
    if age is not None and age < -EXPIRY_SECONDS:  # its clock says nothing, so its heart has to
        return holder if lease._beats(number, 2 * heartbeat) else None
    return holder if age is not None and age < EXPIRY_SECONDS else None


def abandoned_at(store: ObjectStore, sweep: str) -> float | None:
    """When the last driver of a sweep, which certainly works no more, gave its last sign of life.

    Returns:
        Unix time in seconds; now where it ended by itself. None where a driver may be at work, or
        none ever was.
    """
    lease = Lease(store, sweep)
    number, holder = lease._last()
    beat = read_json(store, lease._name(BEATS, number), BeatForm)
    if holder is None or (beat is not None and not holder.is_gone()):
        return None
    return time.time() if beat is None else float(beat["at"])


def newest_lease(store: ObjectStore, sweep: str) -> int:
    """The number of a sweep's newest lease, 0 where there is none; other ones are superseded."""
    names = store.list(in_sweep(sweep, LEASES))
    return max(map(number_of, names), default=0)
