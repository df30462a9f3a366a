"""Studies: what their files become, which cells they want, and what their tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.commands.arguments import sweep_name
from orchestrator.reports.charts.drawing import drawn
from orchestrator.search.protocol import Signal
from orchestrator.store.cells import CellStore
from orchestrator.studies.config import CurveFigure, StudyConfig
from orchestrator.studies.figures import curves
from orchestrator.studies.plan import StudyPlan, plan_study, planned_cells
from orchestrator.studies.tables import StudyTables
from orchestrator.sweeps.control.conductor import Conductor
from orchestrator.sweeps.control.reuse import StaleCellsError
from orchestrator.sweeps.record.declaration import remember
from orchestrator.sweeps.record.status import sweep_status
from orchestrator.tables.formats import to_markdown
from orchestrator.tables.table import Table
from orchestrator.tracking.run_document import read_runs
from shapca.errors import InputError
from shapca.storage import FolderStore
from tests.orchestrator.fakes import (
    CODE,
    RAISES,
    FakeFactory,
    epochs_trained,
    execute,
    open_sweep,
    sweep_config,
    trained_epochs,
)


def study_tree(**changes: Any) -> dict[str, Any]:
    """A small study of the fake training: two data sets, three rows, a published one."""
    tree: dict[str, Any] = {
        "name": "small-table",
        "title": "A small table",
        "experiment": {"optimisation": {"epochs": 2}},
        "data": {
            "A": {"experiment": {"data": {"dataset": "fake-a"}}},
            "B": {"experiment": {"task": "mre", "data": {"dataset": "fake-b"}}},
        },
        "columns": {"A": {"data": "A"}, "B": {"data": "B"}},
        "rows": {
            "UMT": {"published": {"A": 73.41}},
            "Shap-CA": {"variant": "shap-ca", "published": {"A": 76.93}},
            "w/o Shapley Value": {"variant": "without-shapley-value"},
            "w/o Contrastive": {"variant": "without-word-pair-contrastive"},
        },
        "reference": "Shap-CA",
        "seeds": [1, 2],
    }
    return {**tree, **changes}


def plan_of(tree: dict[str, Any], winners: Any = None) -> StudyPlan:
    return plan_study(StudyConfig.model_validate(tree), winners or {})


def run(folder: Path, tree: dict[str, Any], **options: Any) -> Conductor:
    """Run a study in this process."""
    sweep = plan_of(tree).sweep
    assert sweep is not None
    conductor = open_sweep(folder, sweep, **options)
    conductor.history.follow_list(CellStore(FolderStore(folder)))
    conductor = open_sweep(folder, sweep, **options)
    execute(conductor, folder)
    return conductor


def table_of(folder: Path, tree: dict[str, Any], code: str = CODE) -> Table:
    cells = CellStore(FolderStore(folder))
    return StudyTables(plan_of(tree), cells, FakeFactory(), code).table()  # type: ignore[arg-type]


def states(table: Table) -> dict[tuple[str, str], str]:
    return {(row.key, column.key): cell.state for row, column, cell in table.cells()}


def test_pooled_columns_are_means_with_one_interval(tmp_path: Path) -> None:
    tree = study_tree(pooled={"both": ["A", "B"]})
    run(tmp_path, tree)
    table = table_of(tmp_path, tree)
    assert [column.key for column in table.columns] == ["A", "B", "both"]
    for row in table.rows:
        cell = row.cells.get("both")
        if row.key == "UMT":
            assert cell is None  # published on one of them alone
        elif row.key == "w/o Contrastive":
            assert cell is not None
            assert cell.state == "n/a"
        else:
            assert cell is not None
            means = {s: (row.cells["A"].scores[s] + row.cells["B"].scores[s]) / 2 for s in (1, 2)}
            assert cell.scores == pytest.approx(means)
            assert cell.state == "done"
    found = table.row("w/o Shapley Value")
    assert found is not None
    parts = [found.cells[key].against for key in ("A", "B")]
    pooled = found.cells["both"].against
    assert pooled is not None
    assert pooled.mean == pytest.approx(sum(part.mean for part in parts if part) / 2)
    for wrong in ({"A": ["A", "B"]}, {"x": ["A", "C"]}, {"x": ["A"]}):
        with pytest.raises(ValueError, match="pooled"):
            plan_of(study_tree(pooled=wrong))


def test_a_study_becomes_a_list_of_configurations() -> None:
    plan = plan_of(study_tree())
    assert plan.sweep is not None
    assert list(plan.sweep.configurations) == [
        "Shap-CA · A", "Shap-CA · B", "w/o Shapley Value · A", "w/o Shapley Value · B",
        "w/o Contrastive · B",
    ]  # fmt: skip
    assert plan.configs["w/o Shapley Value", "A"].alignment.objective == "infonce"
    assert not plan.configs["w/o Contrastive", "B"].head.contrast.enabled
    listed = plan.sweep.configurations["Shap-CA · B"]
    assert listed.tags == {"study": "small-table", "row": "Shap-CA", "data": "B"}
    assert plan.sweep.resolve({"configuration": "Shap-CA · B"}) == plan.configs["Shap-CA", "B"]


def test_its_table_has_every_state_and_the_published_numbers(tmp_path: Path) -> None:
    before = states(table_of(tmp_path, study_tree()))
    assert before["Shap-CA", "A"] == "missing"
    run(tmp_path, study_tree())
    table = table_of(tmp_path, study_tree())
    assert states(table) == {
        ("UMT", "A"): "published",
        ("Shap-CA", "A"): "done",
        ("Shap-CA", "B"): "done",
        ("w/o Shapley Value", "A"): "done",
        ("w/o Shapley Value", "B"): "done",
        ("w/o Contrastive", "A"): "n/a",
        ("w/o Contrastive", "B"): "done",
    }
    ours = table.row("Shap-CA")
    assert ours is not None
    assert ours.cells["A"].seeds == (1, 2)
    assert ours.cells["A"].difference == pytest.approx((ours.cells["A"].mean or 0) - 76.93)
    assert ours.cells["A"].against is None  # it is the reference
    other = table.row("w/o Shapley Value")
    assert other is not None
    comparison = other.cells["A"].against
    assert comparison is not None
    assert comparison.seeds == (1, 2)
    assert comparison.corrected >= comparison.p_value


def test_every_cell_is_tested_once_and_its_weights_go(tmp_path: Path) -> None:
    tree = study_tree()
    tree["rows"]["w/o Shapley Value"]["keep_models"] = True
    conductor = run(tmp_path, tree)
    cells = CellStore(FolderStore(tmp_path))
    for event in conductor.history.proposed.values():
        assert cells.evaluation(event.cell, "test") is not None
        is_kept = str(event.values["configuration"]).startswith("w/o Shapley Value")
        assert cells.has_weights(event.cell) == is_kept


def test_a_finished_study_trains_nothing(tmp_path: Path) -> None:
    run(tmp_path, study_tree())
    trained = epochs_trained(tmp_path)
    assert trained == 5 * 2 * 2  # configurations, seeds, epochs
    assert run(tmp_path, study_tree()).next() is Signal.DONE
    assert epochs_trained(tmp_path) == trained


def test_changing_a_row_runs_only_its_cells(tmp_path: Path) -> None:
    run(tmp_path, study_tree())
    before = set(trained_epochs(tmp_path))
    tree = study_tree()
    tree["rows"]["w/o Shapley Value"]["set"] = {"alignment.temperature": 0.3}
    changed = run(tmp_path, tree)
    new = {cell for cell, _ in set(trained_epochs(tmp_path)) - before}
    wanted = {
        event.cell
        for event in changed.history.proposed.values()
        if "Shapley Value" in str(event.values["configuration"])
    }
    assert new == wanted
    assert len(new) == 4
    assert set(states(table_of(tmp_path, tree)).values()) == {"done", "published", "n/a"}


def test_one_more_seed_and_one_row_less(tmp_path: Path) -> None:
    run(tmp_path, study_tree())
    trained = epochs_trained(tmp_path)
    tree = study_tree(seeds=[1, 2, 3])
    del tree["rows"]["w/o Contrastive"]
    run(tmp_path, tree)
    assert epochs_trained(tmp_path) == trained + 4 * 2


def test_cells_of_a_sweep_are_found_by_a_study(tmp_path: Path) -> None:
    tree = study_tree(
        data={"A": {"experiment": {"data": {"dataset": "fake"}}}},
        columns={"A": {"data": "A"}},
        rows={"grid": {"set": {"head.dropout": 0.2}}},
        reference=None,
    )
    sweep = sweep_config(
        name="before",
        space={"head.dropout": {"type": "choice", "values": [0.1, 0.2]}},
        experiment={"optimisation": {"epochs": 2}},
        protocol={"kind": "replicate", "sampler": "grid", "seeds": [1, 2]},
        scheduler={"kind": "none"},
        keep_models="all",
    )
    sweep = sweep.model_copy(update={"space": {"head.dropout": sweep.space["head.dropout"]}})
    execute(open_sweep(tmp_path, sweep), tmp_path)
    trained = epochs_trained(tmp_path)
    conductor = run(tmp_path, tree)
    assert epochs_trained(tmp_path) == trained
    assert all(end.found or end.trained == 0 for end in conductor.history.ended.values())
    assert states(table_of(tmp_path, tree)) == {("grid", "A"): "done"}


def test_other_code_is_shown_and_not_mixed_unasked(tmp_path: Path) -> None:
    run(tmp_path, study_tree())
    stale = table_of(tmp_path, study_tree(), "code-2")
    assert list(states(stale).values()).count("stale") == 5
    assert "‡ stale" in to_markdown(table_of(tmp_path, study_tree(), "code-2"))
    tree = study_tree(seeds=[1, 2, 3], name="later")
    with pytest.raises(StaleCellsError, match="--accept-stale"):
        run(tmp_path, tree, code="code-2")
    run(tmp_path, tree, code="code-2", stale="accept")
    table = table_of(tmp_path, tree, "code-2")
    assert list(states(table).values()).count("stale") == 5
    ours = table.row("Shap-CA")
    assert ours is not None
    assert ours.cells["A"].seeds == (1, 2, 3)


def test_a_study_is_found_by_its_name_as_a_sweep_is(tmp_path: Path) -> None:
    tree = study_tree()
    sweep = plan_of(tree).sweep
    assert sweep is not None
    store = FolderStore(tmp_path)
    remember(store, sweep)
    assert (
        sweep_status(store, "small-table", "here", planned_cells(store, "small-table")).state
        == "stopped"
    )
    run(tmp_path, tree)
    found = sweep_status(store, "small-table", "here", planned_cells(store, "small-table"))
    assert (found.state, found.planned, found.done) == ("complete", {"study": 10}, {"study": 10})
    assert [row.name for row in found.outcome.rows] == list(sweep.configurations)
    assert all(len(row.test) == 2 for row in found.outcome.rows)
    assert found.outcome.winner is None  # nothing is chosen
    path = tmp_path / "file.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert sweep_name(str(path)) == "small-table"


def test_a_failed_seed_is_named(tmp_path: Path) -> None:
    tree = study_tree()
    tree["rows"] = {
        "fine": {"variant": "shap-ca"},
        "broken": {"set": {"head.dropout": RAISES}},
    }
    tree["reference"] = "fine"
    run(tmp_path, tree)
    table = table_of(tmp_path, tree)
    broken = table.row("broken")
    assert broken is not None
    assert broken.cells["A"].state == "missing"
    assert set(broken.cells["A"].missing) == {1, 2}
    assert "this data makes no sense" in broken.cells["A"].missing[1]
    assert "broken · seed 1: failed" in to_markdown(table)


def test_averages_and_tags_for_the_tracking_ui(tmp_path: Path) -> None:
    run(tmp_path, study_tree())
    documents = read_runs(FolderStore(tmp_path), "small-table")
    averages = [d for d in documents.values() if d.kind == "configuration"]
    assert len(averages) == 5
    for document in averages:
        assert document.status == "finished"
        assert document.metrics["num_seeds"] == 2
        assert "test/f1_mean" in document.metrics
        assert document.tags["phase"] == "study"
        assert document.tags["row"] in study_tree()["rows"]
    leaves = [d for d in documents.values() if d.kind == "cell"]
    assert len(leaves) == 10
    assert {d.parent for d in leaves} == {d.key for d in averages}
    assert {d.tags["data"] for d in leaves} == {"A", "B"}


def test_points_of_two_curves_share_their_cells(tmp_path: Path) -> None:
    tree = study_tree(
        data={"A": {"experiment": {"data": {"dataset": "fake-a"}}}},
        columns={"A": {"data": "A"}},
        rows={},
        reference=None,
        series={
            "α": {"key": "alignment.alpha", "values": [0.0, 0.2], "set": {"alignment.beta": 0.4}},
            "β": {"key": "alignment.beta", "values": [0.4, 0.8], "set": {"alignment.alpha": 0.2}},
        },
    )
    plan = plan_of(tree)
    assert plan.sweep is not None
    assert len(plan.sweep.configurations) == 3
    assert plan.names["α = 0.2", "A"] == plan.names["β = 0.4", "A"]
    run(tmp_path, tree)
    assert len(CellStore(FolderStore(tmp_path)).statuses()) == 3 * 2
    table = table_of(tmp_path, tree)
    assert [row.group for row in table.rows] == ["α", "α", "β", "β"]
    figure = CurveFigure(kind="curves", column="A", x_title="α, β")
    assert curves(plan.study, table_of(tmp_path / "empty", tree), figure) is None
    chart = curves(plan.study, table, figure)
    assert chart is not None
    lines = [series for series in chart.series if series.name is not None]
    assert [(line.name, [x for x, _ in line.points]) for line in lines] == [
        ("α", [0.0, 0.2]),
        ("β", [0.4, 0.8]),
    ]
    for line in lines:
        for (_, mean), (low, high) in zip(line.points, line.band, strict=True):
            assert chart.y.low < low < mean < high < chart.y.high
    made = drawn(chart, note=chart.caption)
    assert made["png"].startswith(b"\x89PNG")
    assert made == drawn(chart, note=chart.caption)
    assert not [series for series in chart.series if series.mark == "ring" and series.points]
    stale = curves(plan.study, table_of(tmp_path, tree, code="another"), figure)
    assert stale is not None
    assert sum(len(s.points) for s in stale.series if s.mark == "ring") == 4
    assert "Open markers" in stale.caption
    assert list(states(table).values()) == ["done"] * 4


def test_a_selection_runs_alone(tmp_path: Path) -> None:
    plan = plan_of(study_tree())
    part = plan.selected(["Shap-CA"], ["B"])
    assert part is not None
    assert list(part.configurations) == ["Shap-CA · B"]
    assert plan.selected(["w/o Contrastive"], ["A"]) is None
    with pytest.raises(InputError, match="no row 'shapca'; it has UMT, Shap-CA"):
        plan.selected(["shapca"], [])


def test_settings_of_a_winner_stand_below_what_a_row_sets() -> None:
    tree = study_tree(from_sweep="best")
    tree["rows"]["hot"] = {"set": {"alignment.temperature": 0.3}}
    winners = {"best": {"alignment.temperature": 0.05, "optimisation.learning_rate": 3e-4}}
    plan = plan_of(tree, winners)
    assert plan.configs["Shap-CA", "A"].alignment.temperature == 0.05
    assert plan.configs["hot", "A"].alignment.temperature == 0.3
    assert plan.configs["hot", "A"].optimisation.learning_rate == 3e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "UMT"}, "reference: 'UMT' is a published row"),
        ({"reference": "x"}, "reference: 'x' is not known"),
        (
            {
                "series": {
                    "β": {"key": "alignment.beta", "values": [0.0, 0.4], "keep_models": [0.2]}
                }
            },
            "series.β.keep_models: 0.2 is not known; expected one of 0.0, 0.4",
        ),
        ({"columns": {"A": {"data": "C"}}}, "columns.A.data: 'C' is not known; expected one of A"),
        ({"rows": {"r": {"variant": "x"}}, "reference": None}, "'x' is not known"),
        ({"rows": {"r": {"published": {"Z": 1}}}, "reference": None}, "'Z' is not known"),
        ({"seeds": [1, 1]}, "seeds must differ"),
        ({"rows": {}, "reference": None}, "expected rows or series"),
        ({"surprise": 1}, "surprise: unknown key"),
        ({"figure": {"kind": "curves", "column": "A"}}, "needs series"),
    ],
)
def test_a_bad_file_is_one_message(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study_tree(**changes)), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        StudyConfig.load(path)


def test_a_bad_row_names_row_data_set_and_key() -> None:
    tree = study_tree()
    tree["rows"]["Shap-CA"]["set"] = {"alignment.temperature": 0.0001}
    with pytest.raises(InputError, match=r"row 'Shap-CA' on A: experiment.alignment.temperature"):
        plan_of(tree)
