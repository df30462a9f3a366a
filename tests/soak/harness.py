"""Kills whatever a sweep is made of, at random moments, until the sweep is done all the same.

A `Plan` is drawn from a seed: what to kill, and how long after it is seen. `Soak.run` starts the
driver again whenever it is gone, as a user would give the same command again, and afterwards
compares what is there with an undisturbed sweep.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.store.lease import EXPIRY_SECONDS
from shapca.storage.objects import TEMPORARY
from tests.orchestrator.servers import Server
from tests.soak.processes import descendants, kill, of_kind

DRIVER_SECONDS = 600.0
"""A driver that is left alone must end within so long."""
INTERRUPT_SECONDS = 15.0
RAY = ("worker", "raylet", "gcs")
LOST_RAY_SECONDS = 30.0
SUSPENDED_SECONDS = 2.0
SILENT_SECONDS = EXPIRY_SECONDS + 1.0
"""A driver that was suspended for so long may be taken over."""
TAKEOVER_SECONDS = 60.0
FULL_SECONDS = 60.0
ENDS = {
    "driver": signal.SIGKILL,
    "interrupt": signal.SIGINT,
    "terminate": signal.SIGTERM,
    "hangup": signal.SIGHUP,
}
"""Blows that end a driver."""


@dataclass(frozen=True)
class Blow:
    """One thing to kill.

    Attributes:
        kind: One of `ENDS`, `suspend`, `takeover` (it is suspended until another driver has taken
            the sweep over, and wakes), `disk` (it is full until the driver has ended), `worker`,
            `raylet`, `gcs` or `server`.
        delay: Seconds after the driver's start, or after a trial is first seen.
        in_training: Wait for a trial.
    """

    kind: str
    delay: float
    in_training: bool = True


def draw(seed: int, number: int, weights: dict[str, float], longest: float) -> list[Blow]:
    """Blows at random; each kind comes at least once where there are enough."""
    source = random.Random(seed)
    kinds = list(weights)[:number]
    kinds += source.choices(list(weights), list(weights.values()), k=number - len(kinds))
    source.shuffle(kinds)
    return [
        Blow(kind, source.uniform(0.0, longest), kind in RAY or source.random() < 0.5)
        for kind in kinds
    ]


@dataclass(frozen=True)
class Disk:
    """A file system of its own in memory, on which a storage lies.

    Attributes:
        folder: Where it is mounted.
    """

    folder: Path

    @classmethod
    def mounted(cls, folder: Path) -> Disk | None:
        """A new one; None where this user may not mount any."""
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        return cls(folder) if done.returncode == 0 else None

    def fill(self) -> None:
        """Leave no free byte: what is there is all that it can hold."""
        for _ in range(50):
            now = os.statvfs(self.folder)
            used = (now.f_blocks - now.f_bfree) * now.f_frsize
            if self._resize(str(used)):  # refused where more has come meanwhile
                return
        raise AssertionError("the disk does not become full")

    def empty(self) -> None:
        """Let it hold more again."""
        assert self._resize("50%")

    def _resize(self, size: str) -> bool:
        command = ["mount", "-o", f"remount,size={size}", str(self.folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        """Give it back, with all that is on it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


