"""The nodes of a cluster before the first trial: whether they see the storage and have the data."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.cluster.parcels.delivery import Delivery, delivered, is_here, package, wanted
from orchestrator.cluster.resources import living_nodes
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.address import is_remote, open_store
from shapca.errors import InputError
from shapca.runs.code import code_fingerprint
from shapca.storage import ObjectStore

Answer = TypeVar("Answer")
PATIENCE_SECONDS = 120.0


def ask_nodes(
    question: Callable[..., Answer], *arguments: Any, max_calls: int = 0
) -> dict[str, Answer]:
    """Run a function on every living node; its answers by the node's address and short id.

    Args:
        question: The function.
        arguments: What it is given.
        max_calls: How often a process runs it before it ends; 0: it goes on to other work.

    Raises:
        InputError: a node does not answer, or cannot run this project's code.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(num_cpus=0, max_retries=1, max_calls=max_calls)(question)
    asked = {}
    for node in living_nodes():
        strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        name = f"{node['NodeManagerAddress']} (node {node['NodeID'][:6]})"
        asked[name] = ask.options(scheduling_strategy=strategy).remote(*arguments)
    answers = {}
    for name, reference in asked.items():
        try:
            answers[name] = ray.get(reference, timeout=PATIENCE_SECONDS)
        except ray.exceptions.GetTimeoutError:
            raise InputError(f"{name} did not answer within {PATIENCE_SECONDS:g} s") from None
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, InputError):
                raise InputError(f"{name}: {cause}") from None
            raise InputError(
                f"{name} cannot run this project ({_last_line(cause or error)}). Install the same "
                "version there, or send it along with `orchestrator submit`"
            ) from None
    return answers


def is_alone() -> bool:
    """Whether the driver's own node is the only one."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    return all(node["NodeID"] == here for node in living_nodes())


def check_storage(storage: str, store: ObjectStore) -> None:
    """Make sure that every node sees the storage: a trial's checkpoint must outlive its node.

    Raises:
        InputError: a node does not see what the driver has written.
    """
    if is_alone():
        return
    probe = f"probes/{uuid.uuid4().hex}"
    store.put(probe, b"here")
    try:
        sees = ask_nodes(_sees, storage, probe)
    finally:
        store.delete(probe)
    if blind := [name for name, answer in sees.items() if not answer]:
        raise InputError(
            f"storage {storage}: {', '.join(blind)} cannot see it. A sweep over several nodes "
            "needs a storage that all of them share: a folder on a shared file system, or "
            "s3://bucket/prefix (--storage)"
        )


def check_code() -> None:
    """Make sure that every node runs the driver's code: results of both would be mixed.

    Raises:
        InputError: a node has other code.
    """
    if is_alone():
        return
    here = code_fingerprint()
    if other := [name for name, code in ask_nodes(code_fingerprint).items() if code != here]:
        raise InputError(
            f"{', '.join(other)}: other code of this project than on the driver's node. Install "
            "the same version there, or send it along with `orchestrator submit`"
        )


def deliver(
    sweep: SweepConfig, store: ObjectStore, data_root: Path, *, more_to_come: bool
) -> Delivery | None:
    """Package data and local weights where a node lacks them; None if every node has them.

    Args:
        sweep: The sweep's file.
        store: The storage, which every node sees.
        data_root: Folder of the prepared data sets on the driver's node.
        more_to_come: Nodes may join that cannot be asked yet.
    """
    sent = delivered(store, sweep.name)
    if is_alone() and not more_to_come and sent is None:
        return None
    delivery = wanted(sweep, data_root, sent)
    if not more_to_come and all(ask_nodes(is_here, delivery, data_root).values()):
        return None
    package(store, sweep.name, delivery, data_root)
    return delivery


def _sees(storage: str, name: str) -> bool:
    """Whether this node sees an object of the storage; a folder that is absent is not made."""
    if not is_remote(storage) and not Path(storage).is_dir():
        return False
    try:
        return open_store(storage).get(name) is not None
    except InputError:  # no access to the bucket from there
        return False


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"
