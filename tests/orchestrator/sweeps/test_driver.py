"""The driver as a process: run again, killed, interrupted, and twice at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.sweeps.record.event_log import Ended, EventLog, Proposed
from orchestrator.tracking.run_document import read_runs
from shapca.storage import FolderStore
from tests.orchestrator.fakes import epochs_trained, trained_epochs
from tests.orchestrator.publishing import runs, snapshot, tracked
from tests.orchestrator.servers import Server, free_port
from tests.paths import ROOT
from tests.soak.processes import kill, mentioning, of_kind


def start(storage: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.orchestrator.drive", str(storage), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, error = process.communicate(timeout=400)
    assert process.returncode == 0, error
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def wait_for_epochs(process: subprocess.Popen[str], storage: Path, number: int) -> None:
    deadline = time.monotonic() + 300
    while epochs_trained(storage) < number:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def decisions(storage: Path) -> list[tuple[Any, ...]]:
    """Proposals and their ends, times aside."""
    events = EventLog.load(FolderStore(storage), "small").events
    proposed = {e.number: e for e in events if isinstance(e, Proposed)}
    ended = {e.number: e for e in events if isinstance(e, Ended)}
    return [
        (number, proposed[number].phase, proposed[number].cell, end.status, end.epoch, end.value)
        for number, end in sorted(ended.items())
    ]


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path
) -> tuple[Path, dict[str, Any]]:
    """A sweep that nothing happened to, followed by MLflow: its storage, and what it printed."""
    storage = tmp_path_factory.mktemp("undisturbed")
    shutil.copy(mlflow_template, storage / "mlflow.db")
    return storage, finish(start(storage, "--tracking-uri", f"sqlite:///{storage}/mlflow.db"))


def test_a_finished_sweep_run_again_trains_nothing_and_starts_no_ray(
    undisturbed: tuple[Path, dict[str, Any]],
) -> None:
    storage, first = undisturbed
    trained, began = epochs_trained(storage), time.monotonic()
    again = finish(start(storage))
    assert time.monotonic() - began < 10
    assert epochs_trained(storage) == trained
    assert again["winner"] == first["winner"]
    assert again["configurations"] == first["configurations"]
    for module in ("ray", "torch", "mlflow", "optuna"):
        assert module not in again["modules"]


@pytest.mark.slow
def test_killed_drivers_lose_nothing(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path, mlflow_uri: str
) -> None:
    whole, first = undisturbed
    place = Path(tempfile.mkdtemp(dir="/tmp", prefix="k-"))  # short enough for Ray's sockets
    temporary = {"TMPDIR": str(place)}
    for epochs in (3, 9):
        process = start(tmp_path, "--tracking-uri", mlflow_uri, FAKE_SECONDS="0.1", **temporary)
        wait_for_epochs(process, tmp_path, epochs)
        assert len(list(place.glob("orchestrator-*"))) == 2  # for Ray, and for Tune
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    last = finish(start(tmp_path, "--tracking-uri", mlflow_uri, **temporary))
    assert list(place.glob("orchestrator-*")) == []
    assert mentioning(str(place)) == []
    shutil.rmtree(place)

    assert decisions(tmp_path) == decisions(whole)
    assert last["configurations"] == first["configurations"]
    trained = trained_epochs(tmp_path)
    assert len(trained) == len(set(trained))  # no epoch was trained twice
    assert set(trained) <= set(trained_epochs(whole))
    documents = read_runs(FolderStore(tmp_path), "small")
    assert all(document.status != "running" for document in documents.values())
    assert tracked_states(mlflow_uri) == {
        key: {"finished": "FINISHED", "killed": "KILLED", "failed": "FAILED"}[document.status]
        for key, document in documents.items()
    }
    # The confirm seed with the best validation F1 is the registered champion, once.
    scores = last["winner"]["val_f1"]
    champion = last["winner"]["cells"][max(scores, key=lambda seed: scores[seed])]
    assert registered(mlflow_uri) == [champion]
    finish(start(tmp_path, "--tracking-uri", mlflow_uri))
    assert registered(mlflow_uri) == [champion]


def registered(uri: str) -> list[str]:
    """Cells of the registered versions; the alias means the last one."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    versions = sorted(client.search_model_versions("name = 'small'"), key=lambda v: int(v.version))
    named = client.get_model_version_by_alias("small", "champion")
    assert named.version == versions[-1].version
    return [version.tags["cell"] for version in versions]


