"""`shapca contexts generate` as a user types it: summaries, bad input, kill -9, Ctrl-C, import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shapca.cli import app, run_application
from shapca.data.prepared import PreparedData
from tests.drawn_pictures import draw_pictures
from tests.endpoint import Endpoint, endpoint
from tests.factories import tiny_data

KEY = "sk-secret-0123456789"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with endpoint() as state:
        monkeypatch.setenv("OPENAI_BASE_URL", state.url)
        yield state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "pictures", 5)


def generate(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended:
        run_application(app, ["contexts", "generate", *map(str, arguments)])
    return int(ended.value.code or 0)


def records_of(out: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return {line["image"]: line for line in lines}


class TestSummary:
    def test_in_words(
        self,
        server: Endpoint,
        folder: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        server.plan = ["empty", "empty"]
        out = tmp_path / "out.jsonl"
        (folder / "p1.png").write_bytes(b"broken")
        asked = ("--images", folder, "--generator", "openai:eyes", "--out", out)
        prices = ("--price-in", 1, "--price-out", 2)
        assert generate(*asked, "--attempts", 1, "--batch-size", 1, *prices) == 0
        shown = capsys.readouterr()
        assert f"{out}: 5 pictures: 2 ok, 2 empty, 1 broken image" in shown.out
        assert "500 tokens read, 50 tokens written" not in shown.out  # broken ones cost nothing
        assert "400 tokens read, 40 tokens written, cost 0.0005" in shown.out
        assert "without a text: p1: broken_image: UnidentifiedImageError" in shown.out
        assert "contexts: 5 of 5" in shown.err
        assert generate(*asked, "--attempts", 1, "--retry-failed", "--json") == 0
        shown = capsys.readouterr()
        record = json.loads(shown.out)
        assert (record["num_kept"], record["num_generated"], record["num_texts"]) == (3, 2, 4)
        assert KEY not in shown.out + shown.err + out.read_text()

    def test_unanswered_pictures_are_exit_1(
        self, server: Endpoint, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.plan = ["400"]
        asked = ("--images", folder, "--generator", "openai:eyes", "--out", tmp_path / "o.jsonl")
        assert generate(*asked) == 1
        assert "run the same command again to try the failed ones again" in capsys.readouterr().out
        assert generate(*asked) == 0

    def test_no_text_at_all_is_exit_1(self, server: Endpoint, folder: Path, tmp_path: Path) -> None:
        server.always = "refusal"
        asked = ("--images", folder, "--generator", "openai:eyes", "--out", tmp_path / "o.jsonl")
        assert generate(*asked, "--attempts", 1) == 1

    def test_the_prompt_comes_from_a_file(
        self, server: Endpoint, folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "prompt.txt").write_text("\n What is seen? \n")
        asked = ("--images", folder, "--generator", "openai:eyes", "--out", tmp_path / "o.jsonl")
        assert generate(*asked, "--prompt", tmp_path / "prompt.txt") == 0
        texts = {body["messages"][0]["content"][0]["text"] for body in server.asked}
        assert texts == {"What is seen?"}


class TestImport:
    def test_contexts_go_into_the_data_set_at_once(
        self, server: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = tiny_data(tmp_path)
        asked = ("--data", data.folder, "--generator", "openai:eyes", "--out", tmp_path / "o.jsonl")
        assert generate(*asked, "--import", "eyes") == 0
        texts = PreparedData.load(data.folder).contexts("eyes")
        records = records_of(tmp_path / "o.jsonl")
        assert texts == {image: record["text"] for image, record in records.items()}
        assert f"contexts eyes: {len(texts)} captions" in capsys.readouterr().out
        assert generate(*asked, "--import", "eyes") == 0
        assert generate(*asked, "--import", "captions") == 2
        assert "has another context set 'captions'" in capsys.readouterr().err
        assert generate(*asked, "--import", "captions", "--overwrite") == 0


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--images", "nowhere"], "nowhere: no such folder; expected a folder of pictures"),
            (["--images", "empty"], "empty: no picture in it; expected files ending in .jpg"),
            (["--data", "nowhere"], "nowhere: no such folder; expected a prepared data set"),
            ([], "expected --images FOLDER, --data PREPARED, or both"),
            (["--images", "pictures", "--generator", "gpt-4"], "--generator 'gpt-4': expected hf:"),
            (["--images", "pictures", "--generator", "hf:"], "--generator 'hf:': expected hf:"),
            (["--images", "pictures", "--generator", "x:y"], "openai:MODEL or captions:FILE"),
            (
                ["--images", "pictures", "--generator", "hf:./empty"],
                "--generator: ./empty: expected the folder of a model saved by transformers",
            ),
            (
                ["--images", "pictures", "--generator", "captions:none.txt"],
                "--generator captions:none.txt: no such file",
            ),
            (["--images", "pictures"], "OPENAI_API_KEY is not set"),
            (["--images", "pictures", "--key-variable", "MY_KEY"], "MY_KEY is not set"),
            (["--images", "pictures", "--prompt", "none.txt"], "none.txt: cannot be read"),
            (["--images", "pictures", "--prompt", "blank.txt"], "blank.txt: empty; expected the"),
            (["--images", "pictures", "--refusal", "("], "--refusal '(': not a regular expression"),
            (["--images", "pictures", "--import", "x"], "--import: expected --data too"),
            (
                ["--images", "pictures", "--data", "nowhere", "--import", "../x"],
                "--import '../x': expected letters",
            ),
        ],
    )
    def test_is_one_message(
        self,
        tmp_path: Path,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        message: str,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        (tmp_path / "empty").mkdir()
        (tmp_path / "blank.txt").write_text(" \n")
        if "--generator" not in arguments:
            arguments = [*arguments, "--generator", "openai:eyes"]
        assert generate(*arguments, "--out", "out.jsonl") == 2
        shown = capsys.readouterr()
        assert message in shown.err
        assert shown.err.count("\n") == 1
        assert not (tmp_path / "out.jsonl").exists()

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://x/v1",
            "nonsense",
            "http://me:word@127.0.0.1/v1",
            "http://[x/v1",
            "http://x:y/v1",
            "http://1.2.3.999/v1",
        ],
    )
    def test_of_an_address(
        self,
        folder: Path,
        tmp_path: Path,
        url: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        asked = ("--images", folder, "--generator", "openai:eyes", "--out", tmp_path / "o.jsonl")
        assert generate(*asked, "--base-url", url) == 2
        shown = capsys.readouterr().err
        assert "--base-url: " in shown
        assert "word" not in shown.replace("password", "")

    def test_of_names_that_are_no_ids(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "p0.png").rename(folder / "a..b.png")
        asked = ("--images", folder, "--generator", "openai:eyes", "--out", tmp_path / "o.jsonl")
        assert generate(*asked) == 2
        assert "a..b.png: image id 'a..b.png' is not allowed" in capsys.readouterr().err


def start(folder: Path, out: Path, *more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "shapca", "contexts", "generate", "--images", str(folder),
               "--generator", "openai:eyes", "--out", str(out), "--batch-size", "2",
               *map(str, more)]  # fmt: skip
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def wait_for_lines(out: Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while not out.exists() or out.read_bytes().count(b"\n") < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_ended_anywhere_goes_on(
    server: Endpoint, tmp_path: Path, number: signal.Signals
) -> None:
    folder = draw_pictures(tmp_path / "many", 12)
    # Slow from the fifth request on; whoever is ended then has four records.
    server.plan = ["good"] * 4 + ["slow"] * 20
    out = tmp_path / "out.jsonl"
    process = start(folder, out)
    wait_for_lines(out, 4)
    process.send_signal(number)
    began = time.monotonic()
    _, said = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert f"interrupted; what is done is in {out}: run the same command again" in said
        assert "Traceback" not in said
        assert time.monotonic() - began < 10
    kept = {image: record["time"] for image, record in records_of(out).items()}
    assert len(kept) >= 4
    server.plan = []
    num_asked = len(server.asked)
    assert generate("--images", folder, "--generator", "openai:eyes", "--out", out) == 0
    records = records_of(out)
    assert len(records) == 12
    assert len(server.asked) - num_asked == 12 - len(kept)
    assert kept.items() <= {image: record["time"] for image, record in records.items()}.items()
