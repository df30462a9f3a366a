"""Which files count as pictures, and how large they may be."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shapca.contexts.generators.endpoint import data_url
from shapca.contexts.pictures import decode
from shapca.data.decoding import FORMATS, MAX_PIXELS, Embedded, load_square, open_picture
from shapca.data.preparation.image_writing import BROKEN_PICTURE, write_images

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def picture(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (9, 99, 9)).save(buffer, format=kind)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is this large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_the_named_formats_are_read_whatever_the_ending_says(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(kind))
    square = load_square(tmp_path / "a.jpg", 16)
    assert np.abs(square.astype(int) - (9, 99, 9)).max() <= 3
    assert decode(picture(kind)).size == (40, 30)


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "TGA", "DDS", "EPS", "postscript"])
def test_other_formats_are_no_pictures(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.check_call", None)  # Ghostscript must not be started
    content = POSTSCRIPT if kind == "postscript" else picture(kind)
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (load_square, decode, data_url):
        with pytest.raises(BROKEN_PICTURE, match="expected JPEG, PNG, WEBP, GIF, BMP"):
            read(tmp_path / "a.jpg" if read is load_square else content)  # type: ignore[operator]
    store = write_images(tmp_path / "i.npy", tmp_path / "i.json", {"a": tmp_path / "a.jpg"}, 16)
    assert set(store.broken) == {"a"}


def test_a_small_file_of_a_huge_picture_takes_no_memory(tmp_path: Path) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    (tmp_path / "a.png").write_bytes(bomb(side, side))
    tracemalloc.start()
    for read in (load_square, open_picture):
        with pytest.raises(
            ValueError, match=rf"{side} × {side} pixels, expected 40,000,000 at most"
        ):
            read(tmp_path / "a.png")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    with open_picture(bomb(8000, 5000)) as allowed:
        assert allowed.size == (8000, 5000)


def test_an_embedded_picture_is_read_from_its_place(tmp_path: Path) -> None:
    content = picture("PNG")
    with (tmp_path / "many").open("w+b") as file:
        file.write(b"before" + content + b"after")
        file.flush()
        embedded = Embedded(file, 6, len(content), zlib.crc32(content))
        assert embedded.read() == content
        assert (load_square(embedded, 16) == (9, 99, 9)).all()
