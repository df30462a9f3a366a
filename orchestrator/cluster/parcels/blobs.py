"""Files kept by their content: in pieces in the storage, and whole in a folder of each node.

Layout of the storage (`h` the SHA-256 of a file):
    parcels/h/000000 …     the file in pieces
    parcels/h/whole.json   its size and number of pieces; written last, so it commits the file
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from typing_extensions import TypedDict

from shapca.errors import InputError
from shapca.storage import ObjectStore, read_json, to_json
from shapca.storage.locks import held

PIECE_BYTES = 32 * 1024 * 1024
CACHE = "SHAPCA_CACHE"


class _Whole(TypedDict):
    """`whole.json`."""

    size: int
    pieces: int


def pack(store: ObjectStore, file: Path, digest: str, *, piece_bytes: int = PIECE_BYTES) -> int:
    """Put a file into the storage, unless it is there.

    Args:
        store: The storage.
        file: What to put there.
        digest: SHA-256 that the file must have.
        piece_bytes: Size of a piece: what is in memory at once.

    Returns:
        Bytes written; 0 where the storage had the file.

    Raises:
        InputError: the file is another one by now.
    """
    whole = f"parcels/{digest}/whole.json"
    if store.get(whole) is not None:
        return 0
    seen, size, num_pieces = hashlib.sha256(), 0, 0
    with file.open("rb") as handle:
        while piece := handle.read(piece_bytes):
            store.put(f"parcels/{digest}/{num_pieces:06}", piece)
            seen.update(piece)
            size += len(piece)
            num_pieces += 1
    if seen.hexdigest() != digest:
        raise InputError(f"{file}: changed while it was packaged; start the sweep again")
    store.put(whole, to_json({"size": size, "pieces": num_pieces}))
    return size


def node_cache() -> Path:
    """This node's folder for received files, its owner's alone.

    `SHAPCA_CACHE`, else `~/.cache/shap-ca`, else a folder of this user's under the temporary one.

    Raises:
        InputError: the folder belongs to somebody else.
    """
    places = [Path(os.environ[CACHE])] if os.environ.get(CACHE) else []
    places += [
        Path.home() / ".cache" / "shap-ca",
        Path(tempfile.gettempdir()) / f"shap-ca-{os.getuid()}",
    ]
    for folder in places:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if folder.stat().st_uid != os.getuid():
            raise InputError(f"{folder}: belongs to another user; set {CACHE} to a folder of yours")
        folder.chmod(0o700)
        return folder
    raise InputError(f"no folder for received data could be made; set {CACHE} to one")


def unpack(store: ObjectStore, digest: str, cache: Path) -> Path:
    """A file from the storage, fetched once a node however many trials ask.

    Args:
        store: The storage.
        digest: SHA-256 of the file.
        cache: The node's folder.

    Raises:
        InputError: the storage does not have it, or its content is not what was asked for.
    """
    blobs = cache / "blobs"
    blobs.mkdir(exist_ok=True, mode=0o700)
    file = blobs / digest
    if file.is_file():
        return file
    with held(blobs / f"{digest}.lock", os.O_RDWR | os.O_CREAT):
        if not file.is_file():
            _fetch(store, digest, file)
    return file


def _fetch(store: ObjectStore, digest: str, file: Path) -> None:
    whole = read_json(store, f"parcels/{digest}/whole.json", _Whole)
    if whole is None:
        raise InputError(f"packaged file {digest[:16]}: not in the storage; start the sweep again")
    seen = hashlib.sha256()
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".tmp-")  # its owner's alone
    try:
        with os.fdopen(handle, "wb") as out:
            for number in range(whole["pieces"]):
                piece = store.get(f"parcels/{digest}/{number:06}")
                if piece is None:
                    raise InputError(
                        f"packaged file {digest[:16]}: piece {number} is not in the storage; "
                        "start the sweep again"
                    )
                seen.update(piece)
                out.write(piece)
        if seen.hexdigest() != digest:
            raise InputError(
                f"packaged file {digest[:16]}: damaged in the storage; remove parcels/ there"
            )
        os.replace(temporary, file)
    finally:
        Path(temporary).unlink(missing_ok=True)
