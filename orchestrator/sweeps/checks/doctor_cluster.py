"""What `doctor` asks of Ray and its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.cluster.nodes import ask_nodes, check_storage
from orchestrator.cluster.resources import (
    check_resources,
    idle,
    node_resources,
    this_machine,
)
from orchestrator.cluster.scratch import socket_place
from orchestrator.cluster.session import RayOptions, ray_session
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.address import is_remote, open_store
from orchestrator.sweeps.checks.doctor import Finding, Level, versions
from shapca.errors import InputError
from shapca.words import counted


def examine_machine(sweep: SweepConfig | None) -> Iterator[Finding]:
    """This machine, where no cluster is named: a sweep starts a Ray of its own."""
    here = this_machine()
    try:
        shown = f"no cluster is named: each sweep starts a Ray of its own, in {socket_place()}"
        yield Finding("ok", "ray", shown)
    except InputError as error:
        yield Finding("fail", "ray", str(error), "set TMPDIR")
    shown = f"{counted(here['CPU'], 'CPU')}, {counted(here['GPU'], 'GPU')} that torch can use"
    yield _resources(sweep, [here], shown)


def examine_cluster(address: str, sweep: SweepConfig | None, storage: str) -> Iterator[Finding]:
    """A cluster: reachable, its nodes equal to this one, their GPUs usable, its storage shared."""
    try:
        with ray_session(RayOptions(address)):
            yield from _examine_nodes(sweep, storage)
    except InputError as error:
        yield Finding("fail", "ray", str(error), "check --address; `ray status` on the head")


def _examine_nodes(sweep: SweepConfig | None, storage: str) -> Iterator[Finding]:
    nodes = node_resources()
    yield Finding("ok", "ray", f"{counted(len(nodes), 'node')} in the cluster")
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    shown = f"{counted(cpus, 'CPU')} and {counted(gpus, 'GPU')} on {counted(len(nodes), 'node')}"
    yield _resources(sweep, nodes, shown)
    here = versions()
    for name, there in ask_nodes(versions).items():
        other = {key: there[key] for key in here if there[key] != here[key]}
        if other:
            shown = ", ".join(f"{key} is {there[key]}, here {here[key]}" for key in other)
            remedy = "install requirements.lock and this version there, or `orchestrator submit`"
            yield Finding("fail", "versions", f"{name}: {shown}", remedy)
        else:
            yield Finding("ok", "versions", f"{name}: as here")
    for name, (logical, usable) in ask_nodes(count_gpus).items():
        if logical > usable:
            shown = f"{name}: Ray counts {counted(logical, 'GPU')}, torch can use {usable}"
            remedy = "trials train on the CPU there; install torch with CUDA, or correct --num-gpus"
            yield Finding("warn", "gpus", shown, remedy)
    if not is_remote(storage) and not Path(storage).exists():
        shown = f"{storage} does not exist yet, so whether every node sees it is unknown"
        yield Finding("warn", "shared storage", shown, f"make the folder and run again: {storage}")
        return
    try:
        check_storage(storage, open_store(storage))
    except InputError as error:
        yield Finding("fail", "shared storage", str(error), "give --storage a place that all share")
    else:
        yield Finding("ok", "shared storage", f"every node sees {storage}")


def count_gpus() -> tuple[float, int]:
    """GPUs that Ray counts on this node, and those that torch can use.

    The asking task occupies none, so that it sees what the machine has.
    """
    import os

    import ray

    here = ray.get_runtime_context().get_node_id()
    logical = next(node["Resources"].get("GPU", 0.0) for node in ray.nodes()
                   if node["NodeID"] == here)  # fmt: skip
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    import torch

    return logical, torch.cuda.device_count()


def _resources(sweep: SweepConfig | None, nodes: list[dict[str, float]], shown: str) -> Finding:
    if sweep is None:
        return Finding("ok", "resources", shown)
    try:
        slots = check_resources(nodes, sweep.resources)
    except InputError as error:
        remedy = "--set resources.gpu=0, or add nodes that have enough"
        return Finding("fail", "resources", str(error), remedy)
    shown = f"{shown}: {counted(slots, 'trial')} at once"
    if (unused := idle(nodes, sweep.resources)) is None:
        return Finding("ok", "resources", shown)
    what, _, remedy = unused.partition(": ")
    level: Level = "warn" if "GPU" in what else "ok"
    return Finding(level, "resources", f"{shown}, {what}", remedy)
