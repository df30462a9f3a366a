"""What the nodes have, and how many trials run on them at once."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.config.resources import ResourceConfig
from shapca.errors import InputError
from shapca.storage.processes import num_cpus
from shapca.words import counted

SHARE = 0.25
"""The least part of a GPU that is worth a word when it stays idle."""
SECONDS_BETWEEN_CHECKS = 2.0


def slots_of(nodes: list[dict[str, float]], resources: ResourceConfig) -> int:
    """Trials that fit on the nodes at once.

    Args:
        nodes: Resources of each node.
        resources: What one trial occupies.
    """
    asked = {"CPU": resources.cpu} | ({"GPU": resources.gpus} if resources.gpus else {})
    fits = ([node.get(kind, 0.0) / asked[kind] for kind in asked] for node in nodes)
    return sum(math.floor(min(times) + 1e-9) for times in fits)


def idle(nodes: list[dict[str, float]], resources: ResourceConfig) -> str | None:
    """What no trial would use, and the value that would use it; None where nothing stays idle.

    GPUs come first: cores are named only where no GPU stays idle.

    Args:
        nodes: Resources of each node.
        resources: What one trial occupies.
    """
    fits = slots_of(nodes, resources)
    slots = min(fits, resources.max_concurrent or fits)
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    if slots == 0:
        return None
    if gpus >= 1 and not resources.gpus:
        return f"{_stay_idle(gpus, 'GPU')}: resources.gpu=1 trains on them"
    for kind, total, each in (("GPU", gpus, resources.gpus), ("core", cpus, resources.cpu)):
        free = total - slots * each
        if free < (SHARE if kind == "GPU" else 1):
            continue
        if slots < fits:
            more: str | None = f"resources.max_concurrent={fits} runs {fits} trials at once"
        elif kind == "GPU":
            more = _better_gpu_use(nodes, resources, slots)
        else:
            more = _better_core_use(nodes, resources, slots)
        if more:
            return f"{_stay_idle(free, kind)}: {more}"
    return None


def _better_gpu_use(
    nodes: list[dict[str, float]], resources: ResourceConfig, slots: int
) -> str | None:
    by_gpu = [(math.floor(node.get("GPU", 0.0) / resources.gpus + 1e-9), node) for node in nodes]
    if (wanted := sum(num for num, _ in by_gpu)) > slots:
        cpu = min(node.get("CPU", 0.0) / num for num, node in by_gpu if num)
        cpu = float(math.floor(cpu)) or math.floor(100 * cpu) / 100
        if cpu < 1 and (wanted - slots) * resources.gpus < 1:
            return None  # a step keeps a core busy: more trials than cores only share its time
        return f"resources.cpu={cpu:g} (now {resources.cpu:g}) runs {wanted} trials at once"
    share = 1 / (math.floor(1 / resources.gpus) + 1) if resources.gpus < 1 else 0.5
    share = math.floor(100 * share) / 100
    more = slots_of(nodes, resources.model_copy(update={"gpu": share}))
    if more <= slots:
        return None
    return f"resources.gpu={share:g} (now {resources.gpus:g}) runs {more} trials at once"


def _better_core_use(
    nodes: list[dict[str, float]], resources: ResourceConfig, slots: int
) -> str | None:
    """As many trials with more cores each; else more trials with fewer."""
    for cpu in range(math.ceil(max(node.get("CPU", 0.0) for node in nodes)), 0, -1):
        other = resources.model_copy(update={"cpu": cpu})
        if cpu > resources.cpu and slots_of(nodes, other) == slots:
            return f"resources.cpu={cpu} (now {resources.cpu:g}) gives them to the trials"
        if cpu < resources.cpu and (more := slots_of(nodes, other)) > slots:
            return f"resources.cpu={cpu} (now {resources.cpu:g}) runs {more} trials at once"
    return None


def _stay_idle(number: float, kind: str) -> str:
    return f"{counted(round(number, 2), kind)} {'stays' if number == 1 else 'stay'} idle"


def check_resources(
    nodes: list[dict[str, float]], resources: ResourceConfig, *, wait: bool = False
) -> int:
    """How many trials run at once.

    Raises:
        InputError: no node can meet what one trial asks for.
    """
    slots = slots_of(nodes, resources)
    if slots == 0 and not wait:
        largest = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
        gpus = max((node.get("GPU", 0.0) for node in nodes), default=0.0)
        raise InputError(
            f"resources: a trial asks for {counted(resources.cpu, 'CPU')} and "
            f"{counted(resources.gpus, 'GPU')}, but the largest of {counted(len(nodes), 'node')} "
            f"has {counted(largest, 'CPU')} and {counted(gpus, 'GPU')}. Lower "
            "resources.cpu or resources.gpu (--set resources.gpu=0), or pass "
            "--wait-for-resources if nodes are still to come"
        )
    if resources.max_concurrent is not None:
        return resources.max_concurrent if wait else min(slots, resources.max_concurrent)
    return max(1, slots)


def this_machine() -> dict[str, float]:
    """What a local Ray would offer; nothing is started for it."""
    import torch

    return {"CPU": float(num_cpus()), "GPU": float(torch.cuda.device_count())}


def node_resources() -> list[dict[str, float]]:
    """Resources of each living node."""
    return [node["Resources"] for node in living_nodes()]


def wait_for_gpu(check: Callable[[], None]) -> None:
    """Wait until a node with a GPU has come; being asked for one, an autoscaler starts it.

    Args:
        check: Called now and then; what it raises ends the waiting.
    """
    import ray

    if any(node.get("GPU") for node in node_resources()):
        return
    print("note: waiting for a node with a GPU", file=sys.stderr, flush=True)
    asked = ray.remote(num_cpus=0, num_gpus=1)(_nothing).remote()
    try:
        while not ray.wait([asked], timeout=SECONDS_BETWEEN_CHECKS)[0]:
            check()
    finally:
        ray.cancel(asked)


def _nothing() -> None:
    """Ask for resources alone."""


def living_nodes() -> list[Mapping[str, Any]]:
    """Ray's records of the nodes that are alive."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]
