"""A link in a handed-over folder lets nothing out and nothing in: it is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.reports.make import copy_files, keep_files
from orchestrator.tracking.client.addresses import default_artifacts, resolve_tracking
from orchestrator.tracking.publisher import Publisher
from shapca.data.preparation.prepare import add_context_sets
from shapca.data.prepared import PreparedData
from shapca.errors import InputError
from shapca.storage import FolderStore
from tests.factories import tiny_data
from tests.orchestrator.publishing import finished, parent, write

PRIVATE = b"private"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A file of the user's own, outside of what was handed over."""
    file = tmp_path / "home" / "report.html"
    file.parent.mkdir()
    file.write_bytes(PRIVATE)
    return file


def test_sync_sends_no_linked_file(tmp_path: Path, private: Path, mlflow_uri: str) -> None:
    store = FolderStore(tmp_path / "storage")
    write(store, finished(parent(), metrics={}, artifacts={"page": "sweeps/tiny/report/page"}))
    (store.root / "sweeps" / "tiny" / "report").mkdir()
    (store.root / "sweeps" / "tiny" / "report" / "page").symlink_to(private)
    with pytest.raises(InputError, match="report/page: is a link"):
        Publisher(store, "tiny", "tiny", mlflow_uri).reconcile()
    assert PRIVATE not in b"".join(p.read_bytes() for p in tmp_path.rglob("mlartifacts/**/page"))


def test_a_report_is_written_over_no_linked_page(tmp_path: Path, private: Path) -> None:
    store = FolderStore(tmp_path / "storage")
    (store.root / "sweeps" / "tiny").mkdir(parents=True)
    (store.root / "sweeps" / "tiny" / "report").symlink_to(private.parent)
    with pytest.raises(InputError, match="tiny/report: is a link"):
        keep_files(store, "tiny", {"report.html": b"new"})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").symlink_to(private)
    with pytest.raises(InputError, match=r"out/report\.html: is a link"):
        copy_files({"report.html": b"new"}, tmp_path / "out")
    assert private.read_bytes() == PRIVATE


@pytest.mark.parametrize(
    "name",
    ["mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "mlflow.db-journal", "mlartifacts",
     "mlartifacts/1", "mlartifacts/1/run/artifacts/page"],
)  # fmt: skip
def test_mlflow_writes_through_no_link(tmp_path: Path, private: Path, name: str) -> None:
    storage = tmp_path / "storage"
    (storage / name).parent.mkdir(parents=True)
    (storage / name).symlink_to(private)
    with pytest.raises(InputError, match=rf"{name}: is a link"):
        default_artifacts(resolve_tracking(None, str(storage)), storage)


def test_contexts_are_imported_through_no_link(tmp_path: Path, private: Path) -> None:
    data = tiny_data(tmp_path)
    captions = tmp_path / "captions.json"
    image = next(e.image for e in data.splits["train"] if e.image is not None)
    captions.write_text(f'{{"{image}": "a caption"}}', encoding="utf-8")
    for planted in (".other.jsonl.partial", ".manifest.json.partial"):
        for folder in (data.folder, data.folder / "contexts"):
            (folder / planted).symlink_to(private)
    add_context_sets(data.folder, {"other": [captions]})
    assert PreparedData.load(data.folder).contexts("other") == {image: "a caption"}
    assert private.read_bytes() == PRIVATE
    (data.folder / "contexts").rename(tmp_path / "contexts")
    (data.folder / "contexts").symlink_to(tmp_path / "contexts")
    with pytest.raises(InputError, match="contexts: is a link"):
        add_context_sets(data.folder, {"third": [captions]})
    assert not (tmp_path / "contexts" / "third.jsonl").exists()
