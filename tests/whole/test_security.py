"""What is handed over runs nothing, leaves no folder, and no secret is told on."""

from __future__ import annotations

import json
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.arguments import sweep_name
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.address import open_store
from orchestrator.store.cells import CellStore
from orchestrator.tracking.client.client import Tracking
from orchestrator.tracking.publisher import Publisher
from shapca.config import ExperimentConfig, apply_overrides
from shapca.data.images import image_id
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.model.encoders.weights import read_state_dict
from shapca.runs.tensors import unpack
from shapca.storage import FolderStore
from tests.factories import tiny_data
from tests.orchestrator.fakes import execute, open_sweep, sweep_config
from tests.orchestrator.publishing import finished, parent, runs, write

SECRET = "s3cret"
OUTSIDE = ("../x", "a/../../x", "/etc/x", "..", "a/../b")


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize(
    "text", ["name: !!python/object/apply:os.mkdir [{}]", "!!python/name:os.x"]
)
def test_yaml_makes_no_objects(text: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    file = tmp_path / "space.yaml"
    file.write_text(text.format(mark), encoding="utf-8")
    for load in (SweepConfig.load, ExperimentConfig.load):
        with pytest.raises(InputError, match=r"space\.yaml"):
            load(file)
    with pytest.raises(InputError, match="tags"):
        apply_overrides({}, [f"task=!!python/object/apply:os.mkdir [{mark}]"])
    assert not mark.exists()


@pytest.mark.parametrize("write_it", ["torch", "pickle"])
def test_pickled_weights_run_nothing(write_it: str, tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "model.bin"
    if write_it == "torch":
        torch.save({"weight": Bomb(mark)}, file)
    else:
        file.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError, match=r"model\.bin"):
        read_state_dict(file, "text.encoder")
    store = FolderStore(tmp_path)
    store.put("best/0001.safetensors", file.read_bytes())  # in place of a run's own weights
    with pytest.raises(InputError, match="damaged"):
        unpack(store, "best/0001.safetensors")
    assert not mark.exists()


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    import numpy as np

    from shapca.data.images import ImageStore

    mark = tmp_path / "mark"
    np.save(tmp_path / "images.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    (tmp_path / "images.json").write_text('{"ids": ["a"], "broken": {}}')
    with pytest.raises(InputError, match=r"images\.npy: no array.*(Python objects|pickle)"):
        ImageStore.open(tmp_path / "images.npy", tmp_path / "images.json")
    assert not mark.exists()


@pytest.mark.parametrize("name", [*OUTSIDE, "", "a\0b"])
def test_objects_stay_in_their_store(name: str, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "storage"))
    cells = CellStore(store)
    for use in (
        lambda: store.put(name, b""),
        lambda: store.put_new(name, b""),
        lambda: store.get(name),
        lambda: store.delete(name),
    ):
        with pytest.raises(InputError, match="object name"):
            use()
    if ".." in name:
        with pytest.raises(InputError, match="object name"):
            cells.evaluation(name, "test")
        with pytest.raises(InputError, match="object name"):
            cells.evaluation("k", f"{name}/x")
        with pytest.raises(InputError, match="object name"):
            cells.drop_weights(name)
    assert [path.name for path in tmp_path.iterdir()] == ["storage"]


@pytest.mark.parametrize("name", [*OUTSIDE, "a b", "", ".hidden", "a\\b"])
def test_names_of_sweeps_data_and_contexts_are_plain(name: str, tmp_path: Path) -> None:
    tree = sweep_config().model_dump(mode="json")
    file = tmp_path / "space.yaml"
    for change in (
        {"name": name},
        {"experiment": {"data": {"dataset": name}}},
        {"experiment": {"data": {"dataset": "fake", "contexts": name}}},
    ):
        file.write_text(yaml.safe_dump({**tree, **change}), encoding="utf-8")
        with pytest.raises(InputError, match=r"space\.yaml"):
            SweepConfig.load(file)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_sweep_asked_for_by_name_is_one_of_the_storage(name: str, tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(InputError):
        sweep_name(name)
    for command in ("status", "sync"):
        answer = CliRunner().invoke(app, [command, name, "--storage", str(tmp_path / "storage")])
        assert isinstance(answer.exception, InputError)


@pytest.mark.parametrize("name", ["../x.jpg", "a/b.png", "..", "a\\b", "/x", "a\nb", "x/../y"])
def test_image_ids_are_file_names(name: str) -> None:
    with pytest.raises(ValueError, match="image id"):
        image_id(name)


@pytest.mark.parametrize("place", ["parts", "contexts"])
def test_a_data_set_names_files_of_its_own(place: str, tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"image": "a", "text": "secret"}\n')
    file = data.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    if place == "contexts":
        manifest[place]["../../secret"] = {}
    else:
        manifest[place]["../secret.jsonl"] = "0" * 64
    file.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"manifest\.json.*leads out of the folder"):
        PreparedData.load(data.folder)


def test_a_storage_is_its_owners_alone(tmp_path: Path, mlflow_uri: str) -> None:
    folder = tmp_path / "made" / "storage"
    store = open_store(str(folder))
    sweep = sweep_config(protocol={"trials": 1, "confirm_seeds": [11]})
    execute(open_sweep(folder, sweep), folder)
    Publisher(store, "small", "small", mlflow_uri).reconcile()
    for path in (tmp_path / "made", *(tmp_path / "made").rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize(
    "uri",
    [
        f"http://me:{SECRET}@127.0.0.1:9",
        f"http://{SECRET}@127.0.0.1:9/prefix",
        f"http://127.0.0.1:9/?access_token={SECRET}",
    ],
)
def test_credentials_of_a_server_that_is_away_are_not_told(
    uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    store = FolderStore(tmp_path)
    write(store, finished(parent(), metrics={}))
    publisher = Publisher(store, "tiny", "tiny", uri)
    publisher.first_retry, publisher.last_retry = 0.01, 0.02
    publisher.start()
    state = publisher.stop(30)
    assert state.status == "behind"
    assert SECRET not in repr(state)
    assert SECRET not in "".join(capfd.readouterr()) + caplog.text
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ("sync", "--tracking-uri", f"ftp://me:{SECRET}@host/x"),
        ("sync", "--tracking-uri", f"postgresql+nothing://me:{SECRET}@host/x"),
        ("sync", "--tracking-uri", f"http://me:{SECRET}@127.0.0.1:9"),
        ("ui", "--tracking-uri", f"http://me:{SECRET}@127.0.0.1:9"),
    ],
)
def test_credentials_are_in_no_message(arguments: tuple[str, ...], tmp_path: Path) -> None:
    from orchestrator.sweeps.record.declaration import remember

    remember(FolderStore(tmp_path), sweep_config())
    name = ["small"] if arguments[0] == "sync" else []
    command = [arguments[0], *name, *arguments[1:], "--storage", str(tmp_path)]
    answer = CliRunner().invoke(app, command)
    assert SECRET not in answer.output + str(answer.exception)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_artifacts_stay_under_their_run(tmp_path: Path, mlflow_uri: str) -> None:
    store = FolderStore(tmp_path / "storage")
    store.put("cells/a/evaluations/test.json", b"{}")
    artifacts = {"../../up.json": "cells/a/evaluations/test.json"}
    write(store, finished(parent(), metrics={}, artifacts=artifacts))
    report = Publisher(store, "tiny", "tiny", mlflow_uri).reconcile()
    assert list(report.refused) == ["sweep"]
    assert not list(tmp_path.rglob("up.json"))
    stranger = finished(parent(), metrics={}, artifacts={"a.json": "../../etc/passwd"})
    write(store, stranger)
    with pytest.raises(InputError, match="object name"):
        Publisher(store, "tiny", "tiny", mlflow_uri).reconcile()


def test_what_a_run_tells_mlflow_has_no_addresses(tmp_path: Path, mlflow_uri: str) -> None:
    store = FolderStore(tmp_path / "storage")
    sweep = sweep_config(protocol={"trials": 1, "confirm_seeds": [11]})
    execute(open_sweep(store.root, sweep), store.root)
    Publisher(store, "small", "small", mlflow_uri).reconcile()
    Tracking(mlflow_uri).check()
    for run in runs(mlflow_uri, "small").values():
        shown = " ".join([*run.data.params.values(), *run.data.tags.values()])
        assert "://" not in shown
        assert str(tmp_path) not in shown
