"""Where a sweep keeps what it makes, by its address: a folder, or a bucket."""

from __future__ import annotations

from pathlib import Path

from shapca.config import RuntimeConfig
from shapca.errors import InputError
from shapca.storage import FolderStore, ObjectStore, make_private_folder

BUCKETS = ("s3", "gs", "az")
PLACES = "a folder, or a bucket: s3://bucket/prefix, gs:// or az://"


class StorageLost(RuntimeError):
    """The storage failed under a sweep at work, so this driver must stop."""


def is_remote(uri: str) -> bool:
    """Whether a storage address is a URI rather than a folder."""
    return "://" in uri


def absolute_uri(uri: str) -> str:
    """The address with a folder made absolute: trials run in other working directories.

    Raises:
        InputError: An empty address, which would mean the working directory.
    """
    if not uri.strip():
        raise InputError(f"storage: expected {PLACES}, got an empty name")
    return uri if is_remote(uri) else str(Path(uri).expanduser().absolute())


def resolve_data_root(given: Path | None, runtime: RuntimeConfig) -> Path:
    """The absolute folder of the prepared data sets: the one given, or else the file's."""
    return (given or runtime.data_root).expanduser().absolute()


def open_store(uri: str, *, make: bool = True) -> ObjectStore:
    """The store at an address.

    Args:
        uri: A folder, or a bucket's address.
        make: Make a folder that is missing.

    Raises:
        InputError: An address of another kind, or a folder that cannot be.
    """
    if is_remote(uri):
        if uri.partition("://")[0] not in BUCKETS:
            raise InputError(f"storage {uri}: expected {PLACES}")
        from orchestrator.store.bucket import BucketStore

        return BucketStore(uri)
    folder = Path(uri).expanduser().absolute()
    try:
        if make:
            make_private_folder(folder)
    except OSError as error:
        raise InputError(f"storage {uri}: not a usable folder ({error.strerror})") from error
    return FolderStore(folder)
