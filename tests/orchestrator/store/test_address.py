"""Every store keeps to one contract."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.store import bucket
from orchestrator.store.address import absolute_uri, open_store
from orchestrator.store.lease import Lease
from orchestrator.store.sweep_folder import put_own
from shapca.errors import InputError, StorageError
from shapca.storage import ObjectStore, SubStore
from tests.clouds import Cloud, serve, serve_s3


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    with serve_s3() as address:
        yield address


def test_a_bucket_is_looked_for_where_the_environment_says_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same address at one endpoint, then at another, in one process."""
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for content in (b"first", b"second"):
        with serve_s3() as address:
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
            client = boto3.client("s3")
            client.create_bucket(Bucket="moving")
            open_store("s3://moving/part").put("name", content)
            assert client.get_object(Bucket="moving", Key="part/name")["Body"].read() == content


@pytest.fixture
def cloud(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[dict[str, str], type[Cloud]]]:
    """Google's or Azure's storage on loopback: the environment that leads there, its handler."""
    scheme = getattr(request, "param", None) or request.node.callspec.params["store"]
    with serve(scheme, tmp_path) as served:
        yield served


@pytest.fixture(params=["folder", "part of a folder", "s3", "gs", "az"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    if request.param == "folder":
        return open_store(str(tmp_path))
    if request.param == "part of a folder":
        return SubStore(open_store(str(tmp_path)), "cells/a")
    if request.param in ("gs", "az"):
        environment, _ = request.getfixturevalue("cloud")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return open_store(f"{request.param}://bucket/some/prefix")
    import boto3

    address = request.getfixturevalue("s3_server")
    for key, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    name = f"bucket-{tmp_path.name.replace('_', '-')}"[:60].lower().strip("-")
    boto3.client("s3").create_bucket(Bucket=name)
    return open_store(f"s3://{name}/some/prefix")


def test_folders_are_named_without_what_they_hold(store: ObjectStore) -> None:
    assert store.folders("sweeps/") == []
    for name in ("sweeps/b/runs/1", "sweeps/a/x", "sweeps/a/y", "sweeps/z", "sweepsters/c/x"):
        store.put(name, b"1")
    assert store.folders("sweeps/") == ["a", "b"]
    assert store.folders("sweeps/b/") == ["runs"]
    assert store.folders("sweeps/z/") == []


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
    assert store.list("a/", after="a/b.json") == ["a/bc/d"]
    assert store.list(after="a/bc") == ["a/bc/d", "e"]
    assert store.list("a/", after="a/bc/d") == []
    store.delete("a/b.json")
    store.delete("a/b.json")
    assert store.list("a/") == ["a/bc/d"]
    for name in ("b", "c", "f"):
        store.put(name, b"1")
    store.delete("b", "missing", "c", "f")
    assert store.list() == ["a/bc/d", "e"]


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_bucket_is_asked_once_for_each_thing(
    store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("a/b", b"1")
    for use, request in (
        (lambda: store.get("a/b"), "GET /{}/some/prefix/a/b "),
        (lambda: store.get("a/missing"), "GET /{}/some/prefix/a/missing "),
        (lambda: store.list("a/"), "GET /{}?list-type=2&prefix=some/prefix/a/ "),
        (lambda: store.list("missing/"), "GET /{}?list-type=2&prefix=some/prefix/missing/ "),
        (lambda: store.put("c", b"2"), "PUT /{}/some/prefix/c "),
        (lambda: store.put_new("d", b"3"), "PUT /{}/some/prefix/d "),
        (lambda: store.delete("c", "d"), "POST /{}?delete "),
    ):
        caplog.clear()
        with caplog.at_level("INFO", logger="werkzeug"):
            use()
        place = store.uri.split("/")[2]  # type: ignore[attr-defined]
        (line,) = [record.getMessage() for record in caplog.records if record.name == "werkzeug"]
        assert request.format(place) in line


def test_a_new_object_has_one_writer(store: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda n: store.put_new("lease", str(n).encode()), range(8)))
    assert won.count(True) == 1
    assert store.get("lease") == str(won.index(True)).encode()
    assert not store.put_new("lease", b"late")
    assert not store.put_new("lease", store.get("lease") or b"")  # it was there before


@pytest.mark.parametrize(("scheme", "cloud"), [("gs", "gs"), ("az", "az")], indirect=["cloud"])
def test_an_object_whose_answer_was_lost_is_its_writers(
    scheme: str, cloud: tuple[dict[str, str], type[Cloud]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, answering = cloud
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(f"{scheme}://bucket/part")
    answering.lost = 1  # written, but answered with 503: the client asks again
    assert put_own(store, "lease", b"ours")
    assert answering.lost == 0
    assert store.get("lease") == b"ours"
    assert not put_own(store, "lease", b"theirs")
    answering.lost = 1
    with Lease(store, "s") as lease:
        lease.check()


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
    with pytest.raises(InputError, match="expected a folder, or a bucket: s3"):
        open_store("ftp://bucket")
    with pytest.raises(InputError, match="expected a folder, or a bucket: s3"):
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


@pytest.mark.parametrize(("scheme", "cloud"), [("gs", "gs"), ("az", "az")], indirect=["cloud"])
def test_a_bucket_that_refuses_is_told_as_its_own(
    scheme: str, cloud: tuple[dict[str, str], type[Cloud]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, answering = cloud
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(bucket.PATIENCE, "max_retries", 0)
    with pytest.raises(InputError, match=f"storage {scheme}://other/part: no such bucket"):
        open_store(f"{scheme}://other/part")
    store = open_store(f"{scheme}://bucket/part")
    answering.refusal = 503
    for use in (
        lambda: store.put("x", b""),
        lambda: store.put_new("x", b""),
        lambda: store.get("x"),
        lambda: store.list("x"),
        lambda: store.delete("x"),
    ):
        with pytest.raises(StorageError, match=rf"^{scheme}://bucket/part/x: .*503.*Slow down"):
            use()
    with pytest.raises(InputError, match=r"cannot be used \(.*503"):
        open_store(f"{scheme}://bucket/part")


def test_what_an_address_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs obstore: pip install 'shap-ca\[gs\]'"):
        open_store("gs://bucket/x")


def test_s3_without_credentials_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot be used \\(no AWS credentials"):
        open_store("s3://bucket/x")


def test_s3_takes_profile_region_and_endpoint_from_the_files_of_aws(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import boto3

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    (tmp_path / "config").write_text(
        f"[profile lab]\nregion = eu-central-1\nendpoint_url = {s3_server}\n"
    )
    (tmp_path / "credentials").write_text(
        "[lab]\naws_access_key_id = test\naws_secret_access_key = test\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    region = {"LocationConstraint": "eu-central-1"}
    client = boto3.Session().client("s3")
    client.create_bucket(Bucket="of-the-lab", CreateBucketConfiguration=region)
    open_store("s3://of-the-lab/part").put("x", b"1")
    assert client.get_object(Bucket="of-the-lab", Key="part/x")["Body"].read() == b"1"
