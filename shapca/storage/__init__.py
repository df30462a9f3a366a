"""Files that outlive a kill: named objects, locked folders, living processes."""

from shapca.storage.objects import (
    FolderStore,
    ObjectStore,
    SubStore,
    make_private_folder,
    place_name,
)
from shapca.storage.records import digest, hash_of, read_json, to_json

__all__ = [
    "FolderStore",
    "ObjectStore",
    "SubStore",
    "digest",
    "hash_of",
    "make_private_folder",
    "place_name",
    "read_json",
    "to_json",
]
