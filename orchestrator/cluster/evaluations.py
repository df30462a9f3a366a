"""Evaluations of finished cells on a cluster's nodes: the driver's own may have no GPU.

What a node finds goes to the cell's place in the storage, where the driver then reads it; a task
that is lost costs nothing but the driver's own evaluation of that cell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from orchestrator.cluster.nodes import check_code, check_storage, is_alone
from orchestrator.cluster.parcels.delivery import Delivery, pack_files, parts_of
from orchestrator.cluster.resources import check_resources, node_resources
from orchestrator.cluster.session import RayOptions, first_line, ray_session
from orchestrator.config.resources import ResourceConfig
from orchestrator.store.address import open_store
from orchestrator.store.cells import CellStore
from shapca.config import ExperimentConfig, RuntimeConfig


@dataclass(frozen=True)
class Task:
    """One evaluation of a finished cell.

    Attributes:
        cell: Its key.
        data: Name of the data set.
        reads: What the model reads: tells which parts of the data set a node needs.
        kind: `scores` of its test split, or `predictions` for a picture of posts.
        contexts: Context set to read there; None: the one of the same name.
        label_map: The model's types to the data set's.
    """

    cell: str
    data: str
    reads: ExperimentConfig
    kind: Literal["scores", "predictions"] = "scores"
    contexts: str | None = None
    label_map: Mapping[str, str] = field(default_factory=dict)


def evaluate_on_nodes(
    tasks: Sequence[Task],
    *,
    storage: str,
    runtime: RuntimeConfig,
    resources: ResourceConfig,
    options: RayOptions,
    on_done: Callable[[Task, str | None], None],
) -> None:
    """Evaluate on the nodes of a cluster, as many at once as trials would be.

    Args:
        tasks: What to evaluate.
        storage: Absolute address of the storage, which every node sees.
        runtime: Device, threads and workers; its data root holds the data sets here.
        resources: Of one evaluation, as of one trial.
        options: How to reach the cluster.
        on_done: Called after each task, with what went wrong if something did.

    Raises:
        InputError: the cluster is not reached, lacks the resources or does not see the storage.
    """
    import ray

    threads = runtime.num_threads or max(1, int(resources.cpu))
    store = open_store(storage)
    with ray_session(options):
        check_resources(node_resources(), resources, wait=options.wait_for_resources)
        check_storage(storage, store)
        check_code()
        record = None
        if options.wait_for_resources or not is_alone():
            root, data = runtime.data_root, defaultdict[str, dict[str, str]](dict)
            for task in tasks:
                data[task.data].update(parts_of(root / task.data, task.reads))
            delivery = Delivery(dict(data))
            pack_files(store, delivery, root)
            record = delivery.to_json()
        settings = runtime.model_copy(update={"num_threads": threads}).model_dump(mode="json")
        run = ray.remote(num_cpus=resources.cpu, num_gpus=resources.gpus, max_retries=3)(evaluate)
        waiting = {run.remote(task, storage, settings, record): task for task in tasks}
        while waiting:
            (done,), _ = ray.wait(list(waiting))
            task, reason = waiting.pop(done), None
            try:
                ray.get(done)
            except ray.exceptions.RayError as error:
                reason = first_line(getattr(error, "cause", None) or error)
            on_done(task, reason)


def evaluate(
    task: Task, storage: str, runtime: Mapping[str, Any], delivery: Mapping[str, Any] | None
) -> None:
    """Evaluate on this node; the record goes to the storage."""
    from orchestrator.store.predictions import predictions_of
    from shapca.data.prepared import PreparedData
    from shapca.evaluation import evaluate_run

    settings = RuntimeConfig.model_validate(runtime)
    cells = CellStore(open_store(storage, make=False))
    root: Path = settings.data_root
    if delivery is not None:
        root = Delivery.from_json(delivery).root_of(cells.store, task.data, root)
    data = PreparedData.load(root / task.data)
    if task.kind == "predictions":
        predictions_of(cells, task.cell, data, settings)
    else:
        evaluate_run(
            cells.run_store(task.cell),
            data,
            split="test",
            contexts=task.contexts,
            label_map=task.label_map,
            runtime=settings,
        )
