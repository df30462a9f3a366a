"""The files of a report, and their way into the storage and MLflow."""

from __future__ import annotations

import csv
import errno
import io
import json
import shutil
from pathlib import Path
from unittest import mock

import pytest
import yaml
from mlflow import MlflowClient
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.config.sweep import SweepConfig
from orchestrator.reports.charts.drawing import figure_files
from orchestrator.reports.charts.figures import charts_of
from orchestrator.reports.exports import trials_csv
from orchestrator.reports.make import report_at_the_end, report_files
from orchestrator.reports.origin import sweep_yaml, winner_yaml
from orchestrator.store.lease import Lease
from orchestrator.sweeps import driver
from shapca.config import load_training_file
from shapca.errors import StorageError
from shapca.storage import FolderStore
from tests.orchestrator.fakes import CODE, PLACE, FakeFactory, sweep_config
from tests.orchestrator.publishing import runs
from tests.orchestrator.reports.conftest import content


def test_the_winners_file_is_the_winners_configuration(finished: Path, tmp_path: Path) -> None:
    shown = content(finished)
    text = winner_yaml(shown)
    assert text is not None
    file = tmp_path / "winner.yaml"
    file.write_text(text)
    experiment, _ = load_training_file(file, [])
    winner = shown.winner
    assert winner is not None
    assert FakeFactory().cell(experiment, 11).key == winner.cells[11]


