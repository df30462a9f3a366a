"""The report and the MLflow UI in a real Chromium; skipped where there is none."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.reports.charts.figures import charts_of
from orchestrator.reports.make import content_from
from orchestrator.reports.page import page_of
from orchestrator.store.cells import CellStore
from orchestrator.sweeps.record.declaration import remember
from orchestrator.sweeps.record.outcome import SweepOutcome, outcome_of
from orchestrator.sweeps.views.markdown import note
from orchestrator.tracking.publisher import Publisher
from orchestrator.tracking.state import TrackingState
from shapca.storage import FolderStore
from tests.browser import MISSING, Browser, is_there
from tests.orchestrator.fakes import CODE, execute, open_sweep, sweep_config
from tests.orchestrator.servers import free_port

pytestmark = pytest.mark.skipif(not is_there(), reason=MISSING)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Path:
    """A confirmed sweep in the storage and in MLflow."""
    folder = tmp_path_factory.mktemp("storage")
    shutil.copy(mlflow_template, folder / "mlflow.db")
    sweep = sweep_config(protocol={"trials": 6, "confirm_seeds": [11, 12, 13]})
    conductor = open_sweep(folder, sweep)
    execute(conductor, folder)
    remember(FolderStore(folder), sweep)
    conductor.documents.sweep_ended("finished", time.time(), note(outcome(folder), sweep))
    Publisher(FolderStore(folder), "small", "small", f"sqlite:///{folder}/mlflow.db").reconcile()
    return folder


def outcome(folder: Path) -> SweepOutcome:
    history = open_sweep(folder, sweep_config(protocol={"confirm_seeds": [11, 12, 13]})).history
    return outcome_of(
        history, CellStore(FolderStore(folder)), status="finished", reason=None, seconds=1.0,
        storage=str(folder), tracking=TrackingState("off"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(storage: Path) -> str:
    """Address of the sweep's report."""
    content = content_from(FolderStore(storage), "small", str(storage), CODE)
    file = storage / "report.html"
    file.write_bytes(page_of(content, charts_of(content)))
    return file.as_uri()


@pytest.fixture(scope="module")
def ui(storage: Path) -> Iterator[str]:
    """The address that `orchestrator ui` prints for the sweep."""
    command = [sys.executable, "-m", "orchestrator", "ui", "--storage", str(storage)]
    process = subprocess.Popen(
        [*command, "--port", str(free_port())], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.fullmatch(r"\s+small: (http://127\.0\.0\.1:\S+)\n", line):
                yield found[1]
                break
        else:
            pytest.fail("orchestrator ui printed no address of the sweep")
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 768, 380])
def test_the_report_fits_and_shows_the_winner(
    browser: Browser, page: str, storage: Path, tmp_path: Path, width: int, is_dark: bool
) -> None:
    browser.open(page, width=width, height=800, is_dark=is_dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    winner = outcome(storage).winner
    assert winner is not None
    assert f"{winner.test_mean:.2f}" in browser.run("document.querySelector('.score').innerText")
    shown = browser.run(
        "[...document.querySelectorAll('figure')].map(f => [...f.querySelectorAll('svg.chart')]"
        ".filter(s => s.getBoundingClientRect().width > 0).length)"
    )
    assert shown
    assert set(shown) == {1}  # one drawing of each chart
    assert browser.complaints() == []
    picture = tmp_path / "report.png"
    browser.picture(picture)
    red, green, blue = Image.open(picture).convert("RGB").getpixel((3, 3))  # type: ignore[misc]
    assert (red + green + blue < 150) == is_dark


def test_the_reports_text_is_large_enough_on_a_phone(browser: Browser, page: str) -> None:
    browser.open(page, width=380)
    smallest = browser.run(
        "Math.min(...[...document.querySelectorAll('svg.chart text')].map("
        "t => t.getBoundingClientRect().height).filter(h => h > 0))"
    )
    assert smallest >= 11


def test_tables_sort_and_points_speak(browser: Browser, page: str) -> None:
    browser.open(page)
    column = (
        "[...document.querySelectorAll('#configurations tbody tr')].map(r => r.cells[3].innerText)"
    )
    before = [float(value) for value in browser.run(column)]
    button = "document.querySelectorAll('#configurations th button')[3]"
    browser.run(f"{button}.click()")
    assert [float(v) for v in browser.run(column)] == sorted(before, reverse=True)
    browser.run(f"{button}.click()")
    assert [float(v) for v in browser.run(column)] == sorted(before)
    browser.pointed_at("#search svg.chart .hit use")
    assert "val F1" in browser.wait("document.getElementById('tip').innerText")


def test_mlflow_opens_on_the_averages_with_their_children_under_them(
    browser: Browser, ui: str, storage: Path, tmp_path: Path
) -> None:
    winner = outcome(storage).winner
    assert winner is not None
    browser.open(ui, width=1500, height=900)
    browser.wait("document.querySelectorAll('.ag-row').length", lambda number: number > 8)
    heads = browser.wait(
        "[...document.querySelectorAll('.ag-header-cell')].map(h => h.innerText.trim())",
        lambda found: "test/f1_mean" in found,
    )
    assert {"test/f1_mean", "test/f1_std", "val/f1_mean", "num_seeds"} <= set(heads)
    text = browser.run("document.body.innerText")
    assert f"{winner.test_mean:.4f}"[:-1] in text  # the mean, as far as the column is wide
    names = [f"seed {seed}" for seed in (11, 12, 13)]
    links = browser.run("[...document.querySelectorAll('.ag-row a')].map(a => a.innerText)")
    assert all(any(link.endswith(name) for link in links) for name in names)
    assert any("mean of 3 seeds" in link for link in links)
    picture = tmp_path / "mlflow.png"
    browser.picture(picture)
    assert Image.open(picture).size == (1500, 900)
