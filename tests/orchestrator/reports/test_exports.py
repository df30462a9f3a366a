"""Tables of a report: a sweep's configurations as files, a study's cells on the page."""

from __future__ import annotations

from pathlib import Path

from orchestrator.config.sweep import SweepConfig
from orchestrator.reports.charts.figures import charts_of
from orchestrator.reports.exports import configuration_table
from orchestrator.reports.make import report_files
from orchestrator.reports.page import page_of, result_tables
from orchestrator.tables.table import Column, Row, Table, TableCell
from tests.orchestrator.fakes import open_sweep, sweep_config
from tests.orchestrator.reports.conftest import content, run
from tests.orchestrator.reports.test_page import Page


def a_table() -> Table:
    return Table(
        "table1", "Twitter & co",
        (Column("f1", "F1", group="Twitter-17"), Column("p", "P")),
        (
            Row("ours", "Shap-CA", {
                "f1": TableCell.measured("done", {1: 85.0, 2: 87.0}, target=85.5),
                "p": TableCell.measured("missing", {1: 80.0}, missing={2: "<b>gone</b>"}),
            }),
            Row("text", "BERT-CRF", {
                "f1": TableCell.measured("stale", {1: 80.0}, target=83.44),
                "p": TableCell("running", target=82.0),
            }),
            Row("other", "UMT", {"f1": TableCell.published(85.31), "p": TableCell("n/a")}),
        ),
    )  # fmt: skip


def test_published_targets_stand_beside_measured_cells_with_the_difference() -> None:
    shown = Page(f"<div>{result_tables([a_table()])}</div>")
    assert "86.00 ± 1.41" in shown.text
    assert "published 85.50 +0.50" in shown.text
    assert "published 83.44 −3.44" in shown.text
    assert "published 82.00" in shown.text
    assert "85.31†" in shown.text


def test_no_cell_is_silently_old_or_incomplete() -> None:
    shown = Page(f"<div>{result_tables([a_table()])}</div>")
    states = [
        str(attributes["class"]).split()[1]
        for _, attributes in shown.tags
        if str(attributes.get("class", "")).startswith("state ")
    ]
    assert sorted(states) == ["missing", "na", "running", "stale"]


def test_a_listed_sweep_has_its_tables_and_no_winner(tmp_path: Path) -> None:
    plain = {"experiment": {"data": {"dataset": "fake"}, "optimisation": {"epochs": 3}}}
    sweep = SweepConfig.model_validate(
        {
            "name": "small",
            "configurations": {"plain": plain},
            "protocol": {"kind": "listed", "seeds": [1, 2]},
            "scheduler": {"kind": "none"},
        }
    )
    run(tmp_path, sweep)
    shown = content(tmp_path)
    assert shown.is_listed
    page = Page(page_of(shown, charts_of(shown), [a_table()]).decode())
    assert "Twitter & co" in page.text
    assert "nothing is chosen" in page.text
    assert "No configuration has finished" not in page.text
    made = report_files(shown, figures=False, tables=[a_table()])
    assert {"table1.md", "table1.csv", "table1.tex"} <= set(made)


def test_the_configurations_as_a_table(finished: Path) -> None:
    shown = content(finished)
    winner = shown.winner
    table = configuration_table(shown)
    assert winner is not None
    assert table is not None
    tested = [
        row.key for row, column, cell in table.cells() if column.key == "test" and cell.scores
    ]
    assert tested == ["winner"]
    made = report_files(shown, figures=False)
    mean = f"{winner.test_mean:.2f}"
    for name in ("configurations.md", "configurations.tex", "report.md"):
        assert mean in made[name].decode()
    assert r"\toprule" in made["configurations.tex"].decode()
    assert "stale" in {
        cell.state
        for _, _, cell in configuration_table(content(finished, code="code-2")).cells()  # type: ignore[union-attr]
    }


def test_a_sweep_without_a_result_has_no_table(tmp_path: Path) -> None:
    from orchestrator.sweeps.record.declaration import remember
    from shapca.storage import FolderStore

    sweep = sweep_config()
    open_sweep(tmp_path, sweep)
    remember(FolderStore(tmp_path), sweep)
    assert configuration_table(content(tmp_path)) is None
