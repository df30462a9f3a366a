"""A sweep in one of Optuna's storages: what a study says, exported once, twice and later."""

from __future__ import annotations

import json
import shutil
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
import typer

from orchestrator.commands.showing.export import export
from orchestrator.config.sweep import SweepConfig
from orchestrator.sweeps.record.declaration import remember
from orchestrator.sweeps.record.history import recorded
from shapca.errors import InputError
from shapca.storage import FolderStore
from tests.orchestrator.fakes import RAISES, execute, open_sweep, sweep_config

RATE = "optimisation.learning_rate"
SPACE: dict[str, Any] = {
    "text.encoder": {"type": "choice", "values": ["tiny", "minilm"]},
    RATE: {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "text.freeze": {
        "type": "choice", "values": [True, False], "when": {"text.encoder": "minilm"},
    },
    "head.dropout": {"type": "choice", "values": [0.1, RAISES], "when": {"text.freeze": True}},
}  # fmt: skip


def branches(trials: int = 10) -> SweepConfig:
    record = sweep_config(protocol={"trials": trials}).model_dump(mode="json")
    record["protocol"]["first"] = [{RATE: 0.1, "text.encoder": "tiny"}]
    return SweepConfig.model_validate({**record, "space": SPACE})


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("storage")
    execute(open_sweep(folder, branches()), folder)
    remember(FolderStore(folder), branches())
    return folder


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sweep, whose driver was killed amid its third trial."""
    folder = tmp_path_factory.mktemp("unfinished")
    execute(open_sweep(folder, branches()), folder, lambda steps: steps >= 8)
    remember(FolderStore(folder), branches())
    return folder


def said(capsys: pytest.CaptureFixture[str], storage: Path, url: str, **options: Any) -> str:
    export("small", url, str(storage), as_json=True, **options)
    change: str = json.loads(capsys.readouterr().out)["change"]
    return change


def load(url: str) -> optuna.Study:
    place: Any = url
    if "://" not in url:
        journal = optuna.storages.journal.JournalFileBackend(url)
        place = optuna.storages.JournalStorage(journal)
    return optuna.load_study(study_name="small", storage=place)


@pytest.fixture(params=["sqlite", "journal"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/o.db" if request.param == "sqlite" else str(tmp_path / "o.log")


def test_a_study_says_what_the_sweep_found(
    storage: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, storage, url) == "written"
    study = load(url)
    history = recorded(FolderStore(storage), "small")
    tried = history.protocol.history()
    assert study.direction.name == "MAXIMIZE"
    assert len(study.trials) == len(tried) == 10
    states = {"finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    for trial, one in zip(study.trials, tried, strict=True):
        assert trial.state.name == states[one.state]
        if trial.number:
            assert trial.params == dict(one.values)
        if one.state == "failed":
            assert trial.value is None
            assert "makes no sense" in str(trial.user_attrs["missing"])
        else:
            assert trial.value == one.value
            assert max(trial.intermediate_values) == one.epoch
            assert max(trial.intermediate_values.values()) == one.value
        assert trial.duration is not None
    assert {trial.state.name for trial in study.trials} == set(states.values())
    # What lies beyond the space is no parameter, but is said.
    assert study.trials[0].params == {"text.encoder": "tiny"}
    assert study.trials[0].user_attrs["beyond_the_space"] == {RATE: 0.1}
    conditional = {"text.freeze" in trial.distributions for trial in study.trials}
    assert conditional == {True, False}
    rates = {str(t.distributions[RATE]) for t in study.trials[1:]}
    assert rates == {"FloatDistribution(high=0.01, log=True, low=0.0001, step=None)"}

    winner = study.trials[study.user_attrs["winner"]]
    confirmation = history.protocol.confirmation()
    assert confirmation is not None
    assert winner.user_attrs["reported_as"] == "winner"
    assert winner.user_attrs["configuration"] == confirmation.configuration
    assert set(winner.user_attrs["reported_test_f1"]) == {"11", "12"}
    assert winner.user_attrs["reported_val_f1_mean"] == pytest.approx(confirmation.mean)
    assert winner.user_attrs["reported_val_f1_std"] > 0
    assert set(winner.user_attrs["val_f1"]) == set(winner.user_attrs["cells"]) == {"1", "2"}
    cells = {event.cell for event in history.proposed.values() if event.phase == "confirm"}
    assert set(winner.user_attrs["reported_cells"].values()) < cells


def test_optuna_draws_an_exported_study(
    storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, storage, str(tmp_path / "o.log"))
    study = load(str(tmp_path / "o.log"))
    from optuna.visualization import matplotlib as drawing

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = drawing.plot_optimization_history(study)
        drawing.plot_intermediate_values(study)
        importances = drawing.plot_param_importances(study)
        drawing.plot_slice(study, params=[RATE])
    finished = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert len(history.collections[0].get_offsets()) == len(finished)
    assert {text.get_text() for text in importances.get_yticklabels()} >= {RATE, "text.encoder"}


def test_exported_again_nothing_is_doubled(
    storage: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, storage, url)
    before = load(url).trials
    assert said(capsys, storage, url) == "unchanged"
    assert load(url).trials == before
    assert said(capsys, storage, url, replace=True) == "unchanged"


def test_a_sweep_that_went_on_is_written_anew_on_request_alone(
    unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = shutil.copytree(unfinished, tmp_path / "storage"), str(tmp_path / "o.log")
    assert said(capsys, folder, url) == "written"
    trials = load(url).trials
    assert trials[-1].state.name == "RUNNING"
    assert trials[-1].intermediate_values
    execute(open_sweep(folder, branches()), folder)
    with pytest.raises(InputError, match=r"--optuna .* trial \d+ \(.*has changed.*--replace"):
        export("small", url, str(folder))
    assert load(url).trials == trials
    assert said(capsys, folder, url, replace=True) == "replaced"
    assert len(load(url).trials) == 10
    assert said(capsys, folder, url) == "unchanged"


def test_an_export_that_was_cut_off_is_finished(
    storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    url, add, added = str(tmp_path / "o.log"), optuna.Study.add_trial, []

    def cut(study: optuna.Study, trial: Any) -> None:
        if len(added) == 5:
            raise KeyboardInterrupt
        added.append(trial)
        add(study, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", cut)
    with pytest.raises(KeyboardInterrupt):
        export("small", url, str(storage))
    monkeypatch.setattr(optuna.Study, "add_trial", add)
    assert said(capsys, storage, url) == "extended"
    assert len(load(url).trials) == 10
    assert load(url).user_attrs["sweep"] == "small"


@pytest.mark.parametrize("then", ["set_user_attr", "set_metric_names"])
def test_an_export_that_was_cut_off_at_its_beginning_is_finished(
    then: str, storage: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optuna.Study, then, cut)
        with pytest.raises(KeyboardInterrupt):
            export("small", url, str(storage))
    assert len(load(url).trials) == 0
    assert said(capsys, storage, url) == ("written" if then == "set_user_attr" else "extended")
    assert len(load(url).trials) == 10
    assert load(url).metric_names == ["val/f1"]
    assert said(capsys, storage, url) == "unchanged"


@pytest.mark.parametrize("has", ["another direction", "an attribute", "a trial"])
def test_a_study_of_somebody_else_is_left_alone(has: str, storage: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/o.db"
    direction = "minimize" if has == "another direction" else "maximize"
    study = optuna.create_study(study_name="small", storage=url, direction=direction)
    if has == "an attribute":
        study.set_user_attr("mine", 1)
    elif has == "a trial":
        study.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(InputError, match=r"was not exported from this sweep; .*--study-name"):
        export("small", url, str(storage), replace=True)
    assert len(load(url).trials) == (has == "a trial")


def test_what_is_no_storage_of_optuna_is_one_message(storage: Path, tmp_path: Path) -> None:
    notes, tracking = tmp_path / "notes.txt", tmp_path / "mlflow.db"
    notes.write_text("not a journal")
    with sqlite3.connect(tracking) as connection:
        connection.execute("CREATE TABLE experiments (id INTEGER)")
    before = tracking.read_bytes()
    for url, message in (
        (str(notes), "no journal of Optuna's"),
        (str(tracking), r"no journal of Optuna's; a database is sqlite:///"),
        (f"sqlite:///{tracking}", r"something else than studies \(experiments"),
        (f"sqlite:///{tmp_path}/no/o.db", "unable to open database file"),
        (f"{tmp_path}/no/o.log", "No such file"),
        ("redis://host/0", "expected a database, e.g. sqlite"),
        ("nosuchdialect://user:secret@host/x", r"\*\*\*@host.*nosuchdialect"),
    ):
        with pytest.raises(InputError, match=message) as refused:
            export("small", url, str(storage))
        assert str(refused.value).startswith("--optuna ")
        assert "secret" not in str(refused.value)
        assert "\n" not in str(refused.value)
    assert notes.read_text() == "not a journal"
    assert tracking.read_bytes() == before
    with pytest.raises((InputError, typer.Exit)):
        export("absent", str(tmp_path / "o.log"), str(storage))
