"""Contexts from many workers: pictures go out through Ray Data, records come back as they are made.

What a record says does not depend on who made it: its seed comes from the picture, and the same
function answers as in `shapca contexts generate`. Pictures travel through Ray's object store, so
workers need no folder of the driver's; a model's folder, or its copy in the Hugging Face cache, has
to be on every node.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.cluster.resources import node_resources, slots_of
from orchestrator.cluster.session import RayOptions, ray_session
from orchestrator.cluster.watch import watched
from orchestrator.config.sweep import ResourceConfig
from shapca.config import is_local_path
from shapca.contexts.answering import Picture, Task, answer_pictures
from shapca.contexts.generators.endpoint import EndpointStopped
from shapca.contexts.generators.generator import Generator, Identity
from shapca.contexts.generators.opening import open_generator
from shapca.contexts.settings import GenerationSettings
from shapca.data.preparation.context_record import ContextRecord
from shapca.errors import InputError
from shapca.words import counted

IN_FLIGHT = 2
"""Batches that a worker holds: one at work and one waiting, so that none is idle or hoards."""
RESTARTS = 3
"""New processes that a worker gets when it is lost, and further tries of its batch."""


@dataclass(frozen=True)
class WorkerOptions:
    """How many workers there are, and what each occupies.

    Attributes:
        num: Workers, each with a model of its own; None: as many as fit.
        cpus: CPU cores of a worker.
        gpus: GPUs of a worker; a fraction shares one.
    """

    num: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0


class ContextWorker:
    """A process of its own that loads the generator once and answers batch after batch.

    Args:
        settings: What is generated.
        identity: Kept with each record.
    """

    def __init__(self, settings: GenerationSettings, identity: Identity) -> None:
        self._settings, self._identity = settings, identity
        self._generator: Generator | None = None
        self._error: dict[str, str] | None = None
        try:
            self._generator = open_generator(settings)
        except InputError as error:  # told by the first batch: Ray would start it again and again
            self._error = {"kind": "input", "message": str(error)}

    def __call__(self, table: Any) -> dict[str, list[str]]:
        """Answer a batch.

        Args:
            table: As `table_of` makes it.

        Returns:
            `line`: a record a row as JSON, and after them, if need be, one row that tells an error.
        """
        if self._generator is None:
            return {"line": [json.dumps({"error": self._error})]}
        pictures = pictures_in(table)
        answered = answer_pictures(self._generator, pictures, self._settings, self._identity)
        lines = [json.dumps(r.to_json(), ensure_ascii=False) for r in answered.records]
        if (error := answered.error) is not None:
            kind = "input" if isinstance(error, InputError) else "stopped"
            lines.append(json.dumps({"error": {"kind": kind, "message": str(error)}}))
        return {"line": lines}


@dataclass(frozen=True)
class Spread:
    """An `Execute` of `generate_contexts` that answers on Ray.

    Attributes:
        ray: How to reach it.
        workers: How many run there.
        worker: What runs there.
    """

    ray: RayOptions
    workers: WorkerOptions
    worker: type[ContextWorker] = ContextWorker

    def __call__(
        self,
        batches: Iterable[Sequence[Picture]],
        num_batches: int,
        settings: GenerationSettings,
        identity: Identity,
    ) -> Iterator[Sequence[ContextRecord]]:
        """Answer batches, in whatever order they are done.

        Raises:
            InputError: Ray cannot be reached, workers do not fit on it, or they cannot load.
            EndpointStopped: the endpoint will not answer anything more.
            RayLostError: Ray is gone.
        """
        with ray_session(self.ray), watched():
            num = min(self._num_workers(), num_batches)
            yield from self._stream(batches, num, settings_for_worker(settings, num), identity)

    def _num_workers(self) -> int:
        asked = self.workers
        nodes = node_resources()
        slots = slots_of(nodes, ResourceConfig(cpu=asked.cpus, gpu=asked.gpus))
        if slots < (asked.num or 1) and not self.ray.wait_for_resources:
            raise InputError(
                f"--workers {asked.num or 1}: with {counted(asked.cpus, 'CPU')} and "
                f"{counted(asked.gpus, 'GPU')} each, only {slots} would fit on "
                f"{counted(len(nodes), 'node')}. Lower --workers, --cpus-per-worker or "
                "--gpus-per-worker, or pass --wait-for-resources if nodes are still to come"
            )
        return asked.num or max(1, slots)

    def _stream(
        self,
        batches: Iterable[Sequence[Picture]],
        num: int,
        settings: GenerationSettings,
        identity: Identity,
    ) -> Iterator[Sequence[ContextRecord]]:
        import ray
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        # A block a batch, and a task a block: a record comes back as soon as its batch is done.
        blocks = [ray.put(table_of(batch)) for batch in batches]
        answered = ray.data.from_arrow_refs(blocks).map_batches(
            self.worker,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=num, max_tasks_in_flight_per_actor=IN_FLIGHT),
            fn_constructor_args=(settings, identity),
            num_cpus=self.workers.cpus,
            num_gpus=self.workers.gpus,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
        for table in answered.iter_batches(batch_size=None, batch_format="pyarrow"):
            lines = [json.loads(line) for line in table.column("line").to_pylist()]
            yield [ContextRecord.from_json(line) for line in lines if "error" not in line]
            for line in lines:
                raise_told(line)


def raise_told(line: dict[str, Any]) -> None:
    """Raise the error that a worker's line tells, if it does.

    Raises:
        InputError, EndpointStopped: as it was in the worker.
    """
    if (error := line.get("error")) is not None:
        kind = InputError if error["kind"] == "input" else EndpointStopped
        raise kind(error["message"])


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


def table_of(batch: Sequence[Picture]) -> Any:
    """Pictures as an Arrow table, the form in which Ray Data moves them without copies."""
    import pyarrow

    earlier = [picture.task.before for picture in batch]
    return pyarrow.table(
        {
            "image": pyarrow.array([p.task.image for p in batch], pyarrow.string()),
            "sha256": pyarrow.array([p.task.sha256 for p in batch], pyarrow.string()),
            "before": pyarrow.array(
                [None if b is None else json.dumps(b.to_json()) for b in earlier], pyarrow.string()
            ),
            "content": pyarrow.array([p.content for p in batch], pyarrow.large_binary()),
            "reason": pyarrow.array([p.reason for p in batch], pyarrow.string()),
        }
    )


def pictures_in(table: Any) -> list[Picture]:
    """The inverse of `table_of`."""
    return [
        Picture(
            Task(
                row["image"],
                row["sha256"],
                None
                if row["before"] is None
                else ContextRecord.from_json(json.loads(row["before"])),
            ),
            row["content"],
            row["reason"],
        )
        for row in table.to_pylist()
    ]
