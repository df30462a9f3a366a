"""Object stores share one contract; a folder adds atomicity between processes."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shapca.errors import InputError, StorageError
from shapca.storage import FolderStore, ObjectStore, SubStore, place_name, read_json, to_json
from shapca.storage.objects import TEMPORARY
from shapca.storage.processes import this_process
from tests.stores import MemoryStore


@pytest.fixture(params=["folder", "sub"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    folder = FolderStore(tmp_path)
    return folder if request.param == "folder" else SubStore(folder, "a/b")


def test_put_get_list_delete(store: ObjectStore) -> None:
    store.put("x/1", b"one")
    store.put("x/2", b"two")
    store.put("y", b"three")
    assert store.get("x/1") == b"one"
    assert store.list("x/") == ["x/1", "x/2"]
    assert store.list() == ["x/1", "x/2", "y"]
    assert store.list("x/2") == ["x/2"]
    store.delete("x/1")
    store.delete("x/1")
    assert store.get("x/1") is None
    assert store.list("nothing/") == []


def test_put_new_keeps_the_first(store: ObjectStore) -> None:
    assert store.put_new("x", b"first")
    assert not store.put_new("x", b"second")
    assert store.get("x") == b"first"
    store.put("x", b"third")
    assert store.get("x") == b"third"


def test_one_of_many_writers_wins(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda i: store.put_new("x", str(i).encode()), range(64)))
    assert written.count(True) == 1
    assert store.get("x") == str(written.index(True)).encode()
    assert store.list() == ["x"]


@pytest.mark.parametrize("name", ["", "/x", "../x", "a/../../x"])
def test_names_never_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="object name"):
        FolderStore(tmp_path).put(name, b"")


def test_folder_is_the_owners_alone(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "root")
    store.put("a/x", b"")
    assert stat.S_IMODE((tmp_path / "root" / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "root" / "a" / "x").stat().st_mode) == 0o600


def test_json_is_canonical(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("x", to_json({"b": 1, "a": "ä"}))
    assert store.get("x") == '{"a": "ä", "b": 1}\n'.encode()
    assert read_json(store, "x") == {"a": "ä", "b": 1}
    assert read_json(store, "y") is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_record_is_named_with_its_place(tmp_path: Path, content: bytes) -> None:
    folder = FolderStore(tmp_path)
    folder.put("runs/a/x.json", content)
    for store, name in ((folder, "runs/a/x.json"), (SubStore(folder, "runs/a/"), "x.json")):
        with pytest.raises(InputError) as raised:
            read_json(store, name)
        assert str(raised.value).startswith(f"{place_name(store)}: {name} is damaged (")
    assert place_name(SubStore(folder, "runs/a/")) == f"{tmp_path}/runs/a"
    assert place_name(MemoryStore()) == "the store"


def test_a_listing_never_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    store = FolderStore(tmp_path / "root")
    for prefix in ("../", "../secret", "a/../../"):
        with pytest.raises(InputError, match="object name"):
            store.list(prefix)
        with pytest.raises(InputError, match="object name"):
            store.remove_leftovers(prefix)


def test_every_folder_made_is_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FolderStore(tmp_path / "new" / "root").put("a/b/c", b"")
    finally:
        os.umask(before)
    for path in (tmp_path / "new").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.is_file() else 0o700)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_what_a_dead_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a/x", b"1")
    dead = subprocess.run(
        [
            sys.executable,
            "-c",
            "from shapca.storage.processes import this_process; print(this_process())",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    place, pid, born = this_process().split(".")
    writers = {
        dead: False,
        f"{place}.{pid}.{int(born) - 1}": False,  # an earlier process of our id
        this_process(): True,
        f"elsewhere.{pid}.1": True,  # of another machine: nobody here can tell
        "abc": True,
    }
    for writer in writers:
        (tmp_path / "a" / f"{TEMPORARY}{writer}-x_1.db-wal").touch()
    assert store.list() == ["a/x"]
    assert store.remove_leftovers("a") == 2
    left = {path.name.removeprefix(TEMPORARY).partition("-")[0] for path in tmp_path.glob("a/.*")}
    assert left == {writer for writer, stays in writers.items() if stays}
    assert store.remove_leftovers("a", nobody_writes=True) == 3


@pytest.mark.parametrize("remade", [False, True])
def test_a_folder_that_vanished_is_not_made_anew(tmp_path: Path, remade: bool) -> None:
    store = FolderStore(tmp_path / "storage")
    assert store.get("x") is None  # not there yet: nothing has vanished
    store.put("x", b"one")
    (tmp_path / "storage").rename(tmp_path / "elsewhere")
    if remade:  # as an empty folder is left where a disk was mounted
        (tmp_path / "storage").mkdir()
    for use in (
        lambda: store.put("y", b""),
        lambda: store.put_new("y", b""),
        lambda: store.get("x"),
        lambda: store.list(),
    ):
        with pytest.raises(StorageError, match=f"{tmp_path}/storage: the storage is gone"):
            use()
    assert [path.name for path in tmp_path.rglob("y")] == []
    assert (tmp_path / "storage").exists() == remade


def test_a_full_disk_is_told_with_its_place_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    store.put("a/x", b"one")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for put in (store.put, store.put_new):
        with pytest.raises(StorageError, match=f"^{tmp_path}/a/y: No space left on device$"):
            put("a/y", b"two")
    with pytest.raises(StorageError, match="File name too long"):
        store.get("x" * 300)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]


def test_a_link_among_folders_is_refused(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    store.put("sweeps/a/x", b"")
    assert store.folders("sweeps/") == ["a"]
    (tmp_path / "store/sweeps/b").symlink_to(tmp_path)
    with pytest.raises(InputError, match="link"):
        store.folders("sweeps/")
