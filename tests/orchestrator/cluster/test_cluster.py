"""Sweeps over several nodes: `ray start` three times on loopback, with token authentication."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.store.address import open_store
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.event_log import Ended, EventLog
from orchestrator.tracking.run_document import read_runs
from shapca.data.preparation.prepare import prepare
from shapca.data.preparation.readers.own import OwnFormat
from shapca.data.prepared import PreparedData
from shapca.storage import FolderStore, ObjectStore
from tests.clouds import serve_s3
from tests.drawn_pictures import draw_pictures
from tests.factories import tiny_config, tiny_data
from tests.orchestrator.clusters import LocalCluster
from tests.paths import ROOT

pytest.importorskip("moto.server")

NUM_EPOCHS = 20
EPOCHS = f"experiment.optimisation.epochs={NUM_EPOCHS}"


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """A bucket `sweeps` on a server of moto's, as environment variables."""
    import boto3

    with serve_s3() as address, pytest.MonkeyPatch.context() as patch:
        environment = {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in environment.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="sweeps")
        yield environment


@pytest.fixture(scope="module")
def cluster(bucket: dict[str, str]) -> Iterator[LocalCluster]:
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))  # sockets need a short path
    running = LocalCluster(folder, environment={**bucket, "PYTHONPATH": str(ROOT)})
    yield running
    running.close()
    shutil.rmtree(folder, ignore_errors=True)


