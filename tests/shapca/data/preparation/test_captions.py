"""Caption files in their four forms, and what is counted on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shapca.data.preparation.captions import import_contexts, parse_context_argument
from shapca.errors import InputError
from tests.paths import FIXTURES

CAPTIONS = FIXTURES / "captions"
TWITTER = ["17_06_1", "O_12", "16_05_01_7", "17_06_2", "O_13", "17_06_3", "O_14"]


class TestForms:
    def test_colon_lines(self) -> None:
        texts, report = import_contexts([CAPTIONS / "lines.txt"], TWITTER)
        assert texts == {
            "17_06_1": "two people by a lake",
            "O_12": "",
            "16_05_01_7": "lights : at night",
            "17_06_2": "a harbour",
            "17_06_3": "a man",
            "O_13": "a cat",
        }
        assert report.to_json() == {
            "num_captions": 5,
            "num_empty": 1,
            "num_without": 1,
            "num_unknown": 1,
            "num_repeated": 1,
            "num_conflicting": 1,
            "unknown": ["inf.png"],
            "without": ["O_14"],
            "conflicting": ["17_06_3"],
        }

    def test_python_literals_with_windows_line_ends(self) -> None:
        images = ["street_1", "street_2", "street_3"]
        texts, report = import_contexts([CAPTIONS / "literal.txt"], images)
        assert texts == {"street_1": "A singer's stage.", "street_2": "", "street_3": "a harbour"}
        assert (report.num_captions, report.num_empty, report.unknown) == (2, 1, ("inf.png",))

    def test_json_object(self) -> None:
        texts, report = import_contexts([CAPTIONS / "object.json"], TWITTER)
        assert texts == {"17_06_1": "two people", "O_12": "a team", "17_06_2": "a harbour"}
        assert report.num_without == 4

    def test_json_object_on_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "c.json").write_text('{"O_12.jpg": "a team", "image": "x"}')
        assert import_contexts([tmp_path / "c.json"], TWITTER)[0] == {"O_12": "a team"}

    def test_json_object_with_a_repeated_key(self, tmp_path: Path) -> None:
        (tmp_path / "c.json").write_text('{"O_12": "a", "O_12": "b"}')
        texts, report = import_contexts([tmp_path / "c.json"], TWITTER)
        assert texts == {"O_12": "a"}
        assert report.conflicting == ("O_12",)

    def test_json_lines(self) -> None:
        texts, report = import_contexts([CAPTIONS / "lines.jsonl"], TWITTER)
        assert texts == {"17_06_1": "two people", "O_12": ""}
        assert (report.num_unknown, report.num_empty) == (1, 1)

    @pytest.mark.parametrize("key", ["img_id", "image", "image_id", "id"])
    @pytest.mark.parametrize("text", ["text", "caption", "context"])
    def test_one_json_line_with_any_keys(self, tmp_path: Path, key: str, text: str) -> None:
        (tmp_path / "c.jsonl").write_text(json.dumps({key: "O_12.jpg", text: "a team", "n": 1}))
        assert import_contexts([tmp_path / "c.jsonl"], TWITTER)[0] == {"O_12": "a team"}


class TestCounts:
    def test_several_files_make_one_set(self) -> None:
        files = [CAPTIONS / "lines.jsonl", CAPTIONS / "object.json"]
        texts, report = import_contexts(files, TWITTER)
        assert texts["O_12"] == "a team"  # an empty caption gives way to one that says something
        assert report.num_captions == 3
        assert report.num_repeated == 2

    def test_an_empty_repetition_is_no_conflict(self, tmp_path: Path) -> None:
        (tmp_path / "c.txt").write_text("O_12 :a team\nO_12 :\n")
        texts, report = import_contexts([tmp_path / "c.txt"], TWITTER)
        assert texts == {"O_12": "a team"}
        assert (report.num_repeated, report.num_conflicting) == (1, 0)

    def test_unknown_line_breaks_do_not_end_a_caption(self, tmp_path: Path) -> None:
        (tmp_path / "c.txt").write_text("O_12 :a\u2028team\x0bof\x85two\n", encoding="utf-8")
        assert import_contexts([tmp_path / "c.txt"], TWITTER)[0] == {"O_12": "a team of two"}


class TestBadInput:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "empty; expected"),
            ("just words\n", r"c\.txt:1: unknown form \('just words' …\); expected 'ID.jpg"),
            ('[{"image": "a", "text": "b"}]', r"c\.txt:1: unknown form"),
            ("{not json\nnor a literal}", r"c\.txt:1: unknown form"),
            ("a.jpg :x\n\nno colon\n", r"c\.txt:3: 'no colon' … is not of the form"),
            ("a b.jpg :x\n", r"c\.txt:1: .* is not of the form"),
            ("../a.jpg :x\n", r"c\.txt:1: image id '../a.jpg' is not allowed"),
            ('{"image": "O_12", "text": "a"}\n[1]\n', r"c\.txt:2: .* is not a JSON object"),
            ("{'id': 'O_12', 'text': 'a'}\noops\n", r"c\.txt:2: .* not a Python-literal dict"),
            ('{"id": "O_12", "text": 3}\n', r"c\.txt:1: expected a caption, as text under"),
            ("{'id': 3, 'text': 'a'}\n", r"c\.txt:1: expected an image id, as text under"),
            ("{'name': 'O_12', 'text': 'a'}\n", r"c\.txt:1: expected an image id"),
            ('{"O_12": ["a", "b"]}', r"c\.txt: 'O_12' has the caption \['a', 'b'\], expected text"),
            ('{"O_12": {"a": "b"}}', r"c\.txt: 'O_12' has the caption .*, expected text"),
            ('{"id": "O_12", "text": "a \\ud83d"}\n', r"c\.txt:1: '\\ud83d' in 'a .* half a char"),
            ("{'id': 'O_12', 'text': '\\ud83d'}\n", r"c\.txt:1: '\\ud83d' in .*half a character"),
            ('{"O_12": "\\ud83d"}', r"c\.txt: 'O_12': '\\ud83d' in .*half a character"),
            ("9.jpg :a\n", "not one caption belongs to an image of the data set; its ids are like"),
        ],
    )
    def test_names_file_and_line(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "c.txt").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            import_contexts([tmp_path / "c.txt"], TWITTER)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"c\.txt: cannot be read"):
            import_contexts([tmp_path / "c.txt"], TWITTER)


class TestArgument:
    def test_a_file_alone_gives_its_stem(self) -> None:
        file = CAPTIONS / "lines.txt"
        assert parse_context_argument(str(file)) == ("lines", (file,))

    def test_a_name_and_files(self) -> None:
        assert parse_context_argument("blip-2.7=a.txt,b/c.txt") == (
            "blip-2.7",
            (Path("a.txt"), Path("b/c.txt")),
        )

    def test_a_file_whose_name_has_signs_in_it(self, tmp_path: Path) -> None:
        for name in ("a=b.txt", "a,b.txt"):
            (tmp_path / name).write_text("")
        assert parse_context_argument(f"x={tmp_path}/a,b.txt")[1] == (tmp_path / "a,b.txt",)
        with pytest.raises(InputError, match="with a name of letters"):
            parse_context_argument(f"{tmp_path}/a=b.txt")

    @pytest.mark.parametrize("argument", ["", "=a.txt", "a b=c.txt", "../x=c.txt", "x=", "x=a,,b"])
    def test_refuses(self, argument: str) -> None:
        with pytest.raises(InputError, match="expected FILE, NAME=FILE or NAME=FILE,FILE"):
            parse_context_argument(argument)


@pytest.mark.real_data
class TestRealData:
    def test_caption_files_of_mnre(self, real_data: Path) -> None:
        from shapca.data.preparation.picture_sources import image_ids
        from shapca.data.preparation.readers import READERS

        images = image_ids(READERS["mnre"](real_data / "mnre").splits)
        captions = real_data / "mnre" / "captions"
        empty = {"llavanext": 0, "instructblip": 0, "blip2": 35}
        for name, num_empty in empty.items():
            files = [captions / f"{name}_{split}.txt" for split in ("train", "val", "test")]
            texts, report = import_contexts(files, images)
            assert report.num_captions == 9201 - num_empty
            assert report.num_empty == num_empty
            assert (report.num_unknown, report.unknown) == (3, ("inf.png",))
            assert (report.num_without, report.num_conflicting) == (0, 0)
            assert not any("\n" in text or "\r" in text for text in texts.values())

    @pytest.mark.parametrize(
        ("name", "num_captions", "num_empty", "num_unknown"),
        [("twitter2015", 8255, 2, 31), ("twitter2017", 4819, 0, 0)],
    )
    def test_caption_files_of_twitter(
        self, name: str, num_captions: int, num_empty: int, num_unknown: int, real_data: Path
    ) -> None:
        from shapca.data.preparation.picture_sources import image_ids
        from shapca.data.preparation.readers import READERS

        images = image_ids(READERS[name](real_data / name).splits)
        _, report = import_contexts([real_data / name / "captions_blip2.txt"], images)
        assert report.num_captions == num_captions
        assert report.num_empty == num_empty
        assert report.num_unknown == num_unknown
        assert report.num_without == 0
