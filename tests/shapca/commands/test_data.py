"""`shapca data` and `shapca contexts` as a user types them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shapca.cli import app, run_application
from shapca.commands.display.progress import progress_report
from shapca.data.prepared import PreparedData
from tests.paths import FIXTURES

CAPTIONS = FIXTURES / "captions"


def shapca(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        run_application(app, [str(argument) for argument in arguments])
    return int(exit_.value.code or 0)


def prepare(out: Path, name: str = "twitter2017", *more: object) -> int:
    return shapca("data", "prepare", name, "--source", FIXTURES / name, "--out", out, *more)


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert prepare(tmp_path / "out", "twitter2017", "--contexts", CAPTIONS / "lines.txt") == 0
    capsys.readouterr()
    return tmp_path / "out"


class TestPrepare:
    def test_tells_counts_and_what_became_of_captions(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        captions = f"blip2={CAPTIONS / 'lines.txt'}"
        assert prepare(tmp_path / "out", "twitter2017", "--contexts", captions) == 0
        printed = capsys.readouterr()
        assert "twitter2017 (mner)" in printed.out
        assert "contexts blip2: 5 captions, 1 empty, 1 without (O_14 …), 1 unknown" in printed.out
        assert f"{tmp_path / 'out'}: prepared\n" in printed.out
        assert "parts of speech: 6 of 6" in printed.err
        assert prepare(tmp_path / "out", "twitter2017", "--contexts", captions) == 0
        assert "already prepared from the same input" in capsys.readouterr().out

    def test_context_files_of_three_splits_make_one_set(self, tmp_path: Path) -> None:
        for number, name in enumerate(("street_1", "street_2", "street_3")):
            (tmp_path / f"{number}.txt").write_text(f"{name}.jpg :caption {number}\n")
        a, b, c = (tmp_path / f"{number}.txt" for number in range(3))
        assert (
            prepare(tmp_path / "out", "mnre", "--contexts", f"x={a},{b}", "--contexts", f"x={c}")
            == 0
        )
        assert PreparedData.load(tmp_path / "out").contexts("x") == {
            f"street_{number + 1}": f"caption {number}" for number in range(3)
        }

    def test_images(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "O_12.png")
        images = ("--images", tmp_path, "--image-size", 32, "--json")
        assert prepare(tmp_path / "out", "twitter2017", *images) == 0
        record = json.loads(capsys.readouterr().out)
        assert record["image_size"] == 32
        assert record["counts"]["train"]["missing_images"] == 2
        assert record["already_there"] is False

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--images", "nowhere"], "error: nowhere: no such folder"),
            (["--contexts", "nowhere.txt"], "error: nowhere.txt: cannot be read"),
            (["--contexts", "a b=c.txt"], "error: contexts 'a b=c.txt': expected FILE"),
        ],
    )
    def test_bad_input_is_one_message_and_exit_2(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        message: str,
    ) -> None:
        assert prepare(tmp_path / "out", "twitter2017", *arguments) == 2
        printed = capsys.readouterr()
        assert printed.err.startswith(message)
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert not (tmp_path / "out").exists()

    def test_a_bad_tag_names_file_and_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = Path(shutil.copytree(FIXTURES / "twitter2017", tmp_path / "source"))
        (source / "test.txt").write_text("IMGID:1\na\tB-CAT\n")
        status = shapca(
            "data", "prepare", "twitter2017", "--source", source, "--out", tmp_path / "out"
        )
        assert status == 2
        assert f"{source / 'test.txt'}:2: unknown tag 'B-CAT'" in capsys.readouterr().err

    def test_a_taken_folder_and_overwrite(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert prepare(folder, "jmere") == 2
        assert "prepared from other input" in capsys.readouterr().err
        assert prepare(folder, "jmere", "--overwrite") == 0
        assert PreparedData.load(folder).name == "jmere"

    def test_without_images_it_says_that_all_are_missing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert prepare(tmp_path / "out") == 0
        printed = capsys.readouterr().out
        assert "prepared without --images: all 7 pictures are missing" in printed
        assert "│ missing images │     3 │     2 │    2 │" in printed

    def test_near_misses_are_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        images = tmp_path / "images"
        images.mkdir()
        Image.new("RGB", (8, 8)).save(images / "o_12.PNG")
        assert prepare(tmp_path / "out", "twitter2017", "--images", images) == 2
        assert "(near misses: 'o_12.PNG' for 'O_12')" in capsys.readouterr().err
        Image.new("RGB", (8, 8)).save(images / "O_14.png")
        assert prepare(tmp_path / "out", "twitter2017", "--images", images) == 0
        assert "source: 1 near image names (o_12.PNG for O_12 …)" in capsys.readouterr().out

    def test_posts_that_another_set_is_scored_on_are_told(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = Path(shutil.copytree(FIXTURES / "gmner", tmp_path / "source"))
        (source / "test.txt").write_text("IMGID:17_06_1\na\tO\n")  # of Twitter-17's train split
        assert prepare(tmp_path / "data" / "twitter2017") == 0
        assert "must not be scored" not in capsys.readouterr().out
        out = tmp_path / "data" / "gmner"
        for _ in range(2):  # as well where it is there already
            assert shapca("data", "prepare", "gmner", "--source", source, "--out", out) == 0
            assert (
                "warning: twitter2017's train split has 1 picture of gmner's valid and test "
                "splits: a model trained on twitter2017 must not be scored on gmner"
            ) in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--tag-column", "3"], "how files are read can be said with --format alone"),
            (["--format", "jsonl", "--split", "a,b"], "--split 'a,b': expected three shares"),
            (["--format", "jsonl", "--labels", "A,,B"], "--labels 'A,,B': expected names"),
            (["--format", "jsonl", "--column", "words"], "--column 'words': expected KEY=NAME"),
            (
                ["--format", "jsonl", "--column", "word=x"],
                "--column word: expected one of id, words",
            ),
        ],
    )
    def test_options_of_own_files(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        message: str,
    ) -> None:
        assert prepare(tmp_path / "out", "twitter2017", *arguments) == 2
        assert message in capsys.readouterr().err

    def test_an_unknown_name_says_how_own_files_are_read(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        given = ["mine", "--source", tmp_path, "--out", tmp_path / "o", "--split", "0.8,0.1,0.1"]
        assert shapca("data", "prepare", *given) == 2
        assert "files of your own with --format conll, jsonl, datasets" in capsys.readouterr().err


class TestInspect:
    def test_tables(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert shapca("data", "inspect", folder, "--encoder", "tiny") == 0
        printed = capsys.readouterr().out
        rows = {
            cells[1].strip(): [cell.strip() for cell in cells[2:5]]
            for cells in (line.split("│") for line in printed.splitlines())
            if len(cells) == 6
        }
        assert rows["examples"] == ["3", "2", "2"]
        assert rows["PER"] == ["1", "1", "2"]
        assert rows["entities, strict IOB2"] == ["5", "1", "2"]
        assert rows["images missing"] == ["3", "2", "2"]
        assert rows["contexts lines, empty"] == ["1", "0", "0"]
        assert rows["words without a sub-word"] == ["1", "0", "1"]
        assert rows["texts cut"] == ["0", "0", "0"]
        assert "distinct texts in two splits: train/valid 0, train/test 0, valid/test 1" in printed

    def test_json(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert shapca("data", "inspect", folder, "--json") == 0
        record: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert record["splits"]["train"]["entities_by_type"]["LOC"] == 2

    def test_a_changed_part(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with (folder / "test.jsonl").open("a") as file:
            file.write(" ")
        assert shapca("data", "inspect", folder) == 2
        assert "test.jsonl: changed since it was prepared" in capsys.readouterr().err


class TestContextsImport:
    def test_adds_sets(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        more = (f"a={CAPTIONS / 'object.json'}", CAPTIONS / "lines.jsonl")
        assert shapca("contexts", "import", folder, *more) == 2  # the name `lines` is taken
        assert "has another context set 'lines'" in capsys.readouterr().err
        assert PreparedData.load(folder).context_names == ("lines",)  # all or none
        assert shapca("contexts", "import", folder, *more, "--overwrite") == 0
        assert "contexts a: 3 captions, 4 without" in capsys.readouterr().out
        assert PreparedData.load(folder).context_names == ("a", "lines")

    def test_json(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert shapca("contexts", "import", folder, CAPTIONS / "object.json", "--json") == 0
        assert json.loads(capsys.readouterr().out)["object"]["num_captions"] == 3

    def test_an_unknown_form(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "c.txt").write_text("hello")
        assert shapca("contexts", "import", folder, tmp_path / "c.txt") == 2
        assert "c.txt:1: unknown form" in capsys.readouterr().err

    def test_half_a_character_leaves_nothing_behind(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "c.json").write_text('{"O_12.jpg": "smile \\ud83d"}')
        before = sorted(folder.rglob("*"))
        assert shapca("contexts", "import", folder, tmp_path / "c.json") == 2
        assert "c.json: 'O_12.jpg': '\\ud83d' in 'smile \\ud83d'" in capsys.readouterr().err
        out = tmp_path / "records.jsonl"
        made = ("--generator", f"captions:{tmp_path / 'c.json'}", "--data", folder, "--out", out)
        assert shapca("contexts", "generate", *made) == 2
        assert "is half a character" in capsys.readouterr().err
        assert sorted(folder.rglob("*")) == before

    def test_a_file_given_twice(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = CAPTIONS / "object.json"
        assert shapca("contexts", "import", folder, f"a={file},{file}") == 2
        assert "object.json is given twice" in capsys.readouterr().err


class TestSynthesise:
    @pytest.mark.parametrize("task", ["mner", "mre", "mjere"])
    def test_makes_a_data_set(
        self, tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sizes = ("--num-train", 6, "--num-valid", 3, "--num-test", 3, "--image-size", 16)
        out = ("--out", tmp_path / "out", "--task", task, "--seed", 3)
        assert shapca("data", "synthesise", *out, *sizes, "--json") == 0
        assert json.loads(capsys.readouterr().out)["counts"]["train"]["examples"] == 6
        assert PreparedData.load(tmp_path / "out").labels.task == task

    def test_an_unknown_domain(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert shapca("data", "synthesise", "--out", tmp_path / "out", "--domain", "moon") == 2
        assert "moon" in capsys.readouterr().err


def test_kill_leaves_no_folder(tmp_path: Path) -> None:
    """A process that dies in the middle leaves nothing under the folder's name."""
    script = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from shapca.data.preparation import writer\n"
        "from shapca.data.preparation.prepare import prepare\n"
        "writer.write_manifest = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"prepare('jmere', Path({str(FIXTURES / 'jmere')!r}), Path({str(tmp_path / 'out')!r}))\n"
    )
    process = subprocess.run([sys.executable, "-c", script], env=os.environ, check=False)
    assert process.returncode == -9
    assert not (tmp_path / "out").exists()
    assert prepare(tmp_path / "out", "jmere") == 0
    assert PreparedData.load(tmp_path / "out").name == "jmere"


class TestProgress:
    def test_plain_lines_where_there_is_no_terminal(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with progress_report() as progress:
            for done in range(1, 101):
                progress("images", done, 100)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("images: 100 of 100, ")
        assert line.endswith("/s, 0 s left")

    def test_a_bar_on_a_terminal(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        with progress_report() as progress:
            for done in range(1, 11):
                progress("images", done, 10)
        printed = capsys.readouterr().err
        assert "10/10" in printed
        assert "\x1b[" in printed
