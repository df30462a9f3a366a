"""Pictures for the README: the MLflow UI, a report, and the terminal, of a sweep that was run.

`make pictures` (the demo sweep under `storage/`), or
`python -m tests.pictures SWEEP --storage DIR --out docs/pictures`; data sets elsewhere than the
sweep's file says lie in $DATA_ROOT.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from shapca.cli import run_application
from shapca.errors import InputError
from tests.browser import MISSING, Browser, is_there
from tests.orchestrator.servers import free_port

LARGEST = 200_000
"""Bytes of a picture at most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep")
    parser.add_argument("--storage", default="storage")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    arguments = parser.parse_args()
    if not is_there():
        raise InputError(MISSING)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with Browser() as browser:
        for take in (terminal, report, mlflow, demo_page):
            for file in take(browser, arguments.sweep, arguments.storage, arguments.out):
                print(f"{file}: {shrink(file) / 1000:.0f} kB")


def report(browser: Browser, sweep: str, storage: str, out: Path) -> Iterator[Path]:
    """The top of the report and its error analysis, light."""
    from orchestrator.commands.arguments import existing_storage
    from orchestrator.reports.make import PAGE, content_from, report_files
    from shapca.runs.code import code_fingerprint

    _, store = existing_storage(storage)
    root = Path(os.environ["DATA_ROOT"]) if "DATA_ROOT" in os.environ else None
    content = content_from(store, sweep, Path(storage).name, code_fingerprint(), data_root=root)
    page = out / PAGE
    page.write_bytes(report_files(content, figures=False)[PAGE])
    try:
        browser.open(page.absolute().as_uri(), width=1240, height=900)
        browser.picture(out / "report.png", height=1500)
        yield out / "report.png"
        browser.run("document.getElementById('errors').scrollIntoView()")
        browser.picture(out / "report_errors.png")
        yield out / "report_errors.png"
    finally:
        page.unlink()


def mlflow(browser: Browser, sweep: str, storage: str, out: Path) -> Iterator[Path]:
    """The first screen, and the same runs as a table."""
    command = [sys.executable, "-m", "orchestrator", "ui", "--storage", storage, "--no-browser"]
    process = subprocess.Popen(
        [*command, "--port", str(free_port())], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.fullmatch(rf"\s+{re.escape(sweep)}: (http://127\.0\.0\.1:\S+)\n", line):
                browser.open(found[1], width=1500, height=900)
                browser.wait("document.querySelectorAll('.js-plotly-plot').length", lambda n: n > 2)
                time.sleep(2)  # lines are drawn after their frames
                browser.picture(out / "mlflow.png")
                yield out / "mlflow.png"
                browser.open(found[1].replace("&compareRunsMode=CHART", ""), width=1500, height=900)
                browser.wait("document.querySelectorAll('.ag-row').length", lambda n: n > 8)
                browser.wait("document.querySelector('.ag-center-cols-container').innerText.length")
                browser.picture(out / "mlflow_table.png")
                yield out / "mlflow_table.png"
                return
    finally:
        process.terminate()
        process.wait(30)
    raise InputError(f"storage {storage}: MLflow there knows no sweep {sweep}")


def demo_page(browser: Browser, sweep: str, storage: str, out: Path) -> Iterator[Path]:
    """The page of the sweep's champion with the README's post."""
    command = [sys.executable, "-m", "orchestrator", "demo", sweep, "--storage", storage]
    process = subprocess.Popen(
        [*command, "--no-browser"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        browser.open(found[0], width=820, height=720)
        browser.wait("document.body.dataset.ready")
        browser.run("document.getElementById('context').value = 'a photo of a family house'")
        browser.run("document.getElementById('go').click()")
        browser.wait("!document.getElementById('result').hidden")
        height = browser.run("Math.ceil(document.querySelector('main').scrollHeight)")
        browser.picture(out / "demo.png", height=int(height))
        yield out / "demo.png"
    finally:
        process.terminate()
        process.wait(30)


def terminal(browser: Browser, sweep: str, storage: str, out: Path) -> Iterator[Path]:
    """What `orchestrator sweep` prints at its end."""
    from rich.console import Console

    from orchestrator.commands.arguments import existing_storage
    from orchestrator.sweeps.record.status import sweep_status
    from orchestrator.sweeps.views.summary import print_outcome

    _, store = existing_storage(storage)
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    print_outcome(sweep_status(store, sweep, Path(storage).name).outcome, console)
    page = out / "terminal.html"
    page.write_text(console.export_html(), encoding="utf-8")
    try:
        browser.open(page.absolute().as_uri(), width=960, height=400)
        height = browser.run("Math.ceil(document.body.getBoundingClientRect().bottom)")
        browser.picture(out / "terminal.png", height=int(height) + 8)
    finally:
        page.unlink()
    yield out / "terminal.png"


def shrink(file: Path) -> int:
    """Fewer colours, until the picture is small enough; its size in bytes."""
    for colours in (256, 128, 64):
        with Image.open(file) as picture:
            picture.convert("RGB").quantize(colours).save(file, optimize=True)
        if file.stat().st_size <= LARGEST:
            break
    return file.stat().st_size


if __name__ == "__main__":
    run_application(lambda args=None: main())  # type: ignore[arg-type]
