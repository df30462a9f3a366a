"""Sweeps on a real, local Ray with a training that costs nothing."""

from __future__ import annotations

import http.client
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from orchestrator.cluster.nodes import check_storage
from orchestrator.cluster.resources import check_resources, node_resources, slots_of
from orchestrator.cluster.session import RayOptions, ray_session
from orchestrator.config.resources import ResourceConfig
from orchestrator.config.sweep import SweepConfig
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.trials.runner import run_trials
from shapca.config import RuntimeConfig
from shapca.errors import InputError
from shapca.storage import FolderStore
from tests.orchestrator.fakes import (
    ALWAYS_DIES,
    DIES,
    DIVERGES,
    EXHAUSTS,
    PLACE,
    RAISES,
    epochs_trained,
    execute,
    open_sweep,
    results,
    sweep_config,
)
from tests.paths import ROOT
from tests.soak.processes import descendants, listening


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)  # trials import the fakes
    with ray_session(RayOptions()):
        yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def run_on_ray(conductor: Conductor, folder: Path, slots: int) -> None:
    run_trials(
        conductor,
        conductor.history.sweep,
        storage=str(folder),
        runtime=RuntimeConfig(),
        slots=slots,
        on_change=lambda: None,
        check=lambda: None,
        training=PLACE,
    )


def test_one_slot_on_ray_equals_the_plain_loop(ray_here: None, tmp_path: Path) -> None:
    plain = open_sweep(tmp_path / "plain", sweep_config())
    execute(plain, tmp_path / "plain")
    on_ray = open_sweep(tmp_path / "ray", sweep_config())
    run_on_ray(on_ray, tmp_path / "ray", slots=1)
    assert on_ray.history.is_complete()
    assert results(on_ray) == results(plain)
    assert epochs_trained(tmp_path / "ray") == epochs_trained(tmp_path / "plain")
    # All cells were served by one process, since none failed.
    pids = {path.name for path in tmp_path.glob("ray/cells/*/processes/*")}
    assert len(pids) == 1


def failing(*dropouts: float) -> SweepConfig:
    return SweepConfig.model_validate(
        {
            "name": "failing",
            "experiment": {"data": {"dataset": "fake"}, "optimisation": {"epochs": 4}},
            "space": {"head.dropout": {"type": "choice", "values": list(dropouts)}},
            "protocol": {"kind": "single", "sampler": "grid", "trials": 9},
            "scheduler": {"kind": "none"},
        }
    )


def test_lost_processes_are_replaced_and_failed_ones_given_up(
    ray_here: None, tmp_path: Path
) -> None:
    conductor = open_sweep(
        tmp_path, failing(DIES, RAISES, 0.1, ALWAYS_DIES, 0.2, EXHAUSTS, DIVERGES)
    )
    run_on_ray(conductor, tmp_path, slots=2)
    ends = conductor.history.ended
    assert {number: end.status for number, end in ends.items()} == {
        1: "finished",
        2: "failed",
        3: "finished",
        4: "failed",
        5: "finished",
        6: "failed",
        7: "diverged",
    }
    # Out of memory is not tried again: one process trained, and another only told of it.
    assert "batch size 28, peak 12 MiB" in (ends[6].reason or "")
    exhausted = tmp_path / "cells" / conductor.history.proposed[6].cell
    assert len(list(exhausted.glob("processes/*"))) == 1
    # The searcher learns that a loss was no number, rather than waiting for it.
    assert ends[7].reason == "the loss is nan"
    assert [item.state for item in conductor.history.protocol.history()] == [
        {"finished": "finished"}.get(ends[number].status, "failed") for number in range(1, 8)
    ]
    assert ends[2].reason == "ValueError: this data makes no sense"
    assert ends[4].reason == "its process was lost four times"
    # The first cell went on from its checkpoint: no epoch was trained twice.
    first = tmp_path / "cells" / conductor.history.proposed[1].cell
    assert len(list(first.glob("trained/*"))) == 4
    assert len(list(first.glob("processes/*"))) == 2
    # The process that raised served no other cell.
    raised = tmp_path / "cells" / conductor.history.proposed[2].cell / "processes"
    others = {path.name for path in tmp_path.glob("cells/*/processes/*") if path.parent != raised}
    assert not {path.name for path in raised.glob("*")} & others


