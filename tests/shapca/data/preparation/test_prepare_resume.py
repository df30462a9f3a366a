"""Preparing pictures through interruptions and kills: what is decoded stays, results are equal."""

from __future__ import annotations

import fcntl
import itertools
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shapca.data.preparation import image_writing
from shapca.data.preparation import prepare as prepare_module
from shapca.data.preparation.prepare import PARTS_OF_SPEECH, prepare
from shapca.data.preparation.writer import IMAGE_JOURNAL
from shapca.data.prepared import PreparedData
from shapca.errors import InputError

NUM_POSTS = 24
BROKEN = "p03"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A benchmark's text and its pictures, one of them broken."""
    folder = tmp_path_factory.mktemp("sources")
    text, pictures = folder / "text", folder / "pictures"
    text.mkdir()
    pictures.mkdir()
    generator = np.random.default_rng(0)
    names = [f"p{number:02}" for number in range(NUM_POSTS)]
    for split, chosen in (("train", names[:16]), ("valid", names[16:20]), ("test", names[20:])):
        posts = (f"IMGID:{name}\nword\tO\n{name}\tB-PER\n" for name in chosen)
        (text / f"{split}.txt").write_text("\n".join(posts), encoding="utf-8")
    for name in names:
        pixels = generator.integers(0, 256, (40, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(pictures / f"{name}.jpg")
    (pictures / f"{BROKEN}.jpg").write_text("no picture")
    return text, pictures


@pytest.fixture(scope="module")
def undisturbed(
    sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run(sources, out)
    return contents(out)


def run(sources: tuple[Path, Path], out: Path, **options: Any) -> None:
    text, pictures = sources
    prepare("twitter2017", text, out, images=pictures, **{"image_size": 16, **options})


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def interrupt_at(stage: str, number: int, error: type[BaseException] = KeyboardInterrupt) -> Any:
    def progress(what: str, done: int, total: int) -> None:
        if (what, done) == (stage, number):
            raise error

    return progress


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures decoded from now on."""
    decoded: list[str] = []
    original = image_writing.load_square

    def load_square(source: Path, size: int) -> Any:
        decoded.append(source.stem)
        return original(source, size)

    monkeypatch.setattr(image_writing, "load_square", load_square)
    return decoded


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("done", [2, 10, NUM_POSTS])
def test_an_interrupted_run_is_gone_on_with(
    sources: tuple[Path, Path],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    done: int,
    error: type[BaseException],
) -> None:
    out = tmp_path / "out"
    with pytest.raises(error):
        run(sources, out, progress=interrupt_at("images", done, error))
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    assert "the same command resumes from" in caplog.text
    decoded = counted(monkeypatch)
    seen: list[tuple[str, int, int]] = []
    run(sources, out, progress=lambda *call: seen.append(call))
    assert len(decoded) == NUM_POSTS - done
    assert ("images of an interrupted run", done, done) in seen
    assert not [call for call in seen if call[0] == "parts of speech"]
    assert contents(out) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_interrupted_again_and_again(
    sources: tuple[Path, Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for done in range(1, NUM_POSTS + 1, 4):
        with pytest.raises(KeyboardInterrupt):
            run(sources, out, progress=interrupt_at("images", done))
    run(sources, out)
    assert contents(out) == undisturbed


def cut_line(work: Path) -> None:
    content = (work / IMAGE_JOURNAL).read_bytes()
    (work / IMAGE_JOURNAL).write_bytes(content[:-5])


def damage_line(work: Path) -> None:
    lines = (work / IMAGE_JOURNAL).read_bytes().splitlines(keepends=True)
    lines[4] = b"[1, 2]\n"
    (work / IMAGE_JOURNAL).write_bytes(b"".join(lines))


def nest_line(work: Path) -> None:
    lines = (work / IMAGE_JOURNAL).read_bytes().splitlines(keepends=True)
    lines[4] = b"[" * 5000 + b"\n"
    (work / IMAGE_JOURNAL).write_bytes(b"".join(lines))


def damage_tags(work: Path) -> None:
    assert (work / PARTS_OF_SPEECH).is_file()
    (work / PARTS_OF_SPEECH).write_text('[["NOUN", 1], {}]')


def change_tags(work: Path) -> None:
    tags = json.loads((work / PARTS_OF_SPEECH).read_text())
    tags[0][0] = "no part of speech"
    (work / PARTS_OF_SPEECH).write_text(json.dumps(tags))


def damage_row(work: Path) -> None:
    content = bytearray((work / "images.npy").read_bytes())
    content[128 + 4 * 768] ^= 1
    (work / "images.npy").write_bytes(content)


def cut_row(work: Path) -> None:
    os.truncate(work / "images.npy", 128 + 3 * 768 + 100)


def lose_rows(work: Path) -> None:
    (work / "images.npy").unlink()


def lose_journal(work: Path) -> None:
    (work / IMAGE_JOURNAL).unlink()


def half_write(work: Path) -> None:
    (work / (PARTS_OF_SPEECH + ".new")).write_text("[[")
    (work / "contexts").mkdir()
    (work / "contexts" / "old.jsonl").write_text("{}")
    with (work / "images.npy").open("ab") as file:
        file.write(b"x" * 500)


@pytest.mark.parametrize(
    ("harm", "num_kept"),
    [
        (cut_line, 11), (damage_line, 4), (damage_row, 5), (cut_row, 4), (lose_rows, 0),
        (lose_journal, 0), (half_write, 12), (nest_line, 4), (damage_tags, 12), (change_tags, 12),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_decoded_again(
    sources: tuple[Path, Path],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], None],
    num_kept: int,
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(sources, out, progress=interrupt_at("images", 12))
    harm(tmp_path / ".out.partial")
    decoded = counted(monkeypatch)
    run(sources, out)
    assert len(decoded) == NUM_POSTS - num_kept
    assert contents(out) == undisturbed


def kill(sources: tuple[Path, Path], out: Path, stage: str, number: int) -> None:
    """Let a process of its own prepare, and end it by SIGKILL at a stage of the work."""

    def progress(what: str, done: int, total: int) -> None:
        if (what, done) == (stage, number):
            os.kill(os.getpid(), signal.SIGKILL)

    def child() -> None:
        rename, renames = os.rename, itertools.count()

        def counted_rename(*paths: Path) -> None:
            progress("renames", next(renames), 0)
            rename(*paths)

        os.rename = counted_rename  # type: ignore[assignment]
        run(sources, out, overwrite=True, progress=progress)

    # A fork starts at once, with spaCy's model already read.
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_killed_at_any_stage(
    sources: tuple[Path, Path],
    undisturbed: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    for stage, number in (("parts of speech", 5), ("images", 9), ("images", 17), ("checksums", 3)):
        kill(sources, out, stage, number)
        assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    decoded = counted(monkeypatch)
    run(sources, out)
    assert decoded == []
    assert contents(out) == undisturbed


def test_killed_in_the_middle_of_a_replacement(
    sources: tuple[Path, Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(sources, out, image_size=20)
    old = contents(out)
    kill(sources, out, "renames", 0)
    assert contents(out) == old
    kill(sources, out, "renames", 1)
    assert not out.exists()
    with pytest.raises(KeyboardInterrupt):  # whatever the next command is, the old set comes back
        run(sources, out, image_size=20, progress=interrupt_at("parts of speech", 1))
    assert contents(out) == old
    run(sources, out, overwrite=True)
    assert contents(out) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("change", ["size", "picture", "less"])
def test_work_from_other_input_is_removed_and_told_of(
    sources: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: str,
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(sources, out, progress=interrupt_at("images", 12))
    text, pictures = sources
    if change == "picture":
        os.utime(pictures / "p05.jpg", (1, 1))
    options: dict[str, Any] = {"size": {"image_size": 20}, "less": {"images": None}}.get(change, {})
    decoded = counted(monkeypatch)
    prepare("twitter2017", text, out, **{"images": pictures, "image_size": 16, **options})
    assert "removed what an interrupted run with other input left" in caplog.text
    assert len(decoded) == (0 if change == "less" else NUM_POSTS)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert PreparedData.load(out).name == "twitter2017"


def test_two_processes_do_not_make_one_folder(
    sources: tuple[Path, Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    out, work = tmp_path / "out", tmp_path / ".out.partial"
    work.mkdir()
    (work / "images.npy").write_text("the other's")
    descriptor = os.open(work, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(InputError, match="another process is making it right now"):
            run(sources, out)
        assert (work / "images.npy").read_text() == "the other's"
    finally:
        os.close(descriptor)
    run(sources, out)
    assert contents(out) == undisturbed


def test_nothing_is_kept_where_no_picture_was_decoded(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_module.pos, "tag_words", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(sources, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_a_folder_without_a_name_is_refused(sources: tuple[Path, Path], out: str) -> None:
    with pytest.raises(InputError, match=r"expected the name of a folder|not empty"):
        run(sources, Path(out))