def tracked_states(uri: str) -> dict[str, str]:
    from mlflow import MlflowClient

    from orchestrator.tracking.client.client import RUN_KEY

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    states = {run.data.tags[RUN_KEY]: run.info.status for run in runs}
    assert len(states) == len(runs)  # no run is there twice
    return states


def test_an_outage_from_start_to_end_is_made_up_for(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path, mlflow_uri: str
) -> None:
    whole, first = undisturbed
    storage, connections = tmp_path / "storage", tmp_path / "connections"
    server = Server(mlflow_uri, free_port())
    tracking = ("--tracking-uri", server.uri)
    found = finish(start(storage, *tracking, "--connections", str(connections)))
    assert found["configurations"] == first["configurations"]
    assert found["tracking"]["status"] == "behind"
    # Whoever tried the server, it was not the thread in which Tune's controller works.
    notes = [line.rsplit(" ", 1) for line in connections.read_text().splitlines()]
    assert {thread for thread, port in notes if int(port) == server.port} == {"mlflow-publisher"}

    try:
        server.start()
        for published in (len(read_runs(FolderStore(storage), "small")), 0):
            done = subprocess.run(
                [sys.executable, "-m", "orchestrator", "sync", "small", "--json",
                 "--storage", str(storage), *tracking],
                capture_output=True, text=True, check=True, timeout=200,
            )  # fmt: skip
            assert json.loads(done.stdout)["num_published"] == published
            shown = snapshot(server.uri, "small")
            ids = {key: run.info.run_id for key, run in runs(server.uri, "small").items()}
            if published:
                before = (shown, ids)
        assert (shown, ids) == before
    finally:
        server.kill()
    expected = tracked(f"sqlite:///{whole}/mlflow.db", "small")
    assert tracked(mlflow_uri, "small") == expected
    assert {run["status"] for run in expected.values()} <= {"FINISHED", "KILLED"}


TERMINATE, HANG_UP = (
    pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGHUP)
)


