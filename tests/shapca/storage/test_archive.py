"""An archive gives back what was put in, and is of no use to whoever sends another one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from shapca.errors import InputError
from shapca.storage.archive import ArchiveStore, write_archive


def test_what_is_put_in_comes_back(tmp_path: Path) -> None:
    objects = [("run.json", b"{}"), ("best/0001.json", b"x" * 1000)]
    for name in ("a.zip", "b.zip"):
        write_archive(tmp_path / name, objects)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    store = ArchiveStore(tmp_path / "a.zip")
    assert store.list() == ["best/0001.json", "run.json"]
    assert store.list("best/") == ["best/0001.json"]
    assert store.get("best/0001.json") == b"x" * 1000
    assert store.get("absent") is None
    for write in (store.put, store.put_new):
        with pytest.raises(InputError, match="only read"):
            write("run.json", b"")
    with pytest.raises(InputError, match="only read"):
        store.delete("run.json")


def test_what_is_no_such_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.zip"
    with pytest.raises(InputError, match="no readable archive"):
        ArchiveStore(file)
    file.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="no readable archive"):
        ArchiveStore(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * 10**6)
    with pytest.raises(InputError, match="'bomb' is compressed"):
        ArchiveStore(file)
    write_archive(file, [("run.json", b"content of it")])
    file.write_bytes(file.read_bytes().replace(b"content of it", b"another thing"))
    with pytest.raises(InputError, match=r"'run\.json' is damaged"):
        ArchiveStore(file).get("run.json")
