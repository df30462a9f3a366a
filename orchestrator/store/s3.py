"""Objects in an S3 bucket, or in anything that speaks its protocol, through fsspec.

Credentials and endpoint come from the environment as for every AWS tool (`AWS_PROFILE`,
`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` …), never from the address.
"""

from __future__ import annotations

import errno
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shapca.errors import InputError, StorageError
from shapca.storage.objects import check_name

CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict")


class S3Store:
    """Objects under a prefix of a bucket; where it refuses, `StorageError` says what it said.

    Args:
        uri: `s3://bucket/prefix`.

    Raises:
        InputError: No bucket is named, s3fs is not installed, or the bucket cannot be used.
    """

    def __init__(self, uri: str) -> None:
        self.root = uri.removeprefix("s3://").strip("/")
        if not self.root or "@" in self.root:
            raise InputError(
                "storage: expected s3://bucket/prefix, with credentials in the environment"
            )
        if importlib.util.find_spec("s3fs") is None:
            raise InputError(f"storage {uri}: needs s3fs: pip install 'shap-ca[s3]'")
        import s3fs
        from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

        # Others write too, so that a listing of a moment ago is worth nothing. s3fs keeps a client
        # by its arguments: the endpoint is one, or the first would serve for a later one as well.
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        self._files: Any = s3fs.S3FileSystem(
            use_listings_cache=False,
            endpoint_url=endpoint or None,  # None: as AWS's files say
        )
        try:
            self._files.ls(self.root.partition("/")[0], refresh=True)
        except FileNotFoundError as error:
            raise InputError(f"storage {uri}: no such bucket") from error
        except (OSError, BotoCoreError) as error:
            raise InputError(f"storage {uri}: cannot be used ({error})") from error

    def put_new(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists; whether it was written. The bucket decides who wins."""
        try:
            with self._told(name):
                self._files.pipe_file(self._path(name), content, mode="create")
        except FileExistsError:
            return False
        return True

    def put(self, name: str, content: bytes) -> None:
        """Write or replace an object; a reader sees the old or the new one."""
        with self._told(name):
            self._files.pipe_file(self._path(name), content)

    def get(self, name: str) -> bytes | None:
        """The object's content; None where it does not exist."""
        try:
            # In one part: for several, each object's size would be asked for first, and where it is
            # missing, a listing as well.
            with self._told(name):
                content: bytes = self._files.cat_file(self._path(name), max_concurrency=1)
        except FileNotFoundError:
            return None
        return content

    def list(self, prefix: str = "") -> list[str]:
        """Sorted names that begin with the prefix."""
        # With a prefix nothing more is asked where there is nothing.
        with self._told(prefix):
            found = self._files.find(self.root, prefix=check_name(prefix) if prefix else "")
        names = [name.removeprefix(f"{self.root}/") for name in found]
        return sorted(name for name in names if name.startswith(prefix))

    def delete(self, name: str) -> None:
        """Remove an object; one that does not exist is no error."""
        try:
            with self._told(name):
                self._files.rm_file(self._path(name))
        except FileNotFoundError:
            return

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Raise what the bucket says as a `StorageError`, but for objects that are there or not."""
        from botocore.exceptions import BotoCoreError

        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except (OSError, BotoCoreError) as error:
            if any(conflict in str(error) for conflict in CONFLICTS):
                raise FileExistsError(name) from None
            place = f"s3://{self.root}/{name}"
            raise StorageError(errno.EIO, " ".join(str(error).split()), place) from error

    def _path(self, name: str) -> str:
        return f"{self.root}/{check_name(name)}"