@pytest.mark.parametrize("which", ["finished", "troubled"])
def test_the_sweeps_file_is_the_sweep(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shown = content(request.getfixturevalue(which))
    file = tmp_path / "sweep.yaml"
    file.write_text(sweep_yaml(shown))
    assert yaml.safe_load(file.read_text())
    assert SweepConfig.load(file) == shown.sweep


def test_trials_as_csv(finished: Path) -> None:
    shown = content(finished)
    rows = list(csv.DictReader(io.StringIO(trials_csv(shown).decode())))
    assert [int(row["trial"]) for row in rows] == [trial.entry for trial in shown.trials]
    winner = shown.winner
    assert winner is not None
    tested = {int(row["seed"]): float(row["test_f1"]) for row in rows if row["test_f1"]}
    assert tested == dict(winner.test)
    assert {row["phase"] for row in rows if row["test_f1"]} == {"confirm"}


def test_figures_are_pictures(finished: Path) -> None:
    kinds = ("history", "importance", "parallel", "seeds")  # each kind of drawing once
    charts = [chart for chart in charts_of(content(finished)) if chart.key in kinds]
    assert len(charts) == len(kinds)
    made = figure_files(charts, dpi=40)
    begin = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert set(made) == {f"figures/{c.key}.{kind}" for c in charts for kind in begin}
    for name, picture in made.items():
        assert picture.startswith(begin[name[-3:]])
    assert figure_files(charts, dpi=40) == made  # equal data gives equal bytes


def test_the_command_writes_files_and_logs_them_to_the_sweeps_run(
    finished: Path, tmp_path: Path, mlflow_uri: str
) -> None:
    storage = shutil.copytree(finished, tmp_path / "storage")
    out = tmp_path / "out"
    arguments = ["report", "small", "--storage", str(storage), "--tracking-uri", mlflow_uri]
    arguments += ["--no-figures", "--out", str(out), "--json"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.stdout)
    assert said["page"] == str(out / "report.html")
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == said["files"]
    kept = storage / "sweeps" / "small" / "report" / "report.html"
    assert kept.read_bytes() == (out / "report.html").read_bytes()
    run = runs(mlflow_uri, "small")["sweep"]
    client = MlflowClient(tracking_uri=mlflow_uri)
    logged = {file.path for file in client.list_artifacts(run.info.run_id, "report")}
    assert {"report/report.html", "report/trials.csv", "report/winner.yaml"} <= logged
    first = run.data.tags["report_made_at"]
    # Made again, the new one takes the old one's place.
    with mock.patch("time.time", return_value=2e9):
        assert CliRunner().invoke(app, arguments).exit_code == 0
    run = runs(mlflow_uri, "small")["sweep"]
    assert run.data.tags["report_made_at"] != first
    local = client.download_artifacts(run.info.run_id, "report/report.html", str(tmp_path))
    assert Path(local).read_bytes() == (out / "report.html").read_bytes()


def test_under_a_driver_at_work_the_files_are_made_and_mlflow_is_left_to_it(
    finished: Path, tmp_path: Path, mlflow_uri: str
) -> None:
    storage = shutil.copytree(finished, tmp_path / "storage")
    arguments = ["report", "small", "--storage", str(storage), "--no-figures"]
    with Lease(FolderStore(storage), "small"):
        answer = CliRunner().invoke(app, [*arguments, "--tracking-uri", mlflow_uri])
    assert answer.exit_code == 0, answer.output
    assert "works on the sweep and logs its report when it ends" in answer.output
    page = storage / "sweeps" / "small" / "report" / "report.html"
    assert b"still running" in page.read_bytes()
    assert MlflowClient(tracking_uri=mlflow_uri).get_experiment_by_name("small") is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "sweep nothing: not in this storage"),
        (["small", "--out", "FILE"], "expected a folder, this is a file"),
    ],
)
def test_bad_input_gets_one_line(
    arguments: list[str], words: str, finished: Path, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    given = [str(file) if argument == "FILE" else argument for argument in arguments]
    answer = CliRunner().invoke(app, ["report", *given, "--storage", str(finished)])
    assert words in str(answer.exception)


def test_the_driver_makes_the_report_when_it_ends(tmp_path: Path, mlflow_uri: str) -> None:
    config = sweep_config(protocol={"trials": 1, "confirm_seeds": [11]})
    options = driver.SweepOptions(storage=str(tmp_path / "storage"), tracking_uri=mlflow_uri)
    finish_without_ray(config, options)
    run = runs(mlflow_uri, "small")["sweep"]
    client = MlflowClient(tracking_uri=mlflow_uri)
    logged = {file.path for file in client.list_artifacts(run.info.run_id, "report")}
    assert "report/report.html" in logged


def test_a_report_that_fails_does_not_hurt_the_sweep(tmp_path: Path, mlflow_uri: str) -> None:
    config = sweep_config(protocol={"trials": 1, "confirm_seeds": [11]})
    options = driver.SweepOptions(storage=str(tmp_path / "storage"), tracking_uri=mlflow_uri)
    with mock.patch("orchestrator.reports.make.page_of", side_effect=KeyError("nothing there")):
        finish_without_ray(config, options)
    run = runs(mlflow_uri, "small")["sweep"]
    assert run.info.status == "FINISHED"
    assert "nothing there" in run.data.tags["report_error"]


def finish_without_ray(config: SweepConfig, options: driver.SweepOptions) -> None:
    """A sweep whose trials are all in the storage, concluded by the real driver."""
    from tests.orchestrator.fakes import execute, open_sweep

    folder = Path(options.storage)
    execute(open_sweep(folder, config), folder)
    with (
        mock.patch.object(driver, "CellFactory", return_value=FakeFactory()),
        mock.patch.object(driver, "code_fingerprint", return_value=CODE),
    ):
        driver.run_sweep(config, options, report=report_at_the_end, training=PLACE)


def test_every_file_is_made(finished: Path) -> None:
    made = report_files(content(finished), figures=False)
    assert {"report.html", "trials.csv", "winner.yaml", "sweep.yaml"} <= set(made)


def test_a_report_of_a_storage_that_cannot_be_written_goes_elsewhere(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FolderStore, name: str, content: bytes) -> bool:
        raise StorageError(errno.EACCES, "Permission denied", f"{self.root}/{name}")

    monkeypatch.setattr(FolderStore, "put", refuse)
    monkeypatch.setattr(FolderStore, "put_new", refuse)
    arguments = ["report", "small", "--storage", str(finished), "--no-figures"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    assert "not updated; the storage cannot be written" in done.output
    assert (tmp_path / "report" / "report.html").is_file()
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, StorageError)
