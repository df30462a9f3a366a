"""Which process this is, so that another can tell later whether it still runs."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from pathlib import Path


@functools.cache
def machine() -> str:
    """This boot of this machine and its process namespace; the host's name elsewhere."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def born(pid: int) -> str:
    """When a process began, as the system counts it; empty where it is gone, or only its remains.

    Process ids are used again: two processes of one id differ in this.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        fields = status.rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        if not Path("/proc/self/stat").exists():
            return _alive_without_proc(pid)
        return ""


def num_cpus() -> int:
    """CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def this_process() -> str:
    """This process as one word without `-`, for `is_gone`."""
    return _word(os.getpid())


def is_gone(word: str) -> bool:
    """Whether the process of a word certainly runs no more: it ran on this machine."""
    place, _, rest = word.partition(".")
    pid, _, began = rest.partition(".")
    return place == _place() and pid.isdigit() and born(int(pid)) != began


@functools.cache
def _word(pid: int) -> str:
    return f"{_place()}.{pid}.{born(pid)}"


@functools.cache
def _place() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:8]


def _alive_without_proc(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "alive"
    return "alive"
