"""Which model a command means, and what a sweep's champion hands over."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from orchestrator.cli import app
from orchestrator.commands.models.opening import find_champion
from orchestrator.sweeps.record.declaration import remember
from shapca.cli import run_application
from shapca.data.prepared import PreparedData
from shapca.prediction import Extractor
from shapca.storage import FolderStore
from tests.factories import tiny_config
from tests.orchestrator.fakes import execute, open_sweep, sweep_config
from tests.shapca.prediction.conftest import RUNTIME, trained_store

TEXT, CONTEXT = "Frida Kahlo lives in Lisbon now", "a house"
PREDICT = ("--text", TEXT, "--context", CONTEXT, "--json")


@pytest.fixture(scope="module")
def storage(tiny_mner: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A confirmed sweep of fake cells, whose champion has a real run's files."""
    folder = tmp_path_factory.mktemp("storage")
    sweep = sweep_config(protocol={"confirm_seeds": [11, 12, 13]})
    remember(FolderStore(folder), sweep)
    execute(open_sweep(folder, sweep), folder)
    run = find_champion("small", str(folder)).run
    for name in run.list("best/"):
        run.delete(name)
    scored = json.loads(run.get("evaluations/test.json") or b"")
    about = {"data": {"text": "0"}, "split": "test", "label_map": {}}
    run.put("evaluations/test.json", json.dumps({**scored, **about}).encode())
    changes = {"image.encoder": "none", "optimisation.epochs": 1}
    for name, content in trained_store(tiny_mner, tiny_config(**changes)).objects.items():
        if name != "evaluations/test.json":
            run.put(name, content)
    return folder


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        run_application(app, [str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_a_sweeps_champion_is_pushed_with_its_scores_over_seeds(
    storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved"
    champion = find_champion("small", str(storage))
    assert set(champion.seeds.val) == set(champion.seeds.test) == {"11", "12", "13"}
    assert champion.seeds.phase == "confirm"
    assert call("push", "small", "--storage", storage, "--folder", saved) == 0
    card = (saved / "README.md").read_text()
    for seed, score in champion.seeds.test.items():
        assert f"{seed}: {score:.2f}" in card
    assert re.search(r"\| test \| \d\d\.\d\d ± \d\.\d\d \| 11: ", card)
    wanted = Extractor.load(champion.run, runtime=RUNTIME).extract(TEXT, context=CONTEXT)
    capsys.readouterr()
    for model in ("small", saved, champion.run.parent.root / champion.run.prefix):  # type: ignore[attr-defined]
        assert call("predict", model, "--storage", storage, *PREDICT) == 0
        assert json.loads(capsys.readouterr().out) == wanted.to_json()


def test_no_such_model_is_one_message(
    storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    remember(FolderStore(begun), sweep_config())
    for model, place, message in (
        ("absent", storage, "absent"),
        ("small", tmp_path / "no", "no such folder; name it with --storage"),
        ("small", begun, "nothing has finished in"),
        ("./absent", storage, "no such folder; expected the folder of a run"),
        (str(tmp_path), storage, "no run here"),
        ("models:nonsense", storage, "models:/NAME"),
    ):
        assert call("predict", model, "--storage", place, *PREDICT) == 2, model
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_the_page_is_served_until_it_is_interrupted(storage: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", "demo", "small", "--storage", str(storage),
         "--no-browser", "--device", "cpu"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"small: (http://127\.0\.0\.1:\d+/) \(Ctrl-C stops it\)\n", line)
        assert found, line
        with urllib.request.urlopen(f"{found[1]}about", timeout=30) as answer:
            assert json.load(answer)["name"] == "small"
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert rest == "stopped\n"
    assert process.returncode == 0
