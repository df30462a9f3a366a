"""Contexts from many workers: pictures go out through Ray Data, records come back as they are made.

What a record says does not depend on who made it: its seed comes from the picture, and the same
function answers as in `shapca contexts generate`. Pictures travel through Ray's object store, so
workers need no folder of the driver's; a model's folder, or its copy in the Hugging Face cache, has
to be on every node.
"""

from __future__ import annotations

import dataclasses
import logging
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cluster.resources import node_resources, slots_of
from orchestrator.cluster.session import RayOptions, ray_session
from orchestrator.cluster.watch import watched
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
"""New processes that a worker gets when it is lost, and further tries of its batch."""


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
        except InputError as error:  # told by the first batch: Ray would start it again and again
            self._error = error

    def __call__(self, table: Any) -> Any:
        """Answer the batches of a table; a table of what came of each (`packed`)."""
        return packed([self._answered(pictures) for pictures in unpacked(table)])

    def _answered(self, pictures: Sequence[Picture]) -> Answered:
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
            RayLostError: Ray is gone.
        """
        with ray_session(self.ray), watched(is_local=self.ray.cluster is None):
            import ray
            import ray.data

            allowed = self._num_workers()
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.print_on_execution_start = False
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)
            # A block a batch, and a task a block: a batch comes back as soon as it is done.
            blocks = [ray.put(packed([batch])) for batch in batches]
            num = min(allowed, len(blocks))
            answered = ray.data.from_arrow_refs(blocks).map_batches(
                self.worker,
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(
                    size=num, max_tasks_in_flight_per_actor=IN_FLIGHT
                ),
                fn_constructor_args=(settings_for_worker(settings, num), identity),
                num_cpus=self.workers.cpu,
                num_gpus=self.workers.gpus,
                max_restarts=RESTARTS,
                max_task_retries=RESTARTS,
            )
            for table in answered.iter_batches(batch_size=None, batch_format="pyarrow"):
                yield from unpacked(table)

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


def packed(values: Sequence[Any]) -> Any:
    """Values as an Arrow table of a row each, in which Ray Data moves them among our own tasks."""
    import pyarrow

    rows = pyarrow.array([pickle.dumps(value) for value in values], pyarrow.large_binary())
    return pyarrow.table({"pickled": rows})


def unpacked(table: Any) -> list[Any]:
    """The inverse of `packed`."""
    return [pickle.loads(row) for row in table["pickled"].to_pylist()]
