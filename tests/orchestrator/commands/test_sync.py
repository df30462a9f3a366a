"""`orchestrator sync` and `ui`, on what a whole sweep leaves in its storage."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.store.lease import Holder, Lease
from orchestrator.sweeps.record.declaration import remember
from orchestrator.tracking.publisher import Publisher
from orchestrator.tracking.run_document import read_runs
from shapca.errors import InputError
from shapca.storage import FolderStore, to_json
from tests.orchestrator.fakes import execute, open_sweep, sweep_config
from tests.orchestrator.publishing import snapshot
from tests.orchestrator.servers import free_port


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that ran to its end without tracking."""
    folder = tmp_path_factory.mktemp("storage")
    sweep = sweep_config()
    conductor = open_sweep(folder, sweep)
    execute(conductor, folder)
    conductor.documents.sweep_ended("finished", 100.0, "# the note")
    remember(FolderStore(folder), sweep)
    return folder


def sync(storage: Path, uri: str, *options: str) -> tuple[int, str]:
    arguments = ["sync", "small", "--storage", str(storage), "--tracking-uri", uri, *options]
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_sync_makes_mlflow_whole_and_a_second_time_changes_nothing(
    storage: Path, mlflow_uri: str
) -> None:
    assert sync(storage, mlflow_uri)[0] == 0
    shown = snapshot(mlflow_uri, "small")
    kinds = [run["tags"]["kind"] for run in shown.values()]
    assert (kinds.count("sweep"), kinds.count("cell")) == (1, 6 + 2 + 2)
    assert {run["status"] for run in shown.values()} <= {"FINISHED", "KILLED"}
    for key, run in shown.items():
        above = run["tags"].get("mlflow.parentRunId")
        if key.startswith("confirm-"):
            assert above.startswith("configuration-")
            assert {"z_test/f1", "val_best/f1"} <= set(run["latest"])
        elif key != "sweep":
            assert above == "sweep"
            assert "z_test/f1" not in run["latest"]
    averages = next(run for key, run in shown.items() if key.startswith("configuration-"))
    assert averages["latest"]["val_best/num_seeds"] == 2
    scores = {f"{split}/f1_{what}" for split in ("val_best", "z_test") for what in ("mean", "std")}
    assert scores <= set(averages["latest"])
    seeds = [run["latest"]["z_test/f1"] for key, run in shown.items() if key.startswith("confirm-")]
    assert averages["latest"]["z_test/f1_mean"] == pytest.approx(sum(seeds) / 2)
    assert shown["sweep"]["tags"]["mlflow.note.content"] == "# the note"

    code, output = sync(storage, mlflow_uri, "--json")
    record = json.loads(output)
    assert code == 0
    assert (record["num_published"], record["num_epochs"], record["refused"]) == (0, 0, {})
    assert snapshot(mlflow_uri, "small") == shown


def test_a_sweep_followed_live_looks_like_one_synchronised_later(
    tmp_path: Path, storage: Path, mlflow_uri: str
) -> None:
    store = FolderStore(tmp_path / "live")
    publisher = Publisher(store, "small", "live", mlflow_uri)
    publisher.gather_seconds = 0.01
    conductor = open_sweep(store.root, sweep_config(), on_change=publisher.notify)
    publisher.start()
    execute(conductor, store.root)
    conductor.documents.sweep_ended("finished", 100.0, "# the note")
    assert publisher.stop(120).status == "current"
    live = snapshot(mlflow_uri, "live")
    assert Publisher(store, "small", "live", mlflow_uri).reconcile().num_published == 0
    sync(storage, mlflow_uri)
    later = snapshot(mlflow_uri, "small")
    assert live.keys() == later.keys()
    for key, run in live.items():
        for part in ("name", "status", "params", "latest", "tags"):
            assert run[part] == later[key][part], (key, part)


