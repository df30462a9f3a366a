"""The champion as an MLflow model: made from the store, once, and the same however it is used."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas
import pytest
import yaml
from mlflow import MlflowClient
from PIL import Image
from typer.testing import CliRunner

import orchestrator.cli
import shapca.cli
from orchestrator.sweeps import driver
from orchestrator.tracking.client.addresses import parse_model_uri
from orchestrator.tracking.client.client import Tracking, TrackingUnavailableError
from orchestrator.tracking.models import registry
from orchestrator.tracking.models.model_package import REQUIREMENTS, requirements, run_files
from orchestrator.tracking.models.registry import Registry
from orchestrator.tracking.publisher import Publisher
from orchestrator.tracking.run_document import ModelDocument
from shapca.config import RuntimeConfig, Task
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.prediction import Extractor
from shapca.storage import FolderStore, SubStore
from shapca.storage.archive import ArchiveStore, write_archive
from shapca.training import fit
from tests.factories import tiny_config
from tests.orchestrator.fakes import CODE, PLACE, FakeFactory, execute, open_sweep, sweep_config
from tests.orchestrator.publishing import SWEEP, finished, parent, runs, trial, write
from tests.orchestrator.servers import Server, free_port
from tests.paths import ROOT

RUNTIME = RuntimeConfig(device="cpu", num_threads=1)
TEXT = "Kevin Durant enters Oracle Arena"
MODEL = ModelDocument(SWEEP, "champion", "# the champion", {"sweep": SWEEP, "cell": "aa"})


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, tiny_datasets: dict[Task, PreparedData]
) -> Path:
    """A storage of trained cells: `aa` and `bb` find entities, `cc` relations of given ones."""
    folder = tmp_path_factory.mktemp("trained")
    for cell, task, seed in (("aa", "mner", 1), ("bb", "mner", 2), ("cc", "mre", 1)):
        config = tiny_config(task, **{"optimisation.epochs": 1})  # type: ignore[arg-type]
        store = SubStore(FolderStore(folder), f"cells/{cell}")
        fit(config, tiny_datasets[task], seed=seed, runtime=RUNTIME, store=store)  # type: ignore[index]
    return folder


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> FolderStore:
    """A sweep over those cells whose champion is `aa`."""
    folder = tmp_path / "storage"
    shutil.copytree(trained / "cells", folder / "cells", copy_function=os.link)
    store = FolderStore(folder)
    champion = replace(finished(trial("aa")), model=MODEL)
    write(store, finished(parent()), champion, finished(trial("bb")))
    return store


def sync(store: FolderStore, uri: str) -> dict[str, str]:
    report = Publisher(store, SWEEP, SWEEP, uri).reconcile()
    return dict(report.refused)


def client_of(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def versions(uri: str) -> list[tuple[str, str]]:
    """Registered versions and their cells, as numbers rise."""
    found = client_of(uri).search_model_versions(f"name = '{SWEEP}'")
    return sorted((str(version.version), version.tags["cell"]) for version in found)


def named(uri: str) -> str:
    """The cell that the alias means."""
    return str(client_of(uri).get_model_version_by_alias(SWEEP, "champion").tags["cell"])


def logged_models(uri: str) -> list[Any]:
    experiment = client_of(uri).get_experiment_by_name(SWEEP)
    assert experiment is not None
    return list(client_of(uri).search_logged_models([experiment.experiment_id]))


def files(uri: str) -> Path:
    """Where the champion's files are, on a store in a folder."""
    version = client_of(uri).get_model_version_by_alias(SWEEP, "champion")
    return Path(version.source.removeprefix("file://"))


def choose(store: FolderStore, cell: str) -> None:
    """Make another cell the champion, as the driver does."""
    for key in ("aa", "bb"):
        model = replace(MODEL, tags={**MODEL.tags, "cell": cell}) if key == cell else None
        write(store, replace(finished(trial(key)), model=model))


def test_it_is_registered_once_and_a_new_champion_is_a_new_version(
    store: FolderStore, mlflow_uri: str
) -> None:
    assert sync(store, mlflow_uri) == {}
    sync(store, mlflow_uri)
    assert versions(mlflow_uri) == [("1", "aa")]
    assert named(mlflow_uri) == "aa"
    (logged,) = logged_models(mlflow_uri)
    run = client_of(mlflow_uri).get_run(logged.source_run_id)
    assert run.data.tags["cell"] == "aa"
    assert [output.model_id for output in run.outputs.model_outputs] == [logged.model_id]
    sweep = client_of(mlflow_uri).get_run(runs(mlflow_uri)["sweep"].info.run_id)
    assert [output.model_id for output in sweep.outputs.model_outputs] == [logged.model_id]
    choose(store, "bb")
    sync(store, mlflow_uri)
    assert versions(mlflow_uri) == [("1", "aa"), ("2", "bb")]
    assert named(mlflow_uri) == "bb"
    choose(store, "aa")
    sync(store, mlflow_uri)
    assert versions(mlflow_uri) == [("1", "aa"), ("2", "bb")]
    assert named(mlflow_uri) == "aa"


