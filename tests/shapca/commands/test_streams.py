"""Output never ends the work, and what the system refuses is one message."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from shapca.cli import run_application
from shapca.errors import StorageError
from tests.paths import ROOT

START = "from shapca.commands.display.streams import make_steady; make_steady(); import sys; "


def run(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", START + code, *arguments], env=environment, timeout=60, **options
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_goes_away_is_not_missed(stream: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = (
        f"print('x' * 100_000, file=sys.{stream}, flush=True); "
        f"print('y', file=sys.{stream}); open(sys.argv[1], 'w').write('done')"
    )
    done = run(code, str(tmp_path / "mark"), **{stream: writer})
    os.close(writer)
    assert done.returncode == 0
    assert (tmp_path / "mark").read_text() == "done"


def test_what_the_encoding_lacks_is_replaced() -> None:
    done = run("print('α = 1 ± 2')", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"? = 1 ? 2\n", b"")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_that_python_does_not_hold_back_is_not_held_back(stream: str) -> None:
    code = f"print('seen', file=sys.{stream}); import os; os._exit(0)"
    for unbuffered, shown in (("1", b"seen\n"), ("", b"seen\n" if stream == "stderr" else b"")):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
        command = [sys.executable, "-c", START + code]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
        assert getattr(done, stream) == shown


def test_closed_streams_lead_nowhere_rather_than_into_a_file(tmp_path: Path) -> None:
    code = (
        "file = open(sys.argv[1], 'w'); print('lost', file=sys.stderr); print('lost'); "
        "import os; os.write(2, b'lost'); file.write('kept')"
    )
    done = run(code, str(tmp_path / "file"), preexec_fn=lambda: [os.close(n) for n in (0, 1, 2)])
    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (OSError(errno.EACCES, "Permission denied", "/x/y"), 2, "error: /x/y: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "/z"), 2, "error: /z: File name too"),
        (StorageError(errno.ENOSPC, "No space left", "/full"), 1, "error: /full: No space left"),
        (OSError(errno.EIO, "Input/output error"), 1, "error: Input/output error"),
    ],
)
def test_what_the_system_refuses_is_one_message(
    error: OSError, code: int, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer()

    @app.command()
    def work() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_application(app, [])
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert said.startswith(shown)
    assert said.count("\n") == 1
