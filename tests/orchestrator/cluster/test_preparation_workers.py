"""Preparing on a local Ray: the bytes of one machine alone, resumed, and with a process lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli import app
from orchestrator.cluster import preparation_workers
from orchestrator.cluster.preparation_workers import Nodes
from orchestrator.cluster.session import RayOptions, ray_session
from orchestrator.cluster.watch import NodesFailedError
from shapca.cli import run_application
from shapca.data.preparation.export import export
from shapca.data.preparation.prepare import PrepareResult, prepare
from shapca.data.preparation.readers.own import OwnFormat
from shapca.data.preparation.writer import IMAGE_JOURNAL
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from tests.benchmarks.prepare_many import draw
from tests.drawn_pictures import draw_pictures
from tests.orchestrator.clusters import LocalCluster
from tests.orchestrator.preparation_workers import (
    FOLDER,
    dying_block,
    lost_block,
    noted_block,
    other_block,
    refusing_block,
)
from tests.paths import ROOT
from tests.shapca.data.preparation.test_prepare_resume import counted

NUM_PICTURES = 30
BROKEN, CUT, MISSING = "p3", "p7", "p11"


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("noted")


@pytest.fixture(scope="module")
def ray_here(noted: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # workers import the tests' blocks
        patch.setenv(FOLDER, str(noted))
        with ray_session(RayOptions()):
            yield


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Posts and pictures: one damaged, one cut off, one missing, one that two posts share."""
    folder = tmp_path_factory.mktemp("sources")
    return draw_posts(folder), draw_damaged(folder / "pictures")


def draw_posts(folder: Path) -> Path:
    text = folder / "text"
    text.mkdir()
    names = [f"p{number}" for number in range(NUM_PICTURES)]
    for split, chosen in (("train", [*names[:20], "p0"]), ("valid", names[20:25]),
                          ("test", names[25:])):  # fmt: skip
        posts = (f"IMGID:{name}\nMary\tB-PER\nsings\tO\n{name}\tO\n" for name in chosen)
        (text / f"{split}.txt").write_text("\n".join(posts), encoding="utf-8")
    return text


def draw_damaged(folder: Path) -> Path:
    draw_pictures(folder, NUM_PICTURES, side=40)
    (folder / f"{BROKEN}.png").write_text("no picture")
    cut = folder / f"{CUT}.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    (folder / f"{MISSING}.png").unlink()
    return folder


@pytest.fixture(scope="module")
def alone(
    sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[PrepareResult, dict[str, bytes]]:
    """What one machine makes of them."""
    out = tmp_path_factory.mktemp("alone") / "out"
    return prepare("twitter2017", sources[0], out, images=sources[1], image_size=16), contents(out)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation_workers, "PICTURES", 4)
    monkeypatch.setattr(preparation_workers, "POSTS", 8)


def spread(
    sources: tuple[Path, Path], out: Path, *, tags: bool = False, **options: Any
) -> PrepareResult:
    """Parts of speech from the nodes too only if asked for: each process would load a tagger."""
    text, pictures = sources
    with Nodes(RayOptions()) as nodes:
        return prepare(
            "twitter2017",
            text,
            out,
            decode=nodes.decode,
            tag=nodes.tag if tags else None,
            **{"images": pictures, "image_size": 16, **options},
        )


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def clear(noted: Path) -> None:
    for file in noted.iterdir():
        file.unlink()