@pytest.mark.parametrize("number", [signal.SIGINT, TERMINATE, HANG_UP])
def test_an_interrupt_ends_within_seconds_and_says_how_to_go_on(
    number: signal.Signals, undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    with socket.socket() as silent:  # a tracking server that takes calls and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = start(storage, "--tracking-uri", uri, FAKE_SECONDS="0.2")
        wait_for_epochs(process, storage, 3)
        began = time.monotonic()
        process.send_signal(number)
        out, error = process.communicate(timeout=60)
        assert time.monotonic() - began < 15
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert json.loads(out.splitlines()[-1])["status"] == "interrupted"
    documents = read_runs(FolderStore(storage), "small")
    assert {document.status for document in documents.values()} <= {"killed", "finished"}
    assert documents["sweep"].status == "killed"
    finish(start(storage))
    assert decisions(storage) == decisions(undisturbed[0])
    assert read_runs(FolderStore(storage), "small")["sweep"].status == "finished"


@pytest.mark.slow
def test_a_termination_while_ray_starts_is_an_interrupt(tmp_path: Path) -> None:
    process = start(tmp_path)
    deadline = time.monotonic() + 120
    while not of_kind(process.pid, "gcs"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert read_runs(FolderStore(tmp_path), "small")["sweep"].status == "killed"


@pytest.mark.slow
def test_a_sweep_whose_ray_lost_its_head_ends_soon_by_its_own_message(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    process = start(tmp_path, FAKE_SECONDS="0.3")
    wait_for_epochs(process, tmp_path, 3)
    (head,) = of_kind(process.pid, "gcs")
    kill(head)
    began = time.monotonic()
    _, error = process.communicate(timeout=90)
    assert time.monotonic() - began < 30
    assert process.returncode == 1
    assert "error: the Ray that this driver is connected to has died" in error
    assert "Nothing that was trained is lost" in error
    assert "Traceback" not in error
    documents = read_runs(FolderStore(tmp_path), "small")
    assert "running" not in {document.status for document in documents.values()}
    assert FolderStore(tmp_path).list("sweeps/small/beat/") == []
    finish(start(tmp_path))
    assert decisions(tmp_path) == decisions(undisturbed[0])


@pytest.mark.slow
def test_a_sweep_whose_storage_vanishes_stops_and_makes_none_anew(tmp_path: Path) -> None:
    storage, elsewhere = tmp_path / "storage", tmp_path / "elsewhere"
    process = start(storage, FAKE_SECONDS="0.2")
    wait_for_epochs(process, storage, 3)
    storage.rename(elsewhere)
    _, error = process.communicate(timeout=90)
    assert process.returncode == 1
    assert f"error: {storage}: the storage is gone" in error
    assert error.rstrip().endswith("the same command resumes once the storage can be used")
    assert "Traceback" not in error
    assert not storage.exists()
    elsewhere.rename(storage)
    finish(start(storage))


def test_a_second_driver_is_told_who_is_at_work(tmp_path: Path) -> None:
    first = start(tmp_path, FAKE_SECONDS="0.1")
    wait_for_epochs(first, tmp_path, 1)
    second = start(tmp_path)
    _, error = second.communicate(timeout=60)
    assert second.returncode == 2
    assert error.startswith("error: sweep small: process ")
    assert f"process {first.pid} on" in error
    assert error.count("\n") == 1
    assert len(finish(first)["configurations"]) == 5


def test_another_space_under_the_same_name_is_refused(
    undisturbed: tuple[Path, dict[str, Any]],
) -> None:
    from orchestrator.sweeps.record.declaration import declaration, declare
    from shapca.errors import InputError
    from tests.orchestrator.fakes import FakeFactory, sweep_config

    store = FolderStore(undisturbed[0])
    factory: Any = FakeFactory()
    more = sweep_config(protocol={"trials": 50, "shortlist": 9}, budget={"cells": 3})
    declare(store, "small", declaration(more, factory))
    for changed, difference in (
        (sweep_config(protocol={"sampler": "random"}), "protocol: sampler was tpe, now random"),
        (
            sweep_config(experiment={"optimisation": {"epochs": 9}}),
            "experiment: optimisation: epochs was 4, now 9",
        ),
        (
            sweep_config(space={"alignment.alpha": {"type": "float", "low": 0, "high": 2}}),
            "alignment.alpha: high was 1.0, now 2.0",
        ),
    ):
        with pytest.raises(InputError, match=difference):
            declare(store, "small", declaration(changed, factory))


def test_a_sweep_that_was_refused_before_its_first_trial_may_change(tmp_path: Path) -> None:
    from orchestrator.sweeps.record.declaration import declaration, declare
    from orchestrator.sweeps.record.event_log import Opened
    from shapca.errors import InputError
    from tests.orchestrator.fakes import FakeFactory, execute, open_sweep, sweep_config

    store, factory = FolderStore(tmp_path), cast(Any, FakeFactory())
    declare(store, "small", declaration(sweep_config(protocol={"sampler": "grid"}), factory))
    EventLog.load(store, "small").append(Opened(0.0, "driver", "code"))
    declare(store, "small", declaration(sweep_config(), factory))
    execute(open_sweep(tmp_path, sweep_config()), tmp_path, stop=lambda steps: steps > 1)
    with pytest.raises(InputError, match="sampler was tpe, now grid"):
        declare(store, "small", declaration(sweep_config(protocol={"sampler": "grid"}), factory))