def test_what_was_deleted_in_mlflow_is_made_again(store: FolderStore, mlflow_uri: str) -> None:
    sync(store, mlflow_uri)
    client = client_of(mlflow_uri)
    client.delete_registered_model(SWEEP)
    sync(store, mlflow_uri)
    assert versions(mlflow_uri) == [("1", "aa")]
    assert len(logged_models(mlflow_uri)) == 1
    run_id = logged_models(mlflow_uri)[0].source_run_id
    client.delete_run(run_id)
    sync(store, mlflow_uri)
    assert versions(mlflow_uri) == [("1", "aa")]
    new = runs(mlflow_uri)["search-aa"]
    assert new.info.run_id != run_id
    assert len(new.outputs.model_outputs) == 1


def test_a_storage_that_moved_shows_its_model_once(store: FolderStore, tmp_path: Path) -> None:
    """Its own MLflow has another address then, of which the storage's journal knows nothing."""
    assert sync(store, f"sqlite:///{store.root}/mlflow.db") == {}
    moved = FolderStore(store.root.rename(tmp_path / "moved"))
    uri = f"sqlite:///{moved.root}/mlflow.db"
    assert sync(moved, uri) == {}
    (logged,) = logged_models(uri)
    for name in ("sweep", "search-aa"):
        outputs = client_of(uri).get_run(runs(uri)[name].info.run_id).outputs.model_outputs
        assert [output.model_id for output in outputs] == [logged.model_id]


def test_the_confirm_seed_with_the_best_validation_f1_is_the_champion(
    tmp_path: Path, mlflow_uri: str
) -> None:
    """As the driver of a sweep ends, and again when it finds the sweep complete."""
    sweep = sweep_config()
    conductor = open_sweep(tmp_path, sweep)
    execute(conductor, tmp_path)
    options = driver.SweepOptions(storage=str(tmp_path), tracking_uri=mlflow_uri)
    for _ in range(2):
        with (
            mock.patch.object(driver, "CellFactory", return_value=FakeFactory()),
            mock.patch.object(driver, "code_fingerprint", return_value=CODE),
        ):
            outcome = driver.run_sweep(sweep, options, training=PLACE)
        assert outcome.tracking.status == "current"
        assert outcome.winner is not None
        assert outcome.winner.phase == "confirm"
        best = max(outcome.winner.val, key=lambda seed: outcome.winner.val[seed])
        (version,) = client_of(mlflow_uri).search_model_versions("name = 'small'")
        assert version.tags["cell"] == outcome.champion == outcome.winner.cells[best]
        assert (version.tags["phase"], version.tags["seed"]) == ("confirm", str(best))
        assert f"{outcome.winner.val_mean:.2f}" in version.description
    named = client_of(mlflow_uri).get_model_version_by_alias("small", "champion")
    assert named.version == version.version


@pytest.mark.parametrize(
    ("call", "happened"),
    [
        ("log_model_artifacts", False),
        ("finalize_logged_model", False),
        ("create_model_version", False),
        ("create_model_version", True),
        ("set_registered_model_alias", False),
    ],
)
def test_cut_off_anywhere_it_is_made_whole_and_never_twice(
    store: FolderStore, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, call: str, happened: bool
) -> None:
    """The connection fails before a call reaches MLflow, or before its answer comes back."""
    monkeypatch.setattr(registry, "package", small_package)
    original = getattr(MlflowClient, call)

    def broken(*arguments: Any, **named: Any) -> Any:
        if happened:
            original(*arguments, **named)
        raise ConnectionError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, broken)
        with pytest.raises(TrackingUnavailableError, match="the server is gone"):
            sync(store, mlflow_uri)
    sync(store, mlflow_uri)
    assert versions(mlflow_uri) == [("1", "aa")]
    assert named(mlflow_uri) == "aa"
    (logged,) = logged_models(mlflow_uri)
    assert logged.status == "READY"
    assert (files(mlflow_uri) / "MLmodel").is_file()


