"""What the nodes have, and how many trials run on them at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from orchestrator.config.sweep import ResourceConfig
from shapca.errors import InputError
from shapca.storage.processes import num_cpus
from shapca.words import counted


def slots_of(nodes: list[dict[str, float]], resources: ResourceConfig) -> int:
    """Trials that fit on the nodes at once.

    Args:
        nodes: Resources of each node.
        resources: What one trial occupies.
    """
    asked = {"CPU": resources.cpu} | ({"GPU": resources.gpu} if resources.gpu else {})
    fits = ([node.get(kind, 0.0) / asked[kind] for kind in asked] for node in nodes)
    return sum(math.floor(min(times) + 1e-9) for times in fits)


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
            f"{counted(resources.gpu, 'GPU')}, but the largest of {counted(len(nodes), 'node')} "
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


def living_nodes() -> list[Mapping[str, Any]]:
    """Ray's records of the nodes that are alive."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]
