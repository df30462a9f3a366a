"""What a served model takes: columns, limits, pictures by path or base64, and never a URL."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shapca.data import decoding
from shapca.errors import InputError
from shapca.prediction import PostError, request
from shapca.prediction.request import IMAGE_ROOT, extract, read_post


def picture(size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(stream, kind)
    return stream.getvalue()


def refused(tmp_path: Path, **record: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_post({"text": "a post", **record}, tmp_path / "written")
    assert not (tmp_path / "written").exists()
    return str(caught.value)


def test_a_post_is_read_and_missing_values_are_absent(tmp_path: Path) -> None:
    record = {
        "text": "a post",
        "context": None,
        "image": float("nan"),
        "entities": [[0, 1], (2, 6)],
    }
    post = read_post(record, tmp_path / "written")
    assert (post.text, post.context, post.image) == ("a post", None, None)
    assert post.entities == ((0, 1), (2, 6))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": None}, "text is missing"),
        ({"text": 5}, "text: expected a string, got int"),
        ({"text": "x" * 5001}, "text: 5001 characters, expected 5000 at most"),
        ({"context": "x" * 10_001}, "context: 10001 characters"),
        ({"picture": "x"}, "'picture' is no column; expected text, context"),
        ({"entities": [[0, 1, 2]]}, "entities: expected pairs"),
        ({"entities": 5}, "entities: expected pairs"),
        ({"entities": [["a", "b"]]}, "entities: expected pairs"),
        ({"entities": [[0, float("inf")]]}, "entities: expected pairs"),
        ({"entities": [[0, 1]] * 17}, "entities: 17, expected 16 at most"),
        ({"image": "a", "image_base64": "b"}, "give one of them"),
        ({"image_base64": "no base64!"}, "no base64"),
        ({"image_base64": base64.b64encode(b"text").decode()}, "no readable picture"),
        ({"image_base64": base64.b64encode(picture(kind="TIFF")).decode()}, "no readable picture"),
    ],
)
def test_what_is_refused(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    assert message in refused(tmp_path, **record)


@pytest.mark.parametrize("url", ["http://host/a.png", "https://host/a.png", "file:///etc/passwd",
                                 "ftp://host/a.png", "data:image/png;base64,AAAA"])  # fmt: skip
def test_urls_are_refused_whatever_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(IMAGE_ROOT, "/")
    assert "URLs are refused" in refused(tmp_path, image=url)


def test_paths_are_refused_unless_a_folder_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "a.png").write_bytes(picture())
    (tmp_path / "secret.png").write_bytes(picture())
    (allowed / "link.png").symlink_to(tmp_path / "secret.png")
    monkeypatch.delenv(IMAGE_ROOT, raising=False)
    assert "started without SHAPCA_IMAGE_ROOT" in refused(tmp_path, image="a.png")
    monkeypatch.setenv(IMAGE_ROOT, str(allowed))
    for path in ("a.png", str(allowed / "a.png")):
        post = read_post({"text": "a", "image": path}, tmp_path / "copy")
        assert post.image is not None
        assert post.image.read_bytes() == picture()
    outside = ("../secret.png", str(tmp_path / "secret.png"), "link.png", "../absent.png", "absent")
    for path in outside:  # the same words whether or not the file is there
        assert refused(tmp_path, image=path) == (
            f"image {path!r}: no readable file under the server's folder of images"
        )
    assert "no readable file" in refused(tmp_path, image="a\0b")


def test_pictures_have_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = base64.b64encode(picture((30, 20))).decode()
    read_post({"text": "a", "image_base64": content}, tmp_path / "copy")
    monkeypatch.setattr(decoding, "MAX_PIXELS", 599)
    assert "30 × 20 pixels, expected 599 at most" in refused(tmp_path, image_base64=content)
    monkeypatch.setattr(request, "MAX_IMAGE_BYTES", 50)
    assert "characters, expected" in refused(tmp_path, image_base64=content)
    monkeypatch.setenv(IMAGE_ROOT, str(tmp_path))
    (tmp_path / "a.png").write_bytes(picture((30, 20)))
    assert "expected 50 bytes at most" in refused(tmp_path, image="a.png")


def test_one_bad_post_refuses_the_request() -> None:
    class Extractor:
        def extract_many(self, posts: Any) -> Any:
            raise AssertionError("nothing may be predicted")

    with pytest.raises(InputError, match="post 2: text is missing"):
        extract(Extractor(), [{"text": "a"}, {"context": "b"}])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="65 posts: expected 64 at most"):
        extract(Extractor(), [{"text": "a"}] * 65)  # type: ignore[arg-type]
    many = {"text": "a", "entities": [[0, 1]] * 16}
    with pytest.raises(InputError, match="600 pairs of entities: expected 480 at most"):
        extract(Extractor(), [many] * 5)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="nothing may be predicted"):
        extract(Extractor(), [many] * 4)  # type: ignore[arg-type]


def test_a_post_that_the_model_cannot_read_is_numbered() -> None:
    class Extractor:
        def extract_many(self, posts: Any) -> Any:
            raise PostError(1, "the model reads no images")

    with pytest.raises(InputError, match="post 2: the model reads no images"):
        extract(Extractor(), [{"text": "a"}, {"text": "b"}])  # type: ignore[arg-type]
