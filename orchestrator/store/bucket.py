"""Objects in a bucket of S3, of Google's or Azure's storage, or of what speaks their protocols.

Credentials come from where every tool of that cloud finds them (`AWS_PROFILE`, `AWS_ENDPOINT_URL`,
`GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME` …), never from the address.
"""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from shapca.errors import InputError, StorageError
from shapca.storage.objects import check_name

# A bucket that cannot be reached is told within a minute.
PATIENCE: dict[str, Any] = {"max_retries": 8, "retry_timeout": timedelta(seconds=60)}


class BucketStore:
    """Objects under a prefix of a bucket; where it refuses, `StorageError` says what it said.

    Args:
        uri: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.

    Raises:
        InputError: No bucket is named, obstore is not installed, or the bucket cannot be used.
    """

    def __init__(self, uri: str) -> None:
        scheme, _, place = uri.partition("://")
        bucket, _, prefix = place.strip("/").partition("/")
        if not bucket or "@" in place:
            raise InputError(
                f"storage: expected {scheme}://bucket/prefix, with credentials in the environment"
            )
        require_packages(uri)
        from obstore.exceptions import BaseError

        self.uri = f"{scheme}://{bucket}/{prefix}".rstrip("/")
        try:
            self._objects = OPENERS[scheme](bucket, prefix.strip("/") or None)
            for _ in self._objects.list(chunk_size=1):
                break
        except (BaseError, OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError) or "status code: 404" in str(error):
                raise InputError(f"storage {uri}: no such bucket") from error
            raise InputError(f"storage {uri}: cannot be used ({_said(error)})") from error

    def put_new(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists; whether it was written. The bucket decides who wins.

        Where the answer to a first attempt was lost it exists by the second: see `put_own`.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._told(name):
            try:
                self._objects.put(check_name(name), content, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def put(self, name: str, content: bytes) -> None:
        """Write or replace an object; a reader sees the old or the new one."""
        with self._told(name):
            self._objects.put(check_name(name), content)

    def get(self, name: str) -> bytes | None:
        """The object's content; None where it does not exist."""
        with self._told(name):
            try:
                return bytes(self._objects.get(check_name(name)).bytes())
            except FileNotFoundError:
                return None

    def folders(self, folder: str) -> list[str]:
        """Sorted names of the folders right below one, `folder/`."""
        with self._told(folder):
            found = self._objects.list_with_delimiter(check_name(folder).rstrip("/"))
        return sorted(str(path).rpartition("/")[2] for path in found["common_prefixes"])

    def list(self, prefix: str = "", after: str = "") -> list[str]:
        """Sorted names that begin with the prefix and come after a name."""
        # Buckets are listed by whole folders here.
        folder = check_name(prefix).rpartition("/")[0] if prefix else ""
        with self._told(prefix):
            parts = self._objects.list(folder or None, offset=after or None)
            names = [str(found["path"]) for part in parts for found in part]
        # Not every server begins where it is asked to.
        return sorted(name for name in names if name.startswith(prefix) and name > after)

    def delete(self, *names: str) -> None:
        """Remove objects, in one request where the cloud can; a missing one is no error."""
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        with self._told(f"{names[0] if names else ''}{more}"):
            try:
                self._objects.delete([check_name(name) for name in names])
            except FileNotFoundError:  # of some clouds: the others may stand there still
                for name in names:
                    with suppress(FileNotFoundError):
                        self._objects.delete(name)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Raise what the bucket says as a `StorageError`."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            raise StorageError(errno.EIO, _said(error), f"{self.uri}/{name}") from error


def require_packages(uri: str) -> None:
    """Make sure that what an address needs is installed.

    Raises:
        InputError: it is not; the message says what to install.
    """
    scheme = uri.partition("://")[0]
    for package in ("obstore", "boto3") if scheme == "s3" else ("obstore",):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"storage {uri}: needs {package}: pip install 'shap-ca[{scheme}]'")


def _said(error: Exception) -> str:
    """What a bucket said, on one line, without the library's inner state behind it."""
    return " ".join(str(error).partition("Debug source:")[0].split())


def _open_s3(bucket: str, prefix: str | None) -> Any:
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import S3Store

    # Profile, region, endpoint and credentials as every AWS tool finds them; the library itself
    # knows the environment's variables alone.
    try:
        session = boto3.Session()
        credentials = session.get_credentials()
        region = session.region_name or "us-east-1"
        endpoint = session.client("s3", region_name=region).meta.endpoint_url
    except BotoCoreError as error:
        raise ValueError(str(error)) from error
    if credentials is None:
        raise ValueError("no AWS credentials in the environment or in AWS's files")
    return S3Store(
        bucket,
        prefix=prefix,
        endpoint=endpoint,
        region=region,
        credential_provider=Boto3CredentialProvider(session),
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config=PATIENCE,  # type: ignore[arg-type]
    )


def _open_gs(bucket: str, prefix: str | None) -> Any:
    from obstore.store import GCSStore

    return GCSStore(bucket, prefix=prefix, retry_config=PATIENCE)  # type: ignore[arg-type]


def _open_az(container: str, prefix: str | None) -> Any:
    from obstore.store import AzureStore

    return AzureStore(container, prefix=prefix, retry_config=PATIENCE)  # type: ignore[arg-type]


OPENERS: dict[str, Callable[[str, str | None], Any]] = {
    "s3": _open_s3,
    "gs": _open_gs,
    "az": _open_az,
}
