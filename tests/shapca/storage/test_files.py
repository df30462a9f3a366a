"""Nothing below a handed-over folder leads out of it; half-written files have unknown names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shapca.errors import InputError
from shapca.storage import FolderStore
from shapca.storage.files import below, written_whole
from shapca.storage.work_folder import work_folder

Use = Callable[[FolderStore, str], object]
USES: dict[str, Use] = {
    "put": lambda store, name: store.put(name, b"new"),
    "put_new": lambda store, name: store.put_new(name, b"new"),
    "get": lambda store, name: store.get(name),
    "list": lambda store, name: store.list(name.rpartition("/")[0] + "/"),
    "delete": lambda store, name: store.delete(name),
    "remove_leftovers": lambda store, name: store.remove_leftovers(
        name.rpartition("/")[0], nobody_writes=True
    ),
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "secret"
    file.parent.mkdir()
    file.write_text("old", encoding="utf-8")
    (file.parent / ".tmp-1").write_text("old", encoding="utf-8")
    return file


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("leading", ["folder", "part of the way"])
def test_a_linked_folder_is_refused_by_name(
    tmp_path: Path, secret: Path, use: Use, leading: str
) -> None:
    root = tmp_path / "storage"
    (root / "cells").mkdir(parents=True)
    link = root / "cells" / "a" if leading == "folder" else root / "sweeps"
    link.symlink_to(secret.parent if leading == "folder" else secret.parent.parent)
    name = "cells/a/secret" if leading == "folder" else "sweeps/elsewhere/secret"
    with pytest.raises(InputError) as raised:
        use(FolderStore(root), name)
    assert str(raised.value).startswith(f"{link}: is a link")
    assert str(secret.parent) not in str(raised.value)
    assert secret.read_text(encoding="utf-8") == "old"
    assert (secret.parent / ".tmp-1").exists()


@pytest.mark.parametrize("use", [use for name, use in USES.items() if name != "remove_leftovers"])
def test_a_linked_object_is_refused_by_name(tmp_path: Path, secret: Path, use: Use) -> None:
    root = tmp_path / "storage"
    (root / "cells").mkdir(parents=True)
    (root / "cells" / "run.json").symlink_to(secret)
    with pytest.raises(InputError, match=r"cells/run\.json: is a link"):
        use(FolderStore(root), "cells/run.json")
    assert secret.read_text(encoding="utf-8") == "old"


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "big disk").mkdir()
    (tmp_path / "storage").symlink_to(tmp_path / "big disk")
    FolderStore(tmp_path / "storage").put("a/b", b"kept")
    assert (tmp_path / "big disk" / "a" / "b").read_bytes() == b"kept"
    assert below(tmp_path / "storage", "a/b") == tmp_path / "storage" / "a" / "b"


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "file"
    names = set()
    for content in (b"one", b"two"):
        with written_whole(file) as handle:
            handle.write(content)
            names |= {entry.name for entry in tmp_path.iterdir()} - {"file"}
        assert file.read_bytes() == content
    assert len(names) == 2
    with pytest.raises(KeyError), written_whole(file) as handle:
        handle.write(b"three")
        raise KeyError
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert file.read_bytes() == b"two"


@pytest.mark.parametrize("name", [".data.partial", ".data.old"])
def test_no_work_is_done_through_a_link(tmp_path: Path, secret: Path, name: str) -> None:
    (tmp_path / name).symlink_to(secret.parent)
    with pytest.raises(InputError, match=rf"{name}: is a link"), work_folder(tmp_path / "data"):
        pytest.fail("went to work")
    assert secret.read_text(encoding="utf-8") == "old"


def test_what_is_taken_up_is_no_link(tmp_path: Path, secret: Path) -> None:
    work = tmp_path / ".data.partial"
    work.mkdir()
    (work / ".made-from").write_text("key", encoding="utf-8")
    (work / "images.npy").symlink_to(secret)
    (work / "kept").write_text("kept", encoding="utf-8")
    with work_folder(tmp_path / "data", key="key", resumable=("images.npy", "kept")) as found:
        assert sorted(path.name for path in found.path.iterdir()) == [".made-from", "kept"]
    assert secret.read_text(encoding="utf-8") == "old"