def test_sync_leaves_a_sweep_at_work_to_its_driver(storage: Path, mlflow_uri: str) -> None:
    with Lease(FolderStore(storage), "small"):
        with pytest.raises(InputError, match="works on it"):
            sync(storage, mlflow_uri)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A sweep whose driver was killed on this machine, an hour after its last sign of life."""
    sweep = sweep_config()
    execute(open_sweep(tmp_path, sweep), tmp_path, stop=lambda steps: steps == 1)
    store = FolderStore(tmp_path)
    remember(store, sweep)
    gone = dataclasses.replace(Holder.current(), pid=2**22 + 1, born="0")
    store.put("sweeps/small/lease/000001.json", to_json(dataclasses.asdict(gone)))
    store.put("sweeps/small/beat/000001.json", to_json({"at": 5_000.0}))
    assert [run.status for run in read_runs(store, "small").values()] == ["running", "running"]
    return tmp_path


def test_sync_closes_the_runs_of_a_driver_that_was_killed(killed: Path, mlflow_uri: str) -> None:
    code, _ = sync(killed, mlflow_uri)
    assert code == 0
    shown = snapshot(mlflow_uri, "small")
    assert [run["status"] for run in shown.values()] == ["KILLED", "KILLED"]
    assert {run["tags"]["interrupted"] for run in shown.values()} == {"its driver is gone"}
    ends = {run.ended_at for run in read_runs(FolderStore(killed), "small").values()}
    assert ends == {5_000.0}


def test_status_closes_them_too_and_leaves_those_of_a_driver_at_work(
    killed: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    store = FolderStore(killed)
    arguments = ["status", "small", "--storage", str(killed)]
    with Lease(store, "small"):
        assert "running by process" in CliRunner().invoke(app, arguments).output
    assert [run.status for run in read_runs(store, "small").values()] == ["running", "running"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "its driver is gone: 2 runs closed" in result.output
    shown = snapshot(mlflow_uri, "small")
    assert [run["status"] for run in shown.values()] == ["KILLED", "KILLED"]
    assert "is gone" not in CliRunner().invoke(app, arguments).output


def test_an_outage_is_one_line_without_credentials(storage: Path) -> None:
    code, output = sync(storage, "http://me:s3cret@127.0.0.1:9")
    assert code == 1
    assert "does not answer" in output
    assert "s3cret" not in output


def test_the_ui_serves_the_store_on_loopback_until_interrupted(
    storage: Path, mlflow_uri: str
) -> None:
    sync(storage, mlflow_uri)
    port = free_port()
    code = "from orchestrator.cli import main; main()"
    arguments = ["ui", "--tracking-uri", mlflow_uri, "--port", str(port), "--no-browser"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert "MLflow UI over sqlite:" in process.stdout.readline()
        line = process.stdout.readline()  # the one address: the averages beside their charts
        assert line.startswith(f"  small: http://127.0.0.1:{port}/#/experiments/")
        assert line.endswith("viewStateShareKey=averages&compareRunsMode=CHART\n")
        shown = CliRunner().invoke(  # of a server the same address is shown, and no more is started
            app, ["ui", "--tracking-uri", f"http://127.0.0.1:{port}", "--no-browser"]
        )
        assert shown.exit_code == 0, shown.output
        assert shown.output.splitlines()[1] == line.rstrip("\n")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=small"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["experiment"]["name"] == "small"
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    finally:
        process.terminate()
        process.wait(30)


def test_a_ui_over_nothing_or_on_a_taken_port_is_bad_input(tmp_path: Path, mlflow_uri: str) -> None:
    result = CliRunner().invoke(app, ["ui", "--storage", str(tmp_path)])
    assert isinstance(result.exception, InputError)
    assert "nothing was tracked" in str(result.exception)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["ui", "--tracking-uri", mlflow_uri, "--port", port])
    assert isinstance(result.exception, InputError)
    assert "taken" in str(result.exception)


def test_the_ui_of_a_server_is_the_server() -> None:
    result = CliRunner().invoke(app, ["ui", "--tracking-uri", "http://me:s3cret@host:5000"])
    assert result.exit_code == 0
    assert "http://***@host:5000" in result.output