def space_file(folder: Path, name: str, **changes: Any) -> Path:
    """A grid over seeds of learning rates; each trial takes half a logical GPU."""
    experiment = tiny_config(**changes.pop("experiment", {}))
    tree = {
        "name": name,
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "space": {"optimisation.learning_rate": {"type": "choice", "values": [5e-3, 1e-3]}},
        "protocol": {"kind": "single", "sampler": "grid", "trials": 9},
        "scheduler": {"kind": "none"},
        "resources": {"cpu": 0.5, "gpu": 0.5},
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def run(cluster: LocalCluster, *command: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        env={**cluster.environment, **environment},
        cwd=cluster.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0, patience: float = 240) -> str:
    out, error = process.communicate(timeout=patience)
    assert process.returncode == code, out + error
    return out


def devices(store: ObjectStore) -> dict[str, set[str]]:
    """Cell to the devices that worked on it."""
    found: dict[str, set[str]] = {}
    for key in CellStore(store).statuses():
        record = json.loads(store.get(f"cells/{key}/run.json") or b"")
        found[key] = {environment["device"] for environment in record["environments"]}
    return found


def ends(store: ObjectStore, sweep: str) -> list[Ended]:
    return [event for event in EventLog.load(store, sweep).events if isinstance(event, Ended)]


def test_nodes_get_data_that_only_the_driver_has(
    cluster: LocalCluster, tiny_mner: PreparedData, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_mner.folder, data / "tiny-mner")
    space = space_file(tmp_path, "sent", experiment={"optimisation.epochs": 1})
    process = run(
        cluster, "-m", "tests.orchestrator.drive_hidden", space, "s3://sweeps/sent", data,
        RAY_ADDRESS=cluster.address,
    )  # fmt: skip
    found = json.loads(finish(process).splitlines()[-1])
    assert "cannot see it" in found["refused"]
    assert "s3://bucket/prefix" in found["refused"]
    assert found["cells"] == 0  # refused before anything was trained
    assert found["packaged"] == [True]
    assert not data.exists()
    assert found["outcome"]["counts"] == {"finished": 2, "reused": 0}
    store = open_store("s3://sweeps/sent")
    # Logical GPUs are bookkeeping: torch sees none here, and trains on the CPU.
    assert {device for used in devices(store).values() for device in used} == {"cpu"}
    received = {node: list(cluster.cache(node).glob("data/*/tiny-mner/images.npy")) for node in
                ("node1", "node2")}  # fmt: skip
    assert any(received.values())
    assert not cluster.cache("head").exists()


def test_two_nodes_prepare_what_one_machine_does(cluster: LocalCluster, tmp_path: Path) -> None:
    pictures = draw_pictures(tmp_path / "pictures", 40)
    (pictures / "p3.png").write_text("no picture")
    posts = [
        {"words": ["Mary", str(n)], "pos": ["PROPN", "NUM"], "entities": [], "image": f"p{n}.png"}
        for n in range(40)
    ]
    source = tmp_path / "posts.jsonl"
    source.write_text("\n".join(map(json.dumps, posts)), encoding="utf-8")
    own = OwnFormat("jsonl", split=(0.5, 0.25, 0.25), entity_types=("PER",))
    prepare("mine", source, tmp_path / "alone", own=own, images=pictures)
    finish(run(
        cluster, "-m", "orchestrator", "prepare", "mine", "--format", "jsonl", "--source", source,
        "--split", "0.5,0.25,0.25", "--labels", "PER", "--images", pictures,
        "--out", tmp_path / "spread", "--address", cluster.address,
    ))  # fmt: skip
    alone, spread = (contents(tmp_path / name) for name in ("alone", "spread"))
    assert spread == alone
    assert b'"broken": {"p3": "UnidentifiedImageError: no readable picture' in spread["images.json"]


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_a_study_evaluates_on_the_nodes(
    cluster: LocalCluster, tiny_mner: PreparedData, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_mner.folder, data / "tiny-mner")
    other = tiny_data(tmp_path / "other", num_train=4, num_valid=4, num_test=6, domain="festival")
    other.folder.rename(data / "elsewhere")
    experiment = tiny_config(**{"optimisation.epochs": 1, "image.encoder": "none"})
    tree = {
        "name": "moved",
        "title": "Moved",
        "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
        "data": {"home": {}},
        "columns": {"there": {"data": "home", "test_on": "elsewhere"}},
        "rows": {"Text": {"variant": "text-only"}},
        "seeds": [1, 2],
        "resources": {"cpu": 0.5, "gpu": 0.5},  # which the driver's own node has not
    }
    file = tmp_path / "moved.yaml"
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    process = run(
        cluster, "-m", "orchestrator", "study", file, "--data-root", data, "--tracking-uri", "none",
        "--storage", "s3://sweeps/moved", "--address", cluster.address, "--json",
    )  # fmt: skip
    out, error = process.communicate(timeout=240)
    assert process.returncode == 0, out + error
    assert "moved: 2 evaluations of trained models to do, on the cluster's nodes" in error
    evaluated = re.findall(r"moved: \d/2 cell \w+ on elsewhere(.*)", error)
    assert evaluated == ["", ""]
    (row,) = json.loads(out)[0]["table"]["rows"]
    assert row["cells"]["there"]["state"] == "done"


def wait_for(condition: Any, what: str, process: subprocess.Popen[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def has_epochs(store: ObjectStore) -> bool:
    return any("/epochs/" in name for name in store.list("cells/"))


def test_a_submitted_sweep_outlives_a_node_and_is_found_again(
    cluster: LocalCluster, tiny_mner: PreparedData, tmp_path: Path
) -> None:
    data, storage = tmp_path / "data", tmp_path / "storage"
    shutil.copytree(tiny_mner.folder, data / "tiny-mner")
    space = space_file(
        tmp_path,
        "cluster",
        experiment={"image.encoder": "none", "optimisation.patience": NUM_EPOCHS},
        resources={"cpu": 1, "gpu": 0.5},  # one trial a node
    )
    arguments = ["submit", space, "--address", cluster.job_server, "--storage", storage]
    arguments += ["--data-root", data, "--send-data", "--tracking-uri", "none"]
    arguments += ["--set", EPOCHS]
    storage.mkdir()
    first = run(cluster, "-m", "orchestrator", *arguments, "--no-wait")
    out = finish(first)
    assert "data packaged into the storage" in out
    assert "(attempt 1, " in out
    shutil.rmtree(data)  # the cluster has only what was packaged

    follower = run(cluster, "-m", "orchestrator", *arguments)  # the same command again
    store = FolderStore(storage)
    both = re.compile("cells/([0-9a-f]+)/epochs/")
    wait_for(lambda: len(set(both.findall(str(store.list("cells/"))))) == 2,
             "no epoch was trained", follower, 180)  # fmt: skip
    cluster.kill("node1")
    follower.send_signal(signal.SIGINT)
    assert "detached; the sweep keeps running" in finish(follower)
    follower = run(cluster, "-m", "orchestrator", *arguments)
    out = finish(follower)
    assert "is already at work" in out
    assert "succeeded" in out
    assert {end.status for end in ends(store, "cluster")} == {"finished"}
    assert len(ends(store, "cluster")) == 2
    for key in CellStore(store).statuses():
        epochs = [record["epoch"] for record in CellStore(store).epochs(key)]
        assert epochs == list(range(1, NUM_EPOCHS + 1))
    # One trial lost its node, and went on elsewhere from its checkpoint.
    assert min(end.trained for end in ends(store, "cluster")) < NUM_EPOCHS
    staged = {path.name for path in Path(cluster.folder).rglob("sweep.yaml")}
    assert staged  # the code went along, and nothing but the code:
    for package in Path(cluster.folder).rglob("runtime_resources/working_dir_files/*/"):
        assert {path.name for path in package.iterdir()} <= {"shapca", "orchestrator", "sweep.yaml"}

    where = ["--address", cluster.job_server, "--storage", storage]
    shown = json.loads(
        finish(run(cluster, "-m", "orchestrator", "status", space, *where, "--json"))
    )
    assert shown["job"]["status"] == "SUCCEEDED"
    assert shown["sweep"]["state"] == "complete"
    assert "succeeded already" in finish(run(cluster, "-m", "orchestrator", "stop", space, *where))


@pytest.mark.slow
def test_rays_own_command_does_as_well(
    cluster: LocalCluster, tiny_mner: PreparedData, tmp_path: Path
) -> None:
    """`ray job submit` from the project's root: what version control ignores stays there."""
    storage = tmp_path / "storage"
    storage.mkdir()
    experiment = {"image.encoder": "none", "optimisation.epochs": 1}
    space = space_file(tmp_path, "plain", experiment=experiment)
    command = ["-m", "ray.scripts.scripts", "job", "submit", "--address", cluster.job_server]
    command += ["--working-dir", ROOT, "--", "python", "-m", "orchestrator", "sweep", space]
    command += ["--storage", storage, "--data-root", tiny_mner.folder.parent]
    command += ["--tracking-uri", "none"]
    assert "succeeded" in finish(run(cluster, *command))
    assert [end.status for end in ends(FolderStore(storage), "plain")] == ["finished"] * 2


@pytest.mark.slow
def test_a_stopped_sweep_is_taken_up_by_a_further_attempt(
    cluster: LocalCluster, tiny_mner: PreparedData, tmp_path: Path
) -> None:
    storage = tmp_path / "storage"
    storage.mkdir()
    space = space_file(tmp_path, "stopped", experiment={"optimisation.epochs": 30})
    where = ["--address", cluster.job_server, "--storage", storage]
    arguments = ["submit", space, *where, "--data-root", tiny_mner.folder.parent]
    arguments += ["--tracking-uri", "none"]
    follower = run(cluster, "-m", "orchestrator", *arguments)
    store = FolderStore(storage)
    wait_for(lambda: has_epochs(store), "no epoch was trained", follower, 180)
    assert "stopped; submit it again" in finish(
        run(cluster, "-m", "orchestrator", "stop", space, *where)
    )
    assert "stopped" in finish(follower, code=1)
    documents = read_runs(store, "stopped")
    assert {document.status for document in documents.values()} <= {"killed", "finished"}

    fewer = ["--set", "budget.cells=1"]
    again = finish(run(cluster, "-m", "orchestrator", *arguments, *fewer))
    assert "(attempt 2, " in again
    assert "succeeded" in again


def test_the_submission_script_waits_for_a_node_that_is_still_to_come(
    cluster: LocalCluster, tiny_mner: PreparedData, tmp_path: Path
) -> None:
    """As `ray submit` runs it: copied to the head's home alone, with the options after SPACE."""
    space = space_file(
        tmp_path,
        "later",
        experiment={"image.encoder": "none", "optimisation.epochs": 1},
        resources={"cpu": 1, "gpu": 2, "max_concurrent": 1},
    )
    script = shutil.copy(
        ROOT / "orchestrator" / "cluster" / "deploy" / "run_sweep.py", cluster.folder
    )
    storage = tmp_path / "storage"
    command = [script, space, "--storage", storage, "--data-root", tiny_mner.folder.parent]
    command += ["--tracking-uri", "none"]
    here = {"RAY_ADDRESS": cluster.address, "SHAPCA_PROJECT": str(tmp_path / "none")}
    process = run(cluster, *command, "--wait-for-resources", **here)
    delivery = storage / "sweeps" / "later" / "delivery.json"
    wait_for(delivery.exists, "nothing was packaged for nodes to come", process, 120)
    assert not list(storage.glob("cells/*/epochs/*"))
    cluster.add("node3", gpus=2)
    finish(process)
    assert [end.status for end in ends(FolderStore(storage), "later")] == ["finished"] * 2


@pytest.mark.slow
def test_a_share_of_a_gpu_is_settled_once_a_gpu_has_come(
    tiny_mner: PreparedData, tmp_path: Path
) -> None:
    space = space_file(tmp_path, "auto", experiment={"image.encoder": "none"},
                       resources={"cpu": 1, "gpu": "auto"})  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    cluster = LocalCluster(folder, gpus=0, nodes=1, environment={"PYTHONPATH": str(ROOT)})
    try:
        command = ["-m", "orchestrator", "sweep", space, "--storage", tmp_path / "storage"]
        command += ["--data-root", tiny_mner.folder.parent, "--tracking-uri", "none"]
        command += ["--address", cluster.address]
        out, error = run(cluster, *command).communicate(timeout=240)
        assert "resources.gpu: auto: no node has a GPU" in error, out + error
        process = run(cluster, *command, "--wait-for-resources")
        assert process.stderr is not None
        while "waiting for a node with a GPU" not in (line := process.stderr.readline()):
            assert line, process.communicate()
        cluster.add("node2", gpus=1)
        # It is a logical one only, which torch cannot use: that is found out once it has come.
        _, error = process.communicate(timeout=240)
        assert process.returncode == 2
        assert "resources.gpu: auto: no node has a GPU" in error
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_doctor_looks_at_every_node(cluster: LocalCluster, tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir(mode=0o700)  # of one that is not there nothing can be told
    command = ["-m", "orchestrator", "doctor", "--address", cluster.address, "--json"]
    command += ["--storage", tmp_path / "storage", "--tracking-uri", "none"]
    findings = json.loads(finish(run(cluster, *command)))
    found = {finding["subject"]: finding for finding in findings}
    assert {finding["level"] for finding in findings} == {"ok", "warn"}
    assert found["shared storage"]["level"] == "ok"
    num_nodes = int(found["ray"]["message"].split()[0])
    equal = [f for f in findings if f["subject"] == "versions" and "as here" in f["message"]]
    assert len(equal) == num_nodes > 1
    # The GPUs of these nodes are logical only.
    warned = [f for f in findings if f["level"] == "warn"]
    assert {f["subject"] for f in warned} == {"gpus"}
    assert len(warned) == num_nodes - 1
    assert all("torch can use 0" in f["message"] for f in warned)


def test_the_wrong_token_is_explained(cluster: LocalCluster) -> None:
    process = run(
        cluster, "-m", "orchestrator", "status", "--address", cluster.job_server,
        RAY_AUTH_TOKEN="not the token",
    )  # fmt: skip
    _, error = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "RAY_AUTH_TOKEN_PATH" in error
    assert "not the token" not in error
    assert "Traceback" not in error
    assert os.environ.get("RAY_AUTH_TOKEN") is None