def test_nodes_make_the_bytes_that_one_machine_makes(
    ray_here: None, small_blocks: None, noted: Path, sources: tuple[Path, Path],
    alone: tuple[PrepareResult, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    clear(noted)
    monkeypatch.setattr(preparation_workers, "decode_block", noted_block)
    decoded = counted(monkeypatch)
    told: list[tuple[str, int, int]] = []
    result = spread(sources, tmp_path / "out", tags=True, progress=lambda *call: told.append(call))
    assert contents(tmp_path / "out") == alone[1]
    assert result.warnings == alone[0].warnings
    assert "1 picture not there (p11)" in result.warnings[0]
    assert "2 pictures not readable (p3: Unidentified" in result.warnings[1]
    assert decoded == [BROKEN, CUT]  # the driver's own word counts
    processes = [int(file.name.partition("-")[0]) for file in noted.iterdir()]
    assert len(processes) == 8  # 29 pictures, at most 4 a block
    assert os.getpid() not in processes
    assert ("parts of speech", NUM_PICTURES, NUM_PICTURES) in told
    assert ("images", NUM_PICTURES - 1, NUM_PICTURES - 1) in told


def test_a_lost_process_costs_nothing_but_time(
    ray_here: None, small_blocks: None, noted: Path, sources: tuple[Path, Path],
    alone: tuple[PrepareResult, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    clear(noted)
    monkeypatch.setattr(preparation_workers, "decode_block", dying_block)
    spread(sources, tmp_path / "out")
    assert (noted / "died").exists()
    assert contents(tmp_path / "out") == alone[1]


def test_a_block_lost_again_and_again_ends_the_work(
    ray_here: None, sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation_workers, "decode_block", lost_block)
    monkeypatch.setattr(preparation_workers, "RETRIES", 0)
    with pytest.raises(NodesFailedError, match="nodes could not do their part"):
        spread(sources, tmp_path / "out")


def interrupt(what: str, done: int, total: int) -> None:
    """Ctrl-C after 21 of the 29 pictures."""
    if (what, done) == ("images", 21):
        raise KeyboardInterrupt


def test_an_interrupted_run_is_gone_on_with(
    ray_here: None, small_blocks: None, noted: Path, sources: tuple[Path, Path],
    alone: tuple[PrepareResult, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        spread(sources, tmp_path / "out", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    clear(noted)
    monkeypatch.setattr(preparation_workers, "decode_block", noted_block)
    spread(sources, tmp_path / "out")
    assert len(list(noted.iterdir())) == 2  # 8 pictures of 29
    assert contents(tmp_path / "out") == alone[1]
    clear(noted)
    assert spread(sources, tmp_path / "out").already_there
    assert list(noted.iterdir()) == []


def test_alone_goes_on_with_what_nodes_began(
    ray_here: None, sources: tuple[Path, Path], alone: tuple[PrepareResult, dict[str, bytes]],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        spread(sources, tmp_path / "out", progress=interrupt)
    decoded = counted(monkeypatch)
    prepare("twitter2017", sources[0], tmp_path / "out", images=sources[1], image_size=16)
    assert len(decoded) == 8
    assert contents(tmp_path / "out") == alone[1]


def test_no_more_is_begun_than_may_be_on_the_way(
    ray_here: None, noted: Path, sources: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clear(noted)
    monkeypatch.setattr(preparation_workers, "decode_block", noted_block)
    monkeypatch.setattr(preparation_workers, "PICTURES", 1)
    monkeypatch.setattr(preparation_workers, "LEAST_IN_FLIGHT", 6)
    monkeypatch.setattr(preparation_workers, "IN_FLIGHT", 1)
    images = {file.stem: file for file in sources[1].iterdir()}
    with Nodes(RayOptions()) as nodes:
        squares = nodes.decode(images, sorted(images), 16)
        next(squares)
        seen = -1
        while seen != (seen := len(list(noted.iterdir()))):
            time.sleep(0.5)
        assert 1 < seen <= 1 + max(6, os.cpu_count() or 1) < len(images)
        squares.close()


def test_pictures_of_tables_are_sent_along(
    ray_here: None, small_blocks: None, tiny_mner: PreparedData, tmp_path: Path
) -> None:
    export(tiny_mner, tmp_path / "tables", "datasets")
    own = OwnFormat("datasets")
    prepare("mine", tmp_path / "tables", tmp_path / "alone", own=own, image_size=16)
    with Nodes(RayOptions()) as nodes:
        out = tmp_path / "spread"
        prepare("mine", tmp_path / "tables", out, own=own, image_size=16, decode=nodes.decode)
    assert contents(tmp_path / "spread") == contents(tmp_path / "alone")
    assert len(PreparedData.load(tmp_path / "spread").image_store() or ()) > 4


def test_nodes_that_do_not_see_the_pictures_are_named(
    ray_here: None, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    descriptor = os.open(sources[1], os.O_RDONLY | os.O_DIRECTORY)
    hidden = Path(f"/proc/self/fd/{descriptor}")  # means nothing in any other process
    try:
        with pytest.raises(InputError) as refused:
            spread(sources, tmp_path / "out", images=hidden)
    finally:
        os.close(descriptor)
    message = str(refused.value)
    assert message.startswith(("127.0.0.1 (node ", "localhost (node "))
    assert f"cannot read {hidden}/p0.png (FileNotFoundError" in message
    assert "every node must see the folder of the pictures at the same path" in message


def test_other_tools_on_a_node_are_refused(
    ray_here: None, sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation_workers, "decode_block", other_block)
    with pytest.raises(InputError, match=r"\): has Pillow 0\.1, but the driver's node Pillow \d"):
        spread(sources, tmp_path / "out")


def test_what_a_node_lacks_is_one_message(
    ray_here: None, sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_tagger() -> None:
        raise InputError("no model")

    with monkeypatch.context() as patch:
        patch.setattr(preparation_workers.pos, "tagger", no_tagger)
        with pytest.raises(InputError, match=r"^\S+ \(node \w{6}\): no model$"):
            preparation_workers.tag_block([["Mary"]])
    monkeypatch.setattr(preparation_workers, "decode_block", refusing_block)
    with pytest.raises(InputError, match="something is not installed here"):
        spread(sources, tmp_path / "out")


def test_a_cluster_without_cpus_is_refused(
    ray_here: None, sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation_workers, "slots_of", lambda *_: 0)
    with pytest.raises(InputError, match="no node of the cluster has a CPU for tasks"):
        spread(sources, tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["twitter2017", "--source", "nowhere"], "nowhere"),
        (["twitter2018", "--source", "."], "unknown data set"),
        (["twitter2017", "--source", ".", "--scheme", "iob1"], "can be said with --format alone"),
    ],
)
def test_bad_input_is_found_before_ray_starts(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_application(app, ["prepare", "--out", "out", *arguments])
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_node_costs_nothing_but_time(tmp_path: Path) -> None:
    """Its blocks are done on the other, and what it had done and not handed over, again."""
    draw(tmp_path, 400)
    source = ["twitter2017", "--source", tmp_path / "text", "--images", tmp_path / "pictures"]
    prepare("twitter2017", tmp_path / "text", tmp_path / "alone", images=tmp_path / "pictures")
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))  # sockets need a short path
    cluster = LocalCluster(folder, environment={"PYTHONPATH": str(ROOT)})
    try:
        command = ["prepare", *source, "--out", tmp_path / "spread", "--address", cluster.address]
        driver = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *map(str, command)], env=cluster.environment
        )
        journal = tmp_path / ".spread.partial" / IMAGE_JOURNAL
        while not journal.exists() or journal.read_bytes().count(b"\n") < 30:
            assert driver.poll() is None
            time.sleep(0.05)
        cluster.kill("node1")
        assert journal.read_bytes().count(b"\n") < 300  # while there was work to do
        assert driver.wait(240) == 0
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)
    assert contents(tmp_path / "spread") == contents(tmp_path / "alone")
