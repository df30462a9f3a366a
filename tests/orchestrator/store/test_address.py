"""Every store keeps to one contract."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.store.address import absolute_uri, open_store
from orchestrator.store.lease import Lease
from shapca.errors import InputError, StorageError
from shapca.storage import ObjectStore, SubStore


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_bucket_is_looked_for_where_the_environment_says_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same address at one endpoint, then at another, in one process."""
    pytest.importorskip("s3fs")
    server_type = pytest.importorskip("moto.server").ThreadedMotoServer
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for content in (b"first", b"second"):
        server = server_type("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        boto3.client("s3").create_bucket(Bucket="moving")
        store = open_store("s3://moving/part")
        store.put("name", content)
        assert boto3.client("s3").get_object(Bucket="moving", Key="part/name")["Body"].read() == (
            content
        )
        server.stop()


@pytest.fixture(params=["folder", "part of a folder", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    if request.param == "folder":
        return open_store(str(tmp_path))
    if request.param == "part of a folder":
        return SubStore(open_store(str(tmp_path)), "cells/a")
    import boto3

    address = request.getfixturevalue("s3_server")
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{tmp_path.name.replace('_', '-')}"[:60].lower().strip("-")
    boto3.client("s3").create_bucket(Bucket=bucket)
    return open_store(f"s3://{bucket}/some/prefix")


def test_objects_are_written_read_listed_and_deleted(store: ObjectStore) -> None:
    assert store.get("a/b.json") is None
    assert store.list() == []
    store.put("a/b.json", b"1")
    store.put("a/b.json", b"2")
    store.put("a/bc/d", b"")
    store.put("e", b"x" * 100_000)
    assert store.get("a/b.json") == b"2"
    assert store.get("a/bc/d") == b""
    assert store.get("e") == b"x" * 100_000
    assert store.get("a") is None
    assert store.list() == ["a/b.json", "a/bc/d", "e"]
    assert store.list("a/b") == ["a/b.json", "a/bc/d"]
    assert store.list("a/bc/") == ["a/bc/d"]
    assert store.list("nothing/") == []
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert store.list("a/") == ["a/bc/d"]


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_bucket_is_asked_once_for_each_thing(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a/b", b"1")
    asked: list[str] = []
    client = store._files.s3

    def note(params: Any, model: Any, **_: Any) -> None:
        asked.append(model.name)

    client.meta.events.register("before-call.s3", note)
    for use, request in (
        (lambda: store.get("a/b"), "GetObject"),
        (lambda: store.get("a/missing"), "GetObject"),
        (lambda: store.list("a/"), "ListObjectsV2"),
        (lambda: store.list("missing/"), "ListObjectsV2"),
        (lambda: store.put("c", b"2"), "PutObject"),
        (lambda: store.put_new("d", b"3"), "PutObject"),
        (lambda: store.delete("c"), "DeleteObject"),
    ):
        asked.clear()
        use()
        assert asked == [request]


def test_a_new_object_has_one_writer(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda n: store.put_new("lease", str(n).encode()), range(8)))
    assert won.count(True) == 1
    assert store.get("lease") == str(won.index(True)).encode()
    assert not store.put_new("lease", b"late")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", ""])
def test_names_stay_within_the_store(store: ObjectStore, name: str) -> None:
    if isinstance(store, SubStore) and name in ("", "/etc/x"):
        pytest.skip("a name below the prefix")
    with pytest.raises(InputError, match="relative name"):
        store.put(name, b"")


def test_a_lease_has_one_holder_in_any_store(store: ObjectStore) -> None:
    barrier = threading.Barrier(4)

    def acquire(_: int) -> Lease | None:
        lease = Lease(store, "s")
        barrier.wait()
        try:
            return lease.acquire()
        except InputError:
            return None

    with ThreadPoolExecutor(4) as pool:
        held = [lease for lease in pool.map(acquire, range(4)) if lease is not None]
    assert len(held) == 1
    with pytest.raises(InputError, match="works on it"):
        Lease(store, "s").acquire()
    held[0].release()
    with Lease(store, "s") as next_one:
        next_one.check()


def test_addresses() -> None:
    assert absolute_uri("storage") == str(Path.cwd() / "storage")
    assert absolute_uri("s3://bucket/x") == "s3://bucket/x"
    with pytest.raises(InputError, match="expected a folder or s3"):
        open_store("gs://bucket")
    with pytest.raises(InputError, match="expected a folder or s3"):
        absolute_uri("")


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not a usable folder"):
        open_store(str(tmp_path / "file"))


def test_a_bucket_that_is_not_there_is_named(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(InputError, match="no such bucket"):
        open_store("s3://not-there/x")
    with pytest.raises(InputError, match="credentials in the environment"):
        open_store("s3://key:secret@bucket/x")


def test_a_bucket_that_refuses_is_told_as_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    from orchestrator.store.s3 import S3Store

    def refuse(*_: object, **__: object) -> None:
        raise OSError("An error occurred (503) when calling the PutObject operation: Slow Down")

    store = S3Store.__new__(S3Store)
    store.root = "bucket/part"
    store._files = SimpleNamespace(pipe_file=refuse, cat_file=refuse, find=refuse, rm_file=refuse)
    for use in (
        lambda: store.put("x", b""),
        lambda: store.put_new("x", b""),
        lambda: store.get("x"),
        lambda: store.list("x"),
        lambda: store.delete("x"),
    ):
        with pytest.raises(StorageError, match=r"^s3://bucket/part/x: An error .*503.*Slow Down"):
            use()
