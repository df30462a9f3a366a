"""Studies end to end on tiny synthetic data: trained, moved to other data, drawn, tracked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.config.sweep import SweepConfig
from orchestrator.store.cell_factory import prepared_folder
from orchestrator.store.cells import CellStore
from orchestrator.studies.config import StudyConfig
from orchestrator.studies.generalization import PHASE
from orchestrator.studies.plan import planned_cells
from orchestrator.studies.run import StudyOutcome, run_study
from orchestrator.studies.view import study_lines
from orchestrator.sweeps.control.reuse import StaleCellsError
from orchestrator.sweeps.driver import SweepOptions, run_sweep
from orchestrator.sweeps.record.status import sweep_status
from orchestrator.tracking.run_document import read_run, read_runs
from shapca.config import ExperimentConfig
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.storage import FolderStore, to_json
from tests.factories import tiny_config, tiny_data
from tests.orchestrator.local import without_ray
from tests.orchestrator.studies.test_plan import states


def study(**changes: Any) -> StudyConfig:
    """Two text models of joint extraction, tested at home and elsewhere, with two posts shown."""
    experiment = tiny_config(
        "mjere", **{"image.encoder": "none", "optimisation.epochs": 1}
    ).model_dump(mode="json", exclude_defaults=True)
    tree: dict[str, Any] = {
        "name": "tiny-study",
        "title": "A tiny study",
        "experiment": experiment,
        "data": {"home": {}},
        "columns": {
            "F1": {"data": "home"},
            "entity F1": {"data": "home", "score": "entity_f1"},
            "elsewhere": {"data": "home", "score": "entity_f1", "test_on": "elsewhere"},
            "Param.": {"data": "home", "score": "parameters", "better": "low"},
        },
        "rows": {
            "Published": {"published": {"F1": 55.29}},
            "Text": {"variant": "text-only"},
            "Text + context": {"variant": "concat-baseline", "published": {"F1": 52.36}},
        },
        "reference": "Text",
        "seeds": [1, 2],
        "figure": {
            "kind": "cases",
            "data": "home",
            "rows": ["Text", "Text + context"],
            "posts": ["synthetic-test-0", "synthetic-test-1"],
        },
    }
    return StudyConfig.model_validate({**tree, **changes})


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study-data")
    tiny_data(root, "mjere", num_train=12, num_valid=6, num_test=8)
    (root / "tiny-mjere").rename(root / "elsewhere")
    tiny_data(root, "mjere", num_train=12, num_valid=6, num_test=8, domain="festival")
    return root


def post_ids(data_root: Path) -> list[str]:
    return [post.id for post in PreparedData.load(data_root / "tiny-mjere").splits["test"]]


def run(storage: Path, data_root: Path, config: StudyConfig, **options: Any) -> StudyOutcome:
    asked = {"tracking_uri": "none", **options}
    arguments = {name: asked.pop(name) for name in ("rows", "train") if name in asked}
    with without_ray():
        return run_study(
            config,
            SweepOptions(storage=str(storage), data_root=data_root, **asked),
            **arguments,
        )


@pytest.fixture(scope="module")
def finished(
    data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, StudyConfig, StudyOutcome]:
    storage = tmp_path_factory.mktemp("storage")
    config = study()
    figure = config.figure
    assert figure is not None
    figure = figure.model_copy(update={"posts": tuple(post_ids(data_root)[:2])})
    config = config.model_copy(update={"figure": figure})
    return storage, config, run(storage, data_root, config)


def test_every_column_is_filled(finished: tuple[Path, StudyConfig, StudyOutcome]) -> None:
    table = finished[2].table
    states = {(r.key, c.key): cell.state for r, c, cell in table.cells()}
    assert states.pop(("Published", "F1")) == "published"
    assert set(states.values()) == {"done"}
    assert len(states) == 8
    row = table.row("Text + context")
    assert row is not None
    for name in ("F1", "entity F1", "elsewhere"):
        assert row.cells[name].seeds == (1, 2)
        comparison = row.cells[name].against
        assert comparison is not None
        assert comparison.num_examples == 8
    assert row.cells["Param."].against is None
    assert 0 < (row.cells["Param."].mean or 0) < 1  # a tiny model has under a million parameters
    remarks = "\n".join(table.remarks())
    assert "2 seeds alone (sign test) can reach no p below 0.5" in remarks


def test_files_and_pictures_are_in_the_storage(
    finished: tuple[Path, StudyConfig, StudyOutcome],
) -> None:
    storage, _, outcome = finished
    suffixes = {name.rpartition(".")[2] for name in outcome.files}
    assert suffixes == {"md", "csv", "tex", "json", "png", "svg", "pdf"}
    for name in outcome.files.values():
        assert (storage / name).stat().st_size > 100
    png = (storage / outcome.files["tiny-study.png"]).read_bytes()
    assert png.startswith(b"\x89PNG")
    assert (storage / outcome.files["tiny-study.svg"]).read_bytes().startswith(b"<?xml")


def test_moved_cells_are_runs_tagged_and_averaged(
    finished: tuple[Path, StudyConfig, StudyOutcome],
) -> None:
    storage, _, outcome = finished
    documents = read_runs(FolderStore(storage), "tiny-study")
    moved = [d for d in documents.values() if d.tags.get("phase") == PHASE]
    averages = [d for d in moved if d.kind == "configuration"]
    leaves = [d for d in moved if d.kind == "cell"]
    assert (len(averages), len(leaves)) == (2, 4)
    for average in averages:
        own = [leaf.metrics["test/entity_f1"] for leaf in leaves if leaf.parent == average.key]
        assert average.metrics["test/entity_f1_mean"] == pytest.approx(sum(own) / 2)
        assert average.tags["dataset"] == "tiny-mjere" or average.tags["trained_on"]
    row = outcome.table.row("Text")
    assert row is not None
    shown = {average.tags["row"]: average.metrics["test/entity_f1_mean"] for average in averages}
    assert row.cells["elsewhere"].mean == pytest.approx(shown["Text"])


def test_the_parent_run_says_what_it_is(
    finished: tuple[Path, StudyConfig, StudyOutcome],
) -> None:
    parent = read_run(FolderStore(finished[0]), "tiny-study", "sweep")
    assert parent is not None
    assert parent.status == "finished"
    assert "| Method | F1 |" in (parent.note or "")
    assert "orchestrator study" in (parent.note or "")
    wanted = {"tables/tiny-study.md", "tables/tiny-study.png", "report/report.html"}
    assert set(parent.artifacts) >= wanted


def test_a_study_does_not_take_the_name_of_a_sweep(
    finished: tuple[Path, StudyConfig, StudyOutcome], data_root: Path, tmp_path: Path
) -> None:
    space = SweepConfig.model_validate(
        {
            "name": "tiny-study",
            "experiment": tiny_config("mjere", **{"image.encoder": "none"}).model_dump(
                mode="json", exclude_defaults=True
            ),
            "space": {"alignment.alpha": {"type": "choice", "values": [0.0]}},
            "protocol": {"kind": "single", "sampler": "grid", "trials": 1},
        }
    )
    options = SweepOptions(storage=str(tmp_path), data_root=data_root, tracking_uri="none")
    with without_ray():
        run_sweep(space, options)
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for train in (True, False):
        with pytest.raises(InputError, match="tiny-study is a sweep in this storage; give the st"):
            run(tmp_path, data_root, finished[1], train=train)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    with without_ray(), pytest.raises(InputError, match="sweep tiny-study: tiny-study is a study"):
        run_sweep(space, replace(options, storage=str(finished[0])))


def test_a_study_of_which_a_row_was_run_is_not_complete(data_root: Path, tmp_path: Path) -> None:
    plain = study(columns={"F1": {"data": "home"}}, figure=None, seeds=[1])
    run(tmp_path, data_root, plain, rows=["Text"])
    store = FolderStore(tmp_path)
    planned = planned_cells(store, "tiny-study")
    found = sweep_status(store, "tiny-study", str(tmp_path), planned)
    assert (found.state, found.planned, found.done) == ("stopped", {"study": 2}, {"study": 1})
    run(tmp_path, data_root, plain)
    store = FolderStore(tmp_path)
    planned = planned_cells(store, "tiny-study")
    found = sweep_status(store, "tiny-study", str(tmp_path), planned)
    assert (found.state, found.planned, found.done) == ("complete", {"study": 2}, {"study": 2})


def test_the_closing_line_counts_evaluation_as_well_as_training(
    finished: tuple[Path, StudyConfig, StudyOutcome],
) -> None:
    storage, _, outcome = finished
    assert outcome.sweep is not None
    assert outcome.seconds > outcome.sweep.seconds
    lines = [line.plain for line in study_lines(replace(outcome, seconds=4000.0), str(storage))]
    assert "cells: 4 finished; 1 h 06 min" in lines


def test_run_again_it_trains_and_writes_nothing(
    finished: tuple[Path, StudyConfig, StudyOutcome], data_root: Path
) -> None:
    storage, config, first = finished
    before = {path: path.stat().st_mtime_ns for path in storage.rglob("*.*") if path.is_file()}
    again = run(storage, data_root, config)
    assert again.table == first.table
    changed = {
        path.name
        for path in storage.rglob("*.*")
        if path.is_file()
        and before.get(path) != path.stat().st_mtime_ns
        and path.parent.name not in ("lease", "beat")
    }
    assert changed <= {"sweep.json", "study.json", "declaration.json"}


def test_a_cell_without_the_weights_that_are_needed_is_trained_again(
    finished: tuple[Path, StudyConfig, StudyOutcome], data_root: Path
) -> None:
    storage, config, first = finished
    cells = CellStore(FolderStore(storage))
    row = first.table.row("Text")
    assert row is not None
    key = row.cells["elsewhere"].cells[1]
    assert cells.has_weights(key)
    cells.drop_weights(key)
    known = run(storage, data_root, config)
    assert known.reset == ()  # what was evaluated is on record: no weights are needed
    for name in FolderStore(storage / "cells" / key).list("evaluations/"):
        if not name.endswith(("test.json", "valid.json")):
            FolderStore(storage / "cells" / key).delete(name)
    again = run(storage, data_root, config)
    assert again.reset == (key,)
    assert again.table == first.table


def test_tables_of_other_code_are_refused_or_marked(
    finished: tuple[Path, StudyConfig, StudyOutcome],
    data_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage, config, _ = finished
    for module in ("studies.run", "sweeps.driver"):
        monkeypatch.setattr(f"orchestrator.{module}.code_fingerprint", lambda: "another")
    with pytest.raises(StaleCellsError, match="--accept-stale"):
        run(storage, data_root, config)
    shown = run(storage, data_root, config, train=False)
    assert list(states(shown.table).values()).count("stale") == 6
    accepted = run(storage, data_root, config, stale="accept")
    assert list(states(accepted.table).values()).count("stale") == 6


def test_labels_without_counterpart_are_refused_before_training(
    data_root: Path, tmp_path: Path
) -> None:
    config = study()
    column = config.columns["elsewhere"].model_copy(update={"label_map": {"PER": "Human"}})
    config = config.model_copy(update={"columns": {**config.columns, "elsewhere": column}})
    with pytest.raises(InputError, match="'PER' has no counterpart"):
        run(tmp_path, data_root, config)
    assert not list(tmp_path.glob("cells/*/epochs"))


def test_a_data_set_that_is_not_there_is_missing_only_where_it_is_not_asked_for(
    finished: tuple[Path, StudyConfig, StudyOutcome], data_root: Path
) -> None:
    storage, config, _ = finished
    away = {"experiment": {"data": {"dataset": "absent"}}}
    more = StudyConfig.model_validate(
        {
            **config.model_dump(mode="json"),
            "data": {"home": {}, "away": away},
            "columns": {"F1": {"data": "home"}, "away F1": {"data": "away"}},
            "rows": {"Text": {"variant": "text-only"}},
            "figure": None,
        }
    )
    table = run(storage, data_root, more, train=False).table
    row = table.row("Text")
    assert row is not None
    assert row.cells["F1"].state == "done"
    assert row.cells["away F1"].state == "missing"
    assert "absent" in (row.cells["away F1"].reason or "")
    with pytest.raises(InputError, match="'absent' is not under"):
        run(storage, data_root, more)


def test_looking_at_a_study_makes_nothing(tmp_path: Path) -> None:
    config = study(data={"home": {"experiment": {"data": {"dataset": "synthetic-mjere"}}}})
    file = tmp_path / "study.yaml"
    file.write_bytes(to_json(config.model_dump(mode="json")))
    storage, root = tmp_path / "storage", tmp_path / "data"
    arguments = ["study", str(file), "--no-train", "--storage", str(storage)]
    arguments += ["--data-root", str(root), "--tracking-uri", "none"]
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, InputError)
    assert f"storage {storage}: no such folder" in str(refused.exception)
    assert not storage.exists()
    storage.mkdir()
    refused = CliRunner().invoke(app, arguments)
    assert isinstance(refused.exception, InputError)
    assert f"'synthetic-mjere' is not under {root}" in str(refused.exception)
    assert list(tmp_path.iterdir()) in ([file, storage], [storage, file])
    assert not list(storage.iterdir())


def test_a_synthetic_data_set_that_is_drawn_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ExperimentConfig.model_validate({"data": {"dataset": "synthetic"}})
    folder = prepared_folder(tmp_path, config)
    assert capsys.readouterr().err == (
        f"synthetic: not there, so a synthetic data set is drawn in {folder}\n"
    )
    assert prepared_folder(tmp_path, config) == folder
    assert capsys.readouterr().err == ""
