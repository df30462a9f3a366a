"""A sweep's confirmed seeds on a data set that they were not trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import app
from orchestrator.config.sweep import SweepConfig
from orchestrator.studies.generalization import PHASE
from orchestrator.sweeps.driver import SweepOptions, run_sweep
from orchestrator.tracking.run_document import read_runs
from shapca.cli import run_application
from shapca.data.prepared import PreparedData
from shapca.storage import FolderStore
from tests.factories import tiny_config, tiny_data
from tests.orchestrator.fakes import record_failed_confirmation
from tests.orchestrator.local import without_ray
from tests.shapca.evaluation.test_evaluate import with_renamed_type


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    tiny_data(root, num_train=12, num_valid=6, num_test=6, domain="festival")
    (root / "tiny-mner").rename(root / "festival")
    home = tiny_data(root, num_train=24, num_valid=6, num_test=6)
    with_renamed_type(home, root / "renamed", "MISC", "OTHER")
    return root


@pytest.fixture(scope="module")
def storage(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of one configuration, confirmed on two seeds."""
    quick = {"encoder_learning_rate": 5e-3, "epochs": 20, "patience": 20}  # to find anything at all
    experiment = tiny_config(
        **{"image.encoder": "none", "alignment.objective": "none"},
        **{f"optimisation.{key}": value for key, value in quick.items()},
    )
    sweep = SweepConfig.model_validate(
        {
            "name": "home",
            "experiment": experiment.model_dump(mode="json", exclude_defaults=True),
            "space": {"optimisation.learning_rate": {"type": "choice", "values": [5e-3]}},
            "protocol": {
                "sampler": "grid",
                "trials": 1,
                "shortlist": 1,
                "confirm_seeds": [11, 12],
            },
            "scheduler": {"kind": "none"},
        }
    )
    storage = tmp_path_factory.mktemp("storage")
    with without_ray():
        run_sweep(sweep, SweepOptions(storage=str(storage), tracking_uri="none", data_root=root))
    return storage


def generalize(storage: Path, root: Path, target: object, *more: str) -> int:
    arguments = [
        "generalize", "--from", "home", "--to", str(target), "--storage", str(storage),
        "--data-root", str(root), "--tracking-uri", "none", "--device", "cpu", *more,
    ]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        run_application(app, arguments)
    code = ended.value.code
    return code if isinstance(code, int) else 0


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_every_confirmed_seed_is_scored_once_and_averaged(
    storage: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generalize(storage, root, "festival", "--json") == 0
    first = answer(capsys)
    assert set(first["metrics"]) == {"11", "12"}
    scores = [metrics["test/f1"] for metrics in first["metrics"].values()]
    assert first["averages"]["test/f1_mean"] == pytest.approx(sum(scores) / 2)
    assert first["averages"]["num_seeds"] == 2

    documents = read_runs(FolderStore(storage), "home")
    moved = {key: d for key, d in documents.items() if d.tags.get("phase") == PHASE}
    (average,) = [d for d in moved.values() if d.kind == "configuration"]
    leaves = [d for d in moved.values() if d.kind == "cell"]
    assert average.parent == "sweep"
    assert {leaf.parent for leaf in leaves} == {average.key}
    assert average.metrics["test/f1_mean"] == first["averages"]["test/f1_mean"]
    assert {leaf.tags["seed"] for leaf in leaves} == {"11", "12"}
    trained = documents[f"confirm-{leaves[0].tags['cell']}"]
    for document in (average, *leaves):  # what it reads is the other data set
        assert [one.name for one in document.datasets] == ["festival"]
        assert document.config == trained.config
        assert document.tags["mlflow.user"] == trained.tags["mlflow.user"]
    for leaf in leaves:
        (name,) = leaf.artifacts.values()
        assert (storage / name).is_file()

    records = sorted(storage.glob("cells/*/evaluations/*.json"))
    assert generalize(storage, root, root / "festival", "--json") == 0
    assert answer(capsys) == first
    assert sorted(storage.glob("cells/*/evaluations/*.json")) == records
    assert read_runs(FolderStore(storage), "home") == documents


def test_a_label_without_counterpart_is_named_and_a_map_mends_it(
    storage: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generalize(storage, root, "renamed") == 2
    assert "'MISC' has no counterpart" in capsys.readouterr().err
    assert generalize(storage, root, "renamed", "--label-map", "MISC=OTHER", "--json") == 0
    by_pair = answer(capsys)
    file = tmp_path / "map.yaml"
    file.write_text("MISC: OTHER\n", encoding="utf-8")
    assert generalize(storage, root, "renamed", "--label-map", str(file), "--json") == 0
    assert answer(capsys) == by_pair
    tags = {
        d.tags.get("label_map")
        for d in read_runs(FolderStore(storage), "home").values()
        if d.tags.get("dataset") == "renamed"
    }
    assert tags == {"MISC=OTHER"}
    # The renamed set is the home set, so that its scores are those at home.
    test = PreparedData.load(root / "renamed")
    assert len(test.splits["test"]) == 6


@pytest.mark.parametrize(
    ("target", "more", "message"),
    [
        ("absent", (), "absent"),
        ("festival", ("--label-map", "MISC"), "expected MODEL_TYPE=DATA_TYPE"),
        ("festival", ("--label-map", "XYZ=LOC"), "no label 'XYZ'"),
        ("festival", ("--contexts", "none-such"), "no context set 'none-such'"),
    ],
)
def test_bad_input_is_one_message(
    storage: Path,
    root: Path,
    target: str,
    more: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert generalize(storage, root, target, *more) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


def test_cells_of_other_code_need_to_be_accepted(
    storage: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("orchestrator.studies.generalization.code_fingerprint", lambda: "another")
    assert generalize(storage, root, "festival") == 2
    assert "--accept-stale" in capsys.readouterr().err
    assert generalize(storage, root, "festival", "--accept-stale") == 0


def test_an_unconfirmed_sweep_is_refused(tmp_path: Path, root: Path) -> None:
    assert generalize(tmp_path, root, "festival") == 2


def test_a_sweep_whose_confirm_seeds_all_failed_is_refused(
    tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_failed_confirmation(tmp_path)
    code = generalize(tmp_path, root, "festival", "--from", "small")
    assert code == 2
    error = capsys.readouterr().err
    assert "seed 11: out of memory; seed 12: out of memory" in error
    assert "--retry-failed" in error
