"""Machines that are network namespaces, joined by cables that a test can cut."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field

NETWORK = "10.77.0"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass
class Machines:
    """Namespaces on one bridge, the first of which has it; `close` removes them.

    Attributes:
        names: Of the machines.
    """

    names: tuple[str, ...]
    _there: list[str] = field(default_factory=list)

    @classmethod
    def joined(cls, *names: str) -> Machines | None:
        """New ones; None where this user may make none."""
        machines = cls(names)
        try:
            machines._join()
        except (OSError, subprocess.CalledProcessError):
            machines.close()
            return None
        return machines

    def address(self, name: str) -> str:
        """The machine's address."""
        return f"{NETWORK}.{self.names.index(name) + 1}"

    def command(self, name: str) -> list[str]:
        """What runs a command there."""
        return ["ip", "netns", "exec", self._place(name)]

    def cut(self, name: str) -> None:
        """Nothing reaches the machine any more, and nothing is told of it."""
        _ip("-n", self._place(self.names[0]), "link", "set", f"to-{name}", "down")

    def mend(self, name: str) -> None:
        """The machine is reached again."""
        _ip("-n", self._place(self.names[0]), "link", "set", f"to-{name}", "up")

    def close(self) -> None:
        """Remove all of it; processes that still run there keep their namespace until they end."""
        while self._there:
            subprocess.run(["ip", "netns", "del", self._there.pop()], check=False)

    def _place(self, name: str) -> str:
        return f"shapca-{os.getpid()}-{name}"

    def _join(self) -> None:
        first = self._place(self.names[0])
        for name in self.names:
            place = self._place(name)
            _ip("netns", "add", place)
            self._there.append(place)
            _ip("-n", place, "link", "set", "lo", "up")
        _ip("-n", first, "link", "add", "bridge", "type", "bridge")
        _ip("-n", first, "address", "add", f"{self.address(self.names[0])}/24", "dev", "bridge")
        _ip("-n", first, "link", "set", "bridge", "up")
        for name in self.names[1:]:
            place, end = self._place(name), f"to-{name}"
            _ip("-n", first, "link", "add", end, "type", "veth", "peer", "eth0", "netns", place)
            _ip("-n", first, "link", "set", end, "master", "bridge", "up")
            _ip("-n", place, "address", "add", f"{self.address(name)}/24", "dev", "eth0")
            _ip("-n", place, "link", "set", "eth0", "up")