def small_package(run: Path, out: Path, **_: Any) -> None:
    """A stand-in for a model's files, which takes no second to make."""
    out.mkdir()
    (out / "MLmodel").write_text(f"of {run}")


def test_weights_that_are_gone_are_named(store: FolderStore, mlflow_uri: str) -> None:
    shutil.rmtree(store.root / "cells")
    assert "the run is not finished" in sync(store, mlflow_uri)["search-aa"]
    assert versions(mlflow_uri) == []


def test_what_the_model_is_made_of(store: FolderStore, mlflow_uri: str, trained: Path) -> None:
    sync(store, mlflow_uri)
    folder = files(mlflow_uri)
    sent = [path for path in folder.rglob("*") if path.is_file()]
    assert len(sent) <= 10  # a request each, to a server
    run, code = ArchiveStore(folder / "artifacts" / "run.zip"), ArchiveStore(folder / "code.zip")
    suffixes = {Path(name).suffix for name in [*map(str, sent), *run.list(), *code.list()]}
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".bin", ".pyc"}
    (weights,) = (name for name in run.list("best/") if name.endswith(".safetensors"))
    assert run.get(weights) == (trained / "cells" / "aa" / weights).read_bytes()
    assert "shapca/prediction/extractor.py" in code.list()
    text = (folder / "MLmodel").read_text()
    assert str(ROOT) not in text
    assert "/tmp" not in text.replace(str(folder), "")
    tree = yaml.safe_load(text)
    assert tree["flavors"]["python_function"]["model_code_path"] == "served_model.py"
    columns = {
        column["name"]: column["required"] for column in json.loads(tree["signature"]["inputs"])
    }
    assert columns == {
        "text": True, "context": False, "image": False, "image_base64": False, "entities": False,
    }  # fmt: skip
    assert tree["metadata"] == dict(MODEL.tags)
    assert json.loads((folder / "serving_input_example.json").read_text())
    assert (folder / "requirements.txt").read_text().splitlines() == requirements()
    assert all("==" in line and "+" not in line for line in requirements())


def test_a_model_of_before_there_were_archives_is_fetched(
    store: FolderStore, mlflow_uri: str, tmp_path: Path
) -> None:
    sync(store, mlflow_uri)
    folder = files(mlflow_uri)
    archive = folder / "artifacts" / "run.zip"
    shutil.unpack_archive(archive, archive.with_suffix(""))
    wanted = ArchiveStore(archive).get("run.json")
    archive.unlink()
    described = folder / "MLmodel"
    described.write_text(described.read_text().replace("artifacts/run.zip", "artifacts/run"))
    registry = Registry(Tracking(mlflow_uri))
    assert registry.download(f"models:/{SWEEP}@champion", tmp_path).get("run.json") == wanted
    described.write_text(described.read_text().replace("artifacts/run", "../../etc"))
    with pytest.raises(InputError, match="MLmodel names no run of ours"):
        registry.download(f"models:/{SWEEP}@champion", tmp_path)


