"""Process trees as Linux shows them: who descends from a driver, and who is what."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def command_of(pid: int) -> str:
    """Command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and that those started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                status = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                children.setdefault(int(status[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def of_kind(pid: int, kind: str) -> list[int]:
    """Descendants of a driver that are its `worker` (a trial), its `raylet`, or its `gcs`."""
    marks = {"worker": "ray::CellTrial", "raylet": "raylet/raylet", "gcs": "gcs/gcs_server"}
    mark = marks[kind]
    return [child for child in descendants(pid) if mark in command_of(child).partition(" ")[0]]


def listening(pids: list[int], *, beyond_loopback: bool = False) -> set[int]:
    """TCP ports on which processes listen; only those that other machines reach, if so asked."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            sockets |= {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            host, _, port = fields[1].rpartition(":")
            is_asked = host not in LOOPBACK or not beyond_loopback
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets and is_asked:
                ports.add(int(port, 16))
    return ports


LOOPBACK = (
    "0100007F",  # 127.0.0.1
    "0000000000000000FFFF00000100007F",  # the same as IPv6 writes it
    "00000000000000000000000001000000",  # ::1
)


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; whether the process was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def mentioning(text: str) -> list[str]:
    """Command lines, of processes other than this one, that mention a text."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    commands = (command_of(pid) for pid in pids if pid != os.getpid())
    return [command for command in commands if text in command]
