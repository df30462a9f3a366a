"""Contexts from many workers: pictures go out through Ray, records come back as they are made.

What a record says does not depend on who made it: its seed comes from the picture, and the same
function answers as in `shapca contexts generate`. Pictures travel through Ray's object store, so
workers need no folder of the driver's; a model's folder, or its copy in the Hugging Face cache, has
to be on every node. Only what workers hold is on the way, so that memory does not grow with the
pictures.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from orchestrator.cluster.resources import node_resources, slots_of
from orchestrator.cluster.session import RayOptions, first_line, ray_session
from orchestrator.cluster.watch import NodesFailedError, watched
from orchestrator.config.resources import ResourceConfig
from shapca.config import is_local_path
from shapca.contexts.answering import Answered, Picture, answer_pictures
from shapca.contexts.generators.generator import Generator, Identity
from shapca.contexts.generators.opening import open_generator
from shapca.contexts.run import Answers
from shapca.contexts.settings import GenerationSettings
from shapca.errors import InputError
from shapca.words import counted

IN_FLIGHT = 2
"""Batches that a worker holds: one at work and one waiting, so that none is idle or hoards."""
RESTARTS = 3
"""New processes for each worker when some are lost, with their batches."""


class ContextWorker:
    """A process of its own that loads the generator once and answers batch after batch.

    Args:
        settings: What is generated.
        identity: Kept with each record.
    """

    def __init__(self, settings: GenerationSettings, identity: Identity) -> None:
        self._settings, self._identity = settings, identity
        self._generator: Generator | None = None
        self._error: InputError | None = None
        try:
            self._generator = open_generator(settings)
        except InputError as error:  # told by the first batch, and not taken for a lost process
            self._error = error

    def answer(self, pictures: Sequence[Picture]) -> Answered:
        """What comes of a batch."""
        if self._generator is None:
            return Answered([], self._error)
        return answer_pictures(self._generator, pictures, self._settings, self._identity)


@dataclass(frozen=True)
class Spread:
    """An `Execute` of `generate_contexts` that answers on Ray.

    Attributes:
        ray: How to reach it.
        workers: What one occupies, and how many there are; None: as many as fit.
        worker: What runs there.
    """

    ray: RayOptions
    workers: ResourceConfig
    worker: type[ContextWorker] = ContextWorker

    def __call__(
        self, batches: Iterable[Sequence[Picture]], settings: GenerationSettings, identity: Identity
    ) -> Answers:
        """Answer batches, in whatever order they are done.

        Raises:
            InputError: Ray cannot be reached, or workers do not fit on it.
            NodesFailedError: workers were lost again and again.
            RayLostError: Ray is gone.
        """
        with ray_session(self.ray), watched(is_local=self.ray.cluster is None):
            import ray

            waiting = iter(batches)
            first = list(islice(waiting, self._num_workers()))
            settings = settings_for_worker(settings, len(first))
            worker = ray.remote(num_cpus=self.workers.cpu, num_gpus=self.workers.gpus)(self.worker)
            yield from answers_of(
                lambda: worker.remote(settings, identity), len(first), chain(first, waiting)
            )

    def _num_workers(self) -> int:
        workers, nodes = self.workers, node_resources()
        asked, slots = workers.max_concurrent, slots_of(nodes, workers)
        if slots < (asked or 1) and not self.ray.wait_for_resources:
            raise InputError(
                f"--workers {asked or 1}: with {counted(workers.cpu, 'CPU')} and "
                f"{counted(workers.gpus, 'GPU')} each, only {slots} would fit on "
                f"{counted(len(nodes), 'node')}. Lower --workers, --cpus-per-worker or "
                "--gpus-per-worker, or pass --wait-for-resources if nodes are still to come"
            )
        return asked or max(1, slots)


def settings_for_worker(settings: GenerationSettings, num: int) -> GenerationSettings:
    """The settings of one of several workers, whose working directory may be another."""
    endpoint = settings.endpoint
    if endpoint.requests_per_minute is not None:
        share = endpoint.requests_per_minute / num
        endpoint = dataclasses.replace(endpoint, requests_per_minute=share)
    generator = settings.generator
    if settings.kind == "hf" and is_local_path(settings.name):
        generator = f"hf:{Path(settings.name).expanduser().absolute()}"
    return dataclasses.replace(settings, endpoint=endpoint, generator=generator)


def answers_of(
    start: Callable[[], Any], num: int, batches: Iterator[Sequence[Picture]]
) -> Iterator[Answered]:
    """What workers answer, in whatever order they are done.

    A batch whose worker is lost goes to another, be that a new one or one that was there: where a
    node is gone there may be room for no new one.

    Args:
        start: Starts a worker, an actor of `ContextWorker`.
        num: Workers.
        batches: What they answer.

    Raises:
        NodesFailedError: more of them were lost than `RESTARTS` allows.
    """
    import ray

    at_work: dict[Any, tuple[Any, Sequence[Picture] | None]] = {}  # None: it starts
    free: deque[Any] = deque()
    again: deque[Sequence[Picture]] = deque()
    lost: set[Any] = set()

    def hire() -> None:
        worker = start()
        at_work[worker.__ray_ready__.remote()] = worker, None

    for _ in range(num):
        hire()
    while True:
        while free and (batch := again.popleft() if again else next(batches, None)) is not None:
            worker = free.popleft()
            at_work[worker.answer.remote(batch)] = worker, batch
        if free and all(batch is None for _, batch in at_work.values()):
            return
        (done,), _ = ray.wait(list(at_work), num_returns=1)
        worker, batch = at_work.pop(done)
        try:
            answered = ray.get(done)
        except ray.exceptions.RayError as error:
            if batch is not None:
                again.append(batch)
            if worker in lost:
                continue
            lost.add(worker)
            if len(lost) > RESTARTS * num:
                raise NodesFailedError(
                    f"{counted(len(lost), 'worker')} lost, the last: {first_line(error)}"
                ) from None
            free = deque(other for other in free if other != worker)
            hire()
            continue
        free.extend([worker] * (1 if batch is not None else IN_FLIGHT))
        if batch is not None:
            yield answered
