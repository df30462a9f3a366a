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
    command = [
        sys.executable,
        "-m",
        "orchestrator",
        "ui",
        "--storage",
        str(storage),
        "--no-browser",
    ]
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


def test_mlflows_first_screen_says_what_won_by_how_much_and_how_it_learned(
    browser: Browser, ui: str, storage: Path, tmp_path: Path
) -> None:
    winner = outcome(storage).winner
    assert winner is not None
    browser.open(ui, width=1500, height=900)
    browser.wait("document.querySelectorAll('.ag-row').length", lambda number: number > 8)
    browser.wait("document.querySelectorAll('.js-plotly-plot').length", lambda number: number >= 3)
    text = browser.run("document.body.innerText")
    assert f"test F1 {winner.test_mean:.2f} ± {winner.test_std:.2f} (seeds 11 12 13)" in text
    assert winner.name in text  # the parameters
    assert seen(browser, ".js-plotly-plot") >= 2
    links = browser.run("[...document.querySelectorAll('.ag-row a')].map(a => a.innerText)")
    assert links[:5] == ["small", "winner", *(f"winner · seed {n}" for n in (13, 12, 11))]
    names = browser.run("[...document.querySelectorAll('h4')].map(h => h.innerText).join(' ')")
    assert "z_test" not in names.partition("val")[0]  # curves stand before bars
    picture = tmp_path / "mlflow.png"
    browser.picture(picture)
    assert Image.open(picture).size == (1500, 900)


def test_mlflows_table_has_the_result_first_then_the_parameters(
    browser: Browser, ui: str, storage: Path
) -> None:
    winner = outcome(storage).winner
    assert winner is not None
    browser.open(ui.replace("&compareRunsMode=CHART", ""), width=1500, height=900)
    browser.wait("document.querySelectorAll('.ag-row').length", lambda number: number > 8)
    heads = (
        "[...document.querySelectorAll('.ag-header-cell')].map("
        "h => [h.getBoundingClientRect().x, h.innerText.trim()])"
    )
    found = browser.wait(heads, lambda found: any(text == "result" for _, text in found))
    shown = [text for _, text in sorted(found) if text]
    varied = ["optimisation.learning_rate", "alignment.alpha"]
    assert shown[:5] == ["Run Name", "Created", "result", *varied]
    result = f"{winner.test_mean:.2f} ± {winner.test_std:.2f} test (3 seeds)"
    assert result in browser.run("document.body.innerText")


def test_no_way_leads_to_pages_for_language_models(browser: Browser, ui: str) -> None:
    browser.open(ui, width=1500, height=900)
    link = "[...document.querySelectorAll('a')].filter(a => a.innerText.trim() == '{}').at(-1)"
    browser.wait(link.format("Experiments"))
    browser.run(link.format("Experiments") + ".click()")
    browser.wait("location.hash", lambda place: place.partition("?")[0] == "#/experiments")
    listed = link.format("small").replace(".at(-1)", ".some(a => /[0-9]$/.test(a.hash))")
    browser.wait(f"document.body.innerText.includes('Time created') && {listed}")
    browser.run(link.format("small") + ".click()")
    browser.wait("document.querySelectorAll('.ag-row').length", lambda number: number > 8)
    assert "workflowType=machine_learning" in browser.run("location.href")
    browser.open(ui.partition("#")[0], width=1500, height=900)
    browser.wait(link.format("Model registry"))
    chosen = browser.run("localStorage.getItem('mlflow.workflowType_v1')")
    assert chosen == '"machine_learning"'


def seen(browser: Browser, selector: str) -> int:
    """How many elements lie wholly or half within the window."""
    count: int = browser.run(
        f"[...document.querySelectorAll('{selector}')].map(e => e.getBoundingClientRect())"
        ".filter(b => b.width > 0 && b.top + b.height / 2 < innerHeight).length"
    )
    return count