def test_an_error_of_the_driver_stops_the_trials_and_is_raised(
    ray_here: None, tmp_path: Path
) -> None:
    conductor = open_sweep(tmp_path, sweep_config())
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 40:
            raise InputError("the lease is gone")

    with pytest.raises(InputError, match="the lease is gone"):
        run_trials(
            conductor,
            conductor.history.sweep,
            storage=str(tmp_path),
            runtime=RuntimeConfig(),
            slots=2,
            on_change=lambda: None,
            check=check,
            training=PLACE,
        )
    assert not conductor.history.is_complete()


def test_this_machine_has_its_cores(ray_here: None, tmp_path: Path) -> None:
    nodes = node_resources()
    assert slots_of(nodes, ResourceConfig(cpu=1)) >= 1
    with pytest.raises(InputError, match="1000 CPUs and 3 GPUs, but the largest of 1 node has"):
        check_resources(nodes, ResourceConfig(cpu=1000, gpu=3))
    check_storage(str(tmp_path), FolderStore(tmp_path))


def test_ray_does_not_take_the_signal_that_ends_a_job(ray_here: None) -> None:
    # With Ray's own handler a driver that is asked to stop would exit as if it had failed.
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def answers_http(port: int) -> bool:
    """Whether something speaks HTTP there and says yes to one who has no token."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")
def test_a_local_ray_tells_nothing_to_those_without_its_token(ray_here: None) -> None:
    ports = listening([os.getpid(), *descendants(os.getpid())])
    assert len(ports) > 3
    assert [port for port in sorted(ports) if answers_http(port)] == []


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")
def test_a_local_ray_is_its_owners_alone(ray_here: None) -> None:
    """Nothing listens beyond loopback, and another user reads neither its token nor its files."""
    pids = [os.getpid(), *descendants(os.getpid())]
    assert listening(pids, beyond_loopback=True) == set()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    folder = Path(ray._private.worker._global_node.get_session_dir_path()).parent.parent
    assert folder.name.startswith("orchestrator-")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert kept
    assert [p for p in kept if os.environ["RAY_AUTH_TOKEN"].encode() in p.read_bytes()] == []
    if os.getuid() == 0:
        script = "import os, sys; os.setuid(65534); open(sys.argv[1]).read()"
        for path in (kept[0], *(Path(f"/proc/{pid}/environ") for pid in pids)):
            other = subprocess.run(
                [sys.executable, "-c", script, str(path)], capture_output=True, text=True
            )
            assert "PermissionError" in other.stderr or not path.exists(), path


NODES = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 3.0}, {"CPU": 4.0, "GPU": 1.0}]


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        (ResourceConfig(cpu=1), 15),
        (ResourceConfig(cpu=4), 3),
        (ResourceConfig(cpu=1, gpu=1), 3),
        (ResourceConfig(cpu=1, gpu=0.5), 6),
        (ResourceConfig(cpu=3, gpu=0.3), 3),
        (ResourceConfig(cpu=1, max_concurrent=2), 2),
        (ResourceConfig(cpu=0.1, gpu=0.1), 30),
    ],
)
def test_slots(resources: ResourceConfig, slots: int) -> None:
    assert check_resources(NODES, resources) == slots


def test_waiting_for_resources_takes_the_limit_as_it_is() -> None:
    asked = ResourceConfig(gpu=4, max_concurrent=5)
    assert check_resources(NODES, asked, wait=True) == 5
    assert check_resources([], ResourceConfig(gpu=4), wait=True) == 1
    with pytest.raises(InputError, match="--wait-for-resources"):
        check_resources(NODES, asked)
