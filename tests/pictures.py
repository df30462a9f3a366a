"""Pictures for the README: the MLflow UI, a report, and the terminal, of a sweep that was run.

`make pictures` (the demo sweep under `storage/`), or
`python -m tests.pictures SWEEP --storage DIR --out docs/pictures`.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
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
        for take in (terminal, report, mlflow):
            file = take(browser, arguments.sweep, arguments.storage, arguments.out)
            print(f"{file}: {shrink(file) / 1000:.0f} kB")


def report(browser: Browser, sweep: str, storage: str, out: Path) -> Path:
    """The top of the report, light."""
    from orchestrator.commands.arguments import existing_storage
    from orchestrator.reports.make import PAGE, content_from, report_files
    from shapca.runs.code import code_fingerprint

    _, store = existing_storage(storage)
    content = content_from(store, sweep, Path(storage).name, code_fingerprint())
    page = out / PAGE
    page.write_bytes(report_files(content, figures=False)[PAGE])
    try:
        browser.open(page.absolute().as_uri(), width=1240, height=900)
        browser.picture(out / "report.png", height=1500)
    finally:
        page.unlink()
    return out / "report.png"


def mlflow(browser: Browser, sweep: str, storage: str, out: Path) -> Path:
    """The view of the averages with their children."""
    command = [sys.executable, "-m", "orchestrator", "ui", "--storage", storage]
    process = subprocess.Popen(
        [*command, "--port", str(free_port())], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.fullmatch(rf"\s+{re.escape(sweep)}: (http://127\.0\.0\.1:\S+)\n", line):
                browser.open(found[1], width=1640, height=860)
                browser.wait("document.querySelectorAll('.ag-row').length", lambda n: n > 8)
                browser.wait("document.querySelector('.ag-center-cols-container').innerText.length")
                browser.picture(out / "mlflow.png")
                return out / "mlflow.png"
    finally:
        process.terminate()
        process.wait(30)
    raise InputError(f"storage {storage}: MLflow there knows no sweep {sweep}")


def terminal(browser: Browser, sweep: str, storage: str, out: Path) -> Path:
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
    return out / "terminal.png"


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
