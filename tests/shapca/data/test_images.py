"""Pictures: ids, look-up, squaring, and the memory-mapped array."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shapca.data.decoding import load_square
from shapca.data.images import (
    ImageStore,
    find_images,
    image_id,
    near_misses,
    picture_files,
    shown_near_misses,
)
from shapca.data.preparation.image_writing import write_images
from shapca.errors import InputError


def save(file: Path, width: int = 8, height: int = 8, colour: object = (255, 0, 0)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    mode = "RGB" if isinstance(colour, tuple) and len(colour) == 3 else "RGBA"
    Image.new(mode, (width, height), colour).save(file)  # type: ignore[arg-type]
    return file


def save_any(file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("123.jpg", "123"),
        ("123", "123"),
        ("a.b.JPEG", "a.b"),
        ("17_06_1.png", "17_06_1"),
        ("v1.5", "v1.5"),
        (" 5 ", "5"),
        ("5 .jpg ", "5"),
        ("5.jfif", "5"),
        ("a b", "a b"),
    ],
)
def test_image_id(name: str, expected: str) -> None:
    assert image_id(name) == expected


@pytest.mark.parametrize(
    "name", ["", " ", ".jpg", "..", "../a", "/a", "a/b.jpg", "a\\b", "a..jpg", "a\n", "a\0b"]
)
def test_image_id_refuses_what_is_no_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="image id"):
        image_id(name)


class TestFindImages:
    def test_looks_below_the_folder_and_at_wanted_ids_only(self, tmp_path: Path) -> None:
        save(tmp_path / "train" / "a.jpg")
        save(tmp_path / "test" / "b.PNG")
        save(tmp_path / "other.jpg")
        (tmp_path / "c.txt").write_text("no picture")
        found = find_images(tmp_path, ["a", "b", "c", "d"])
        assert {key: file.name for key, file in found.items()} == {"a": "a.jpg", "b": "b.PNG"}

    def test_the_same_picture_twice_is_no_matter(self, tmp_path: Path) -> None:
        for folder in ("train", "test"):
            save(tmp_path / folder / "a.png")
        assert find_images(tmp_path, ["a"])["a"] == tmp_path / "test" / "a.png"

    def test_two_pictures_of_one_id(self, tmp_path: Path) -> None:
        save(tmp_path / "train" / "a.png")
        save(tmp_path / "test" / "a.png", colour=(0, 0, 255))
        with pytest.raises(InputError, match="yet both have the image id 'a'"):
            find_images(tmp_path, ["a"])

    def test_links_are_followed_once(self, tmp_path: Path) -> None:
        save(tmp_path / "elsewhere" / "a.png")
        save(tmp_path / "elsewhere" / "b.png")
        folder = tmp_path / "pictures"
        folder.mkdir()
        (folder / "train").symlink_to(tmp_path / "elsewhere")
        (folder / "again").symlink_to(folder)  # a way round without end
        (tmp_path / "elsewhere" / "back").symlink_to(folder)
        (folder / "c.png").symlink_to(tmp_path / "elsewhere" / "a.png")
        assert [file.name for file in picture_files(folder)] == ["c.png", "a.png", "b.png"]
        assert set(find_images(folder, "abc")) == {"a", "b", "c"}

    def test_only_regular_files_count(self, tmp_path: Path) -> None:
        save(tmp_path / "a.png")
        (tmp_path / "b.png").symlink_to(tmp_path / "nothing.png")
        (tmp_path / "c.png").mkdir()
        os.mkfifo(tmp_path / "d.png")
        assert set(find_images(tmp_path, "abcd")) == {"a"}

    def test_a_folder_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="pictures: no such folder"):
            find_images(tmp_path / "pictures", ["a"])

    @pytest.mark.parametrize(
        "name", ["a.jfif", "a.JPE", "a.jpg_large", "a .jpg", "a.Jpeg", "a.jpg-large"]
    )
    def test_endings_and_blanks_that_pictures_go_round_with(
        self, tmp_path: Path, name: str
    ) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / name, format="JPEG")
        assert find_images(tmp_path, ["a"]) == {"a": tmp_path / name}

    def test_the_first_of_several_by_name(self, tmp_path: Path) -> None:
        for name in ("L1_b.png", "x/L1_a.png", "L1_c.png", "L2_a.png", "L3.png"):
            save(tmp_path / name)
        further: dict[str, int] = {}
        found = find_images(tmp_path, ["L1", "L3", "L4"], further)
        assert found == {"L1": tmp_path / "x" / "L1_a.png", "L3": tmp_path / "L3.png"}
        assert further == {"L1": 2}

    def test_near_misses(self, tmp_path: Path) -> None:
        for name in ("Abc.jpg", "x/d e.png", "f.tiff", "g.jpg.part", "h.jpg"):
            save_any(tmp_path / name)
        near = near_misses(tmp_path, ["abc", "de", "f", "g", "none"])
        assert near == {"abc": "Abc.jpg", "de": "x/d e.png", "f": "f.tiff", "g": "g.jpg.part"}
        assert shown_near_misses(near).startswith(" (near misses: 'Abc.jpg' for 'abc', ")
        assert shown_near_misses({}) == ""


class TestLoadSquare:
    @pytest.mark.parametrize("size", [(16, 16), (40, 16), (16, 40), (7, 5), (300, 200)])
    def test_shape_and_colour(self, tmp_path: Path, size: tuple[int, int]) -> None:
        square = load_square(save(tmp_path / "a.png", *size), 16)
        assert square.shape == (16, 16, 3)
        assert square.dtype == np.uint8
        assert (square == (255, 0, 0)).all()

    @pytest.mark.parametrize("wide", [True, False])
    def test_keeps_the_centre(self, wide: bool) -> None:
        pixels = np.zeros((16, 48, 3), dtype=np.uint8)
        pixels[:, :16], pixels[:, 16:32], pixels[:, 32:] = 10, 20, 30
        square = load_square(pixels if wide else pixels.transpose(1, 0, 2), 16)
        assert (square == 20).all()

    def test_equals_resizing_then_cropping(self) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (48, 96, 3)).astype(np.uint8)
        smooth = Image.fromarray(pixels).resize((96, 48))
        resized = smooth.resize((32, 16), Image.Resampling.BICUBIC).crop((8, 0, 24, 16))
        difference = load_square(smooth, 16).astype(int) - np.asarray(resized).astype(int)
        assert np.abs(difference[:, 1:-1]).max() <= 1

    def test_turns_upright(self, tmp_path: Path) -> None:
        pixels = np.zeros((16, 16, 3), dtype=np.uint8)
        pixels[:8] = 255  # white above; orientation 3 means upside down
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
        square = load_square(tmp_path / "a.png", 16)
        assert (square[8:] == 255).all()
        assert (square[:8] == 0).all()

    @pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
    def test_other_modes_become_rgb(self, tmp_path: Path, mode: str) -> None:
        suffix = "jpg" if mode == "CMYK" else "png"
        Image.new("RGB", (20, 20), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{suffix}")
        square = load_square(tmp_path / f"a.{suffix}", 16)
        assert square.shape == (16, 16, 3)
        assert square.min() >= 254

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("kind", [np.uint16, np.int32])
    def test_deep_grey_is_scaled_not_clipped(
        self, tmp_path: Path, kind: type[np.generic], bits: int
    ) -> None:
        step = 1 if bits == 8 else 257
        ramp = np.tile(np.arange(16) * 17, (16, 1))
        deep = Image.fromarray((ramp * step).astype(kind))
        if kind is np.uint16:
            deep.save(tmp_path / "a.png")
        square = load_square(tmp_path / "a.png" if kind is np.uint16 else deep, 16)
        expected = np.rint(ramp / 257) if kind is np.uint16 and bits == 8 else ramp
        assert (square == expected[..., None]).all()

    @pytest.mark.parametrize(
        "values",
        [np.float32([[0.0, 1.0]]), np.int32([[0, 2**16]]), np.int32([[-1, 9]])],
    )
    def test_numbers_without_a_known_white_are_no_picture(self, values: NDArray[Any]) -> None:
        with pytest.raises(ValueError, match="expected 8 or 16 bits a channel"):
            load_square(Image.fromarray(values), 16)

    def test_a_large_jpeg_is_close_to_the_exact_decoding(self, tmp_path: Path) -> None:
        ramp = np.linspace(0, 255, 512).astype(np.uint8)
        pixels = np.stack([np.tile(ramp, (512, 1))] * 3, axis=-1)
        Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
        exact = load_square(Image.open(tmp_path / "a.jpg").convert("RGB"), 64)
        square = load_square(tmp_path / "a.jpg", 64)
        assert np.abs(square.astype(int) - exact.astype(int)).max() <= 4


class TestStore:
    def test_round_trip(self, tmp_path: Path) -> None:
        images = {
            "b": save(tmp_path / "b.png", colour=(1, 2, 3)),
            "a": np.full((9, 7, 3), 50, dtype=np.uint8),
        }
        calls: list[tuple[str, int, int]] = []
        array_file, index_file = tmp_path / "images.npy", tmp_path / "images.json"
        written = write_images(array_file, index_file, images, 16, lambda *call: calls.append(call))
        assert tuple(written.index) == ("a", "b")
        assert calls == [("images", 1, 2), ("images", 2, 2)]
        store = ImageStore.open(array_file, index_file)
        assert store.array.shape == (2, 16, 16, 3)
        assert store.size == 16
        assert isinstance(store.array, np.memmap)
        assert (store.array[store.index["a"]] == 50).all()
        assert (store.array[store.index["b"]] == (1, 2, 3)).all()
        with pytest.raises(ValueError, match="read-only"):
            store.array[0] = 0

    def test_missing_and_broken_files_are_counted_not_replaced(self, tmp_path: Path) -> None:
        whole = save(tmp_path / "whole.jpg", 64, 64)
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "cut.jpg")
        content = (tmp_path / "cut.jpg").read_bytes()
        (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
        Image.fromarray(noise).save(tmp_path / "damaged.png")
        damaged = bytearray((tmp_path / "damaged.png").read_bytes())
        damaged[60:200] = bytes(140)
        (tmp_path / "damaged.png").write_bytes(damaged)
        (tmp_path / "text.jpg").write_text("no picture")
        (tmp_path / "empty.gif").write_bytes(b"")
        files = {
            "whole": whole,
            "cut": tmp_path / "cut.jpg",
            "damaged": tmp_path / "damaged.png",
            "text": tmp_path / "text.jpg",
            "empty": tmp_path / "empty.gif",
            "absent": tmp_path / "absent.jpg",
        }
        written = write_images(tmp_path / "i.npy", tmp_path / "i.json", files, 16)
        assert tuple(written.index) == ("whole",)
        assert set(written.broken) == {"cut", "damaged", "text", "empty", "absent"}
        store = ImageStore.open(tmp_path / "i.npy", tmp_path / "i.json")
        assert store.broken == written.broken
        assert len(store) == 1
        assert "truncated" in store.broken["cut"]

    def test_same_pictures_give_the_same_bytes(self, tmp_path: Path) -> None:
        images = {f"i{n}": np.full((8, 8, 3), n, dtype=np.uint8) for n in range(20)}
        for name in "ab":
            write_images(tmp_path / f"{name}.npy", tmp_path / f"{name}.json", images, 16)
        assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()

    def test_memory_does_not_grow_with_the_number_of_pictures(self, tmp_path: Path) -> None:
        file = save(tmp_path / "a.png", 64, 64)
        images = {f"i{n:04d}": file for n in range(600)}  # 600 squares of 12 kB: 7 MB
        tracemalloc.start()
        write_images(tmp_path / "i.npy", tmp_path / "i.json", images, 64)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (tmp_path / "i.npy").stat().st_size > 7_000_000
        assert peak < 3_000_000

    def test_a_pickled_store_maps_the_file_again(self, tmp_path: Path) -> None:
        images = {f"i{n}": np.full((8, 8, 3), n, dtype=np.uint8) for n in range(50)}
        write_images(tmp_path / "i.npy", tmp_path / "i.json", images, 32)
        store = ImageStore.open(tmp_path / "i.npy", tmp_path / "i.json")
        assert store.array.nbytes > 100_000
        content = pickle.dumps(store)
        assert len(content) < 5_000
        assert (pickle.loads(content).array == store.array).all()


@pytest.mark.real_data
def test_real_pictures(real_data: Path) -> None:
    files = sorted((real_data / "sample_images").rglob("*.jpg"))
    assert len(files) == 22
    for file in files:
        square = load_square(file)
        assert square.shape == (256, 256, 3)
        assert square.std() > 5
