"""Workers for tests of contexts on Ray: they answer at once, and one of them dies."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cluster.context_workers import ContextWorker
from shapca.contexts.answering import Answered, Picture
from shapca.contexts.generators.generator import Answer, Identity, Request
from shapca.contexts.settings import GenerationSettings

FOLDER = "CONTEXT_WORKERS_FOLDER"
NUM_WORKERS = 2
LONGEST_START_SECONDS = 240.0


class PlainGenerator:
    """Says the picture's hash and its seed."""

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        return [
            Answer(text=f"{hashlib.sha256(r.content).hexdigest()[:8]} {r.seed}", tokens=2)
            for r in requests
        ]


class CountedWorker(ContextWorker):
    """Leaves a file for each start, and one for each batch, named after its process."""

    def __init__(self, settings: GenerationSettings, identity: Identity) -> None:
        super().__init__(settings, identity)
        self._folder = Path(os.environ[FOLDER])
        self._note("start")
        if settings.name == "plain":
            self._generator = PlainGenerator()

    def answer(self, pictures: Sequence[Picture]) -> Answered:
        self._note("batch")
        # One that is quick to start would do everything before the other is there.
        deadline = time.monotonic() + LONGEST_START_SECONDS
        while len(list(self._folder.glob("start-*"))) < NUM_WORKERS:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {NUM_WORKERS} workers")
            time.sleep(0.02)
        return super().answer(pictures)

    def _note(self, what: str) -> None:
        (self._folder / f"{what}-{os.getpid()}-{time.monotonic_ns()}").touch()


class DyingWorker(CountedWorker):
    """The first of all workers to get a second batch dies of it."""

    def answer(self, pictures: Sequence[Picture]) -> Answered:
        mine = list(self._folder.glob(f"batch-{os.getpid()}-*"))
        if mine:
            try:
                (self._folder / "died").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().answer(pictures)