def test_requirements_are_what_prediction_imports() -> None:
    """Every distribution whose module a prediction imports is required, or required by those."""
    code = (
        "import sys, json; import shapca.prediction, importlib.metadata as m;"
        "tops = {name.partition('.')[0] for name in sys.modules};"
        "owners = m.packages_distributions();"
        "print(json.dumps(sorted({d for t in tops for d in owners.get(t, ())})))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    from importlib.metadata import requires
    from re import match, split

    def plain(name: str) -> str:
        return split(r"[-_.]+", name.lower()) and "-".join(split(r"[-_.]+", name.lower()))

    known, open_names = set(), [plain(name) for name in REQUIREMENTS]
    while open_names:
        name = open_names.pop()
        if name in known:
            continue
        known.add(name)
        try:
            needed = requires(name) or []
        except Exception:
            continue
        for line in needed:
            found = match(r"[A-Za-z0-9._-]+", line)
            assert found is not None
            open_names.append(plain(found[0]))
    imported = {plain(name) for name in json.loads(out.stdout)}
    # What every virtual environment has, and what the installer left.
    assert imported - known <= {"shap-ca", "pip", "setuptools", "wheel", "distutils-precedence"}


FRESH = """
import json, sys
from pathlib import Path
# As on a machine without this project: no checkout on the path, no editable installation.
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path = [path for path in sys.path if not Path(path or ".", "shapca").is_dir()]
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
answers = [model.predict(pandas.DataFrame([post])) for post in json.load(sys.stdin)]
import shapca, torch
print(json.dumps({"code": shapca.__file__, "answers": answers}))
"""


def picture_of(data: PreparedData, folder: Path) -> Path:
    store = data.image_store()
    assert store is not None
    file = folder / "picture.png"
    Image.fromarray(np.array(store.array[0])).save(file)
    return file


def answer(application: Any, *arguments: str) -> Any:
    result = CliRunner().invoke(application, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_fresh_process_and_both_commands_give_the_same(
    store: FolderStore, mlflow_uri: str, tmp_path: Path, tiny_mner: PreparedData
) -> None:
    sync(store, mlflow_uri)
    file = picture_of(tiny_mner, tmp_path)
    content = base64.b64encode(file.read_bytes()).decode()
    posts = [
        {"text": TEXT},
        {"text": TEXT, "context": "a man on a field", "image_base64": content},
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = subprocess.run(
        [sys.executable, "-c", FRESH, str(files(mlflow_uri))],
        cwd=tmp_path, env=environment, input=json.dumps(posts), capture_output=True, text=True,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    found = json.loads(out.stdout.splitlines()[-1])
    assert found["code"].startswith(str(files(mlflow_uri)))

    extractor = Extractor.load(store.root / "cells" / "aa", runtime=RUNTIME)
    plain = [
        extractor.extract(TEXT).to_json(),
        extractor.extract(TEXT, context="a man on a field", image=file).to_json(),
    ]
    assert [answers for [answers] in found["answers"]] == plain
    assert any(post["entities"] for post in plain)
    more = ("--context", "a man on a field", "--image", str(file), "--device", "cpu")
    for options, expected in (((), plain[0]), (more, plain[1])):
        run = str(store.root / "cells" / "aa")
        assert answer(shapca.cli.app, "predict", run, "--text", TEXT, *options) == expected
        model = ("predict", f"models:/{SWEEP}@champion", "--tracking-uri", mlflow_uri)
        assert answer(orchestrator.cli.app, *model, "--text", TEXT, *options) == expected
    (tmp_path / "posts.jsonl").write_text(json.dumps({"id": "p", "text": TEXT}) + "\n")
    to_file = ("--input", str(tmp_path / "posts.jsonl"), "--out", str(tmp_path / "out.jsonl"))
    assert answer(orchestrator.cli.app, *model, *to_file)["num_posts"] == 1
    assert json.loads((tmp_path / "out.jsonl").read_bytes()) == {"id": "p", **plain[0]}


def test_relations_of_given_entities(store: FolderStore, mlflow_uri: str) -> None:
    write(store, replace(finished(trial("cc")), model=replace(MODEL, name="relations")))
    sync(store, mlflow_uri)
    options = ("--text", TEXT, "--entity", "Kevin Durant", "--entity", "20-32", "--device", "cpu")
    run = str(store.root / "cells" / "cc")
    plain = answer(shapca.cli.app, "predict", run, *options)
    assert [relation["tail"]["text"] for relation in plain["relations"]] == ["Oracle Arena"]
    model = ("predict", "models:/relations/1", "--tracking-uri", mlflow_uri)
    assert answer(orchestrator.cli.app, *model, *options) == plain


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models:/absent@champion", "no such model in MLflow"),
        (f"models:/{SWEEP}@other", "no such model in MLflow"),
        (f"models:/{SWEEP}/7", "no such model in MLflow"),
        ("models:/name", "expected models:/NAME@champion or models:/NAME/VERSION"),
        ("runs:/abc/model", "expected models:/NAME@champion"),
        (f"models:/{SWEEP}/../x", "expected models:/NAME@champion"),
    ],
)
def test_models_that_are_not_there(
    store: FolderStore, mlflow_uri: str, model: str, message: str
) -> None:
    arguments = ["predict", model, "--tracking-uri", mlflow_uri, "--text", TEXT]
    result = CliRunner().invoke(orchestrator.cli.app, arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_a_store_without_a_database_or_an_answer(tmp_path: Path) -> None:
    arguments = ["predict", "models:/a@champion", "--text", TEXT, "--tracking-uri"]
    result = CliRunner().invoke(orchestrator.cli.app, [*arguments, f"sqlite:///{tmp_path}/no.db"])
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "no.db").exists()
    result = CliRunner().invoke(orchestrator.cli.app, [*arguments, "http://me:s3cret@127.0.0.1:9"])
    assert result.exit_code == 1
    assert "does not answer" in result.output
    assert "s3cret" not in result.output


def test_addresses_of_models() -> None:
    assert parse_model_uri("models:/a.b-c@champion") == ("a.b-c", "champion", True)
    assert parse_model_uri("models:/a/12") == ("a", "12", False)


def test_a_model_that_no_sweep_registered_is_refused(mlflow_uri: str, tmp_path: Path) -> None:
    client = client_of(mlflow_uri)
    client.create_registered_model("foreign")
    client.create_model_version("foreign", tmp_path.as_uri())
    with pytest.raises(InputError, match="not a model that a sweep registered"):
        Registry(Tracking(mlflow_uri)).download("models:/foreign/1", tmp_path)


def test_the_environment_says_how_a_served_model_computes(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.tracking.models.served_model import ServedModel

    archive, cell = tmp_path / "run.zip", SubStore(FolderStore(trained), "cells/aa")
    write_archive(archive, run_files(cell))
    context = SimpleNamespace(artifacts={"run": str(archive)})
    monkeypatch.setenv("SHAPCA_DEVICE", "cpu")
    for given, expected in ((None, "fp32"), ("", "fp32"), ("bf16", "bf16")):
        if given is not None:
            monkeypatch.setenv("SHAPCA_PRECISION", given)
        model = ServedModel()
        model.load_context(context)
        assert model._extractor._extractor.precision == expected
        assert model.predict(context, pandas.DataFrame([{"text": TEXT}]))[0]["text"] == TEXT
    monkeypatch.setenv("SHAPCA_PRECISION", "fp8")
    with pytest.raises(InputError, match="precision 'fp8': expected fp32, tf32, bf16"):
        ServedModel().load_context(context)


@pytest.mark.slow
def test_a_tracking_server_serves_the_champion(
    store: FolderStore, mlflow_template: Path, tmp_path: Path, tiny_mner: PreparedData
) -> None:
    """Registered through a server whose artifacts go over HTTP, then served by MLflow itself."""
    database = tmp_path / "mlflow.db"
    database.write_bytes(mlflow_template.read_bytes())
    tracking = Server(f"sqlite:///{database}", free_port())
    extractor = Extractor.load(store.root / "cells" / "aa", runtime=RUNTIME)
    file = picture_of(tiny_mner, tmp_path)
    tracking.start()
    serving = None
    try:
        assert sync(store, tracking.uri) == {}
        tracking.kill()
        with pytest.raises(TrackingUnavailableError):
            sync(store, tracking.uri)
        tracking.start()
        sync(store, tracking.uri)
        assert versions(tracking.uri) == [("1", "aa")]
        port = free_port()
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_TRACKING_URI": tracking.uri,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1",
            "SHAPCA_IMAGE_ROOT": str(tmp_path),
        }
        serving = subprocess.Popen(
            ["mlflow", "models", "serve", "--model-uri", f"models:/{SWEEP}@champion",
             "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(f"http://127.0.0.1:{port}/ping", serving)
        address = f"http://127.0.0.1:{port}/invocations"
        content = base64.b64encode(file.read_bytes()).decode()
        more = {"text": TEXT, "context": "a man"}
        pictured = extractor.extract(TEXT, context="a man", image=file).to_json()
        for post, expected in (
            ({"text": TEXT}, extractor.extract(TEXT).to_json()),
            ({**more, "image_base64": content}, pictured),
            ({**more, "image": "picture.png"}, pictured),
        ):
            status, body = post_json(address, {"dataframe_records": [post]})
            assert (status, body) == (200, {"predictions": [expected]})
        status, body = post_json(address, {"inputs": [{"text": TEXT}, {"text": "of a kind"}]})
        assert status == 200
        assert [found["text"] for found in body["predictions"]] == [TEXT, "of a kind"]
        for image, message in (
            ("http://host/a.png", "URLs are refused"),
            ("/etc/passwd", "no readable file"),
        ):
            status, body = post_json(
                address, {"dataframe_records": [{"text": "a", "image": image}]}
            )
            assert status == 400
            assert message in body["message"]
            assert "Traceback" not in json.dumps(body)
    finally:
        if serving is not None:
            os.killpg(serving.pid, signal.SIGKILL)
            serving.wait()
        tracking.kill()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"{address} did not come up")


def post_json(address: str, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as found:
            return found.status, json.load(found)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_looking_a_model_up_loads_no_torch(tmp_path: Path) -> None:
    """The publisher's thread does it while the driver imports what asks whether torch is there.

    Nor does MLflow say anything, though its database is new.
    """
    code = (
        "import sys; from orchestrator.tracking.models.registry import Registry; "
        "from orchestrator.tracking.client.client import Tracking; "
        f"uri = 'sqlite:///{tmp_path}/mlflow.db'; Tracking(uri).check(); "
        "assert not Registry(Tracking(uri)).has('small', '1'); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