@dataclass
class Soak:
    """A sweep under blows.

    Attributes:
        command: The driver's command line.
        storage: Its storage.
        environment: Additional environment variables.
        log: Where the drivers' output goes.
        server: The tracking server, started again after it was killed.
        disk: What the storage lies on; needed where it is to be full.
        seconds_down: How long it stays away.
        patience: Factor on all time limits, for machines that are busy with other things.
        dealt: Blows by kind that met something.
        slowest_interrupt: Seconds that the slowest interrupted driver took to end.
        num_drivers: Drivers started.
    """

    command: Sequence[str]
    storage: Path
    environment: dict[str, str]
    log: Path
    server: Server | None = None
    disk: Disk | None = None
    seconds_down: float = 3.0
    patience: float = 1.0
    dealt: Counter[str] = field(default_factory=Counter)
    slowest_interrupt: float = 0.0
    num_drivers: int = 0
    _finished: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _successor: subprocess.Popen[bytes] | None = None
    _down_until: float = 0.0

    def run(self, blows: Sequence[Blow]) -> None:
        """Deal the blows, then let the sweep end.

        Raises:
            AssertionError: the sweep was done before all were dealt, a driver hung, or a finished
                cell was touched.
        """
        waiting = list(blows)
        while waiting:
            driver, self._successor = self._successor or self._start(), None
            while waiting and driver.poll() is None:
                if self._deal(waiting[0], driver):
                    waiting.pop(0)
                    self.check_finished()
                if self._successor is not None:  # the driver was taken over, and has ended
                    driver, self._successor = self._successor, None
            code = self._wait(driver)
            assert code != 2, f"a driver was refused: {self.log.read_text()[-2000:]}"
            assert code != 0 or not waiting, f"done before the last {len(waiting)} blows"
        self._bring_up(at_once=True)
        for _ in range(3):  # what the last blow left may end with an error once
            if self._wait(self._start()) == 0:
                break
        else:
            raise AssertionError(f"the sweep does not end: {self.log.read_text()[-2000:]}")
        self.check_finished()

    def _start(self) -> subprocess.Popen[bytes]:
        self.num_drivers += 1
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self, driver: subprocess.Popen[bytes]) -> int:
        deadline = time.monotonic() + DRIVER_SECONDS
        while driver.poll() is None:
            self._bring_up()
            assert time.monotonic() < deadline, "a driver hangs"
            time.sleep(0.05)
        return int(driver.wait())

    def _deal(self, blow: Blow, driver: subprocess.Popen[bytes]) -> bool:
        """Whether the blow met something; a driver that died of something else did not wait."""
        while blow.in_training and not of_kind(driver.pid, "worker"):
            if driver.poll() is not None:
                return False
            self._pause(0.05)
        self._pause(blow.delay, driver)
        if driver.poll() is not None:
            return False
        began = time.monotonic()
        if blow.kind == "server":
            assert self.server is not None
            if self._down_until:
                self._bring_up(at_once=True)
            self.server.kill()
            self._down_until = time.monotonic() + self.seconds_down
        elif blow.kind == "suspend":
            kill(driver.pid, signal.SIGSTOP)
            self._pause(SUSPENDED_SECONDS)
            kill(driver.pid, signal.SIGCONT)
        elif blow.kind == "takeover":
            self._take_over(driver)
        elif blow.kind == "disk":
            assert self.disk is not None
            self.disk.fill()
            try:
                self._wait_patiently(driver, FULL_SECONDS * self.patience)
            finally:
                self.disk.empty()
        elif blow.kind in ENDS:
            if blow.kind in ("interrupt", "hangup"):  # as a terminal does: Ray's processes too
                os.killpg(driver.pid, ENDS[blow.kind])
            else:
                kill(driver.pid, ENDS[blow.kind])
            self._wait_patiently(driver, INTERRUPT_SECONDS * self.patience)
            if blow.kind != "driver":
                self.slowest_interrupt = max(self.slowest_interrupt, time.monotonic() - began)
        elif sum(kill(victim) for victim in of_kind(driver.pid, blow.kind)) == 0:
            return False
        elif blow.kind != "worker":
            self._wait_patiently(driver, LOST_RAY_SECONDS * self.patience)
        self.dealt[blow.kind] += 1
        return True

    def _take_over(self, driver: subprocess.Popen[bytes]) -> None:
        """Suspend a driver with its processes, let another take over and begin, and wake it."""
        suspended = [driver.pid, *descendants(driver.pid)]
        for pid in suspended:
            kill(pid, signal.SIGSTOP)
        self._pause(SILENT_SECONDS)
        successor = self._start()
        began = time.monotonic()
        while not of_kind(successor.pid, "worker") and successor.poll() is None:
            assert time.monotonic() - began < 2 * TAKEOVER_SECONDS * self.patience
            self._pause(0.05)
        for pid in suspended:
            kill(pid, signal.SIGCONT)
        self._wait_patiently(driver, TAKEOVER_SECONDS * self.patience)
        assert driver.returncode == 1, "a driver went on that was taken over"
        self._successor = successor

    def _wait_patiently(self, driver: subprocess.Popen[bytes], seconds: float) -> None:
        began = time.monotonic()
        while driver.poll() is None:
            self._bring_up()
            took = time.monotonic() - began
            assert took < seconds, f"a driver has not ended {took:.0f} s after a blow"
            time.sleep(0.05)

    def _pause(self, seconds: float, driver: subprocess.Popen[bytes] | None = None) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and (driver is None or driver.poll() is None):
            self._bring_up()
            time.sleep(0.02)

    def _bring_up(self, at_once: bool = False) -> None:
        if self._down_until and (at_once or time.monotonic() >= self._down_until):
            assert self.server is not None
            self._down_until = 0.0
            self.server.start()

    def check_finished(self) -> None:
        """What finished cells hold of their training must never be written again.

        Raises:
            AssertionError: it was.
        """
        for path, before in self._finished.items():
            if path.exists():  # weights and evaluations may be dropped, records not
                now = path.stat()
                assert (now.st_ino, now.st_mtime_ns) == before, f"{path} was written again"
            else:
                raise AssertionError(f"{path} of a finished cell is gone")
        for verdict in self.storage.glob("status/*.finished"):
            cell = self.storage / "cells" / verdict.name.removesuffix(".finished")
            for path in (cell / "result.json", *cell.glob("epochs/*.json")):
                status = path.stat()
                self._finished.setdefault(path, (status.st_ino, status.st_mtime_ns))


def leftovers(storage: Path) -> list[str]:
    """Half-written files, claims and attempts that nobody has any more."""
    names = (TEMPORARY + "*", "claim.json", "attempt.json", ".new-*")
    return sorted(str(path) for name in names for path in storage.rglob(name))


def contents(storage: Path) -> dict[str, bytes]:
    """What stays of cells and must not depend on blows: weights, scores, verdicts by name."""
    kept = {}
    for path in sorted(storage.glob("cells/*/**/*")):
        name = path.relative_to(storage).as_posix()
        if path.is_file() and ("/best/" in name or "/evaluations/" in name):
            kept[name] = path.read_bytes()
    return kept


def names(storage: Path) -> set[str]:
    """Names of all objects of cells and their verdicts; a fake training's own notes aside."""
    paths = (*storage.glob("cells/**/*"), *storage.glob("status/*"))
    return {
        path.relative_to(storage).as_posix()
        for path in paths
        if path.is_file() and path.parent.name not in ("trained", "processes")
    }
