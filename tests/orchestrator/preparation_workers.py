"""Blocks of pictures for tests of preparing on Ray: some are lost, some are done by other tools."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

from orchestrator.cluster import preparation_workers
from orchestrator.cluster.preparation_workers import Done
from shapca.errors import InputError

FOLDER = "PREPARATION_WORKERS_FOLDER"
decode_block = preparation_workers.decode_block  # the tests put others into its place


def noted_block(size: int, pictures: Any) -> Done:
    """Leaves a file named after its process."""
    (Path(os.environ[FOLDER]) / f"{os.getpid()}-{time.monotonic_ns()}").touch()
    return decode_block(size, pictures)


def dying_block(size: int, pictures: Any) -> Done:
    """The first of all is lost with its process."""
    try:
        (Path(os.environ[FOLDER]) / "died").touch(exist_ok=False)
    except FileExistsError:
        return decode_block(size, pictures)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def lost_block(size: int, pictures: Any) -> Done:
    """Lost each time."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def refusing_block(size: int, pictures: Any) -> Done:
    """On a node that lacks something."""
    raise InputError("something is not installed here")


def other_block(size: int, pictures: Any) -> Done:
    """By another Pillow."""
    return dataclasses.replace(decode_block(size, pictures), tools="Pillow 0.1")
