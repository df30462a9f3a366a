"""Readers of the public files: one contract for all, and each format's own traps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from shapca.data.preparation.readers import READERS
from shapca.data.schema import NONE, SPLITS, Entity, Example, Relation, Span
from shapca.data.tags import is_zero_width
from shapca.errors import InputError
from tests.paths import FIXTURES


@pytest.fixture
def source(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a reader's fixture that a test may damage."""
    return Path(shutil.copytree(FIXTURES / request.param, tmp_path / request.param))


@pytest.mark.parametrize("name", READERS)
class TestContract:
    def test_examples_keep_to_the_schema(self, name: str) -> None:
        data = READERS[name](FIXTURES / name)
        examples = [example for split in SPLITS for example in data.splits[split]]
        assert tuple(data.splits) == SPLITS
        assert len({example.id for example in examples}) == len(examples)
        for example in examples:
            assert example.pos == ()
            assert example.words
            assert all(example.words)
            assert example.image is not None
            assert not example.image.endswith(".jpg")
            spans = [entity.span for entity in example.entities]
            assert len(set(example.entities)) == len(example.entities)
            assert all(0 <= start < end <= len(example.words) for start, end in spans)
            assert {e.type for e in example.entities} <= {None, *data.labels.entity_types}
            for relation in example.relations:
                assert {relation.head, relation.tail} <= set(spans)
                assert relation.type in (NONE, *data.labels.relation_types)
            assert Example.from_json(json.loads(json.dumps(example.to_json()))) == example

    def test_reading_twice_gives_the_same(self, name: str) -> None:
        assert READERS[name](FIXTURES / name) == READERS[name](FIXTURES / name)

    def test_label_sets_are_sorted_but_for_eegas(self, name: str) -> None:
        labels = READERS[name](FIXTURES / name).labels
        for kinds in (labels.entity_types, labels.relation_types):
            assert len(set(kinds)) == len(kinds)
            assert name == "jmere" or list(kinds) == sorted(kinds)

    def test_names_the_folder_that_is_missing(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no-such-folder: no such folder"):
            READERS[name](tmp_path / "no-such-folder")

    @pytest.mark.parametrize("split", SPLITS)
    def test_names_the_split_that_is_missing(self, name: str, split: str, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(FIXTURES / name, tmp_path / name))
        files = dict(zip(SPLITS, READERS[name](copy).files, strict=False))
        files[split].unlink()
        with pytest.raises(InputError, match=f"the {split} split is missing; expected"):
            READERS[name](copy)

    @pytest.mark.parametrize("split", SPLITS)
    def test_refuses_bytes_that_are_not_text(self, name: str, split: str, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(FIXTURES / name, tmp_path / name))
        files = dict(zip(SPLITS, READERS[name](copy).files, strict=False))
        files[split].write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match=f"{files[split].name}: not UTF-8 text"):
            READERS[name](copy)


class TestTwitter:
    def test_last_post_needs_no_blank_line(self) -> None:
        source = FIXTURES / "twitter2015"
        assert not (source / "test.txt").read_bytes().endswith(b"\n\n")
        examples = READERS["twitter2015"](source).splits["test"]
        assert [example.id for example in examples] == ["301", "302"]
        assert examples[1].words == ("last", "post", "Ostra")

    def test_no_break_space_is_a_word(self) -> None:
        example = READERS["twitter2015"](FIXTURES / "twitter2015").splits["valid"][0]
        assert example.words == ("a", "\u00a0", "Pemberly", "Sun")

    def test_zero_width_words_stay(self) -> None:
        examples = READERS["twitter2017"](FIXTURES / "twitter2017").splits["train"]
        assert examples[1].words[-2:] == ("❤", "\ufe0f")

    def test_orphans_are_kept_and_read_leniently(self) -> None:
        data = READERS["twitter2015"](FIXTURES / "twitter2015")
        first, second = data.splits["train"]
        assert first.tags == ("O", "I-PER", "I-PER", "O", "B-LOC")
        assert first.entities == (Entity(1, 3, "PER"), Entity(4, 5, "LOC"))
        assert second.entities == (Entity(0, 2, "MISC"), Entity(2, 4, "ORG"))
        assert data.notes["num_orphan_tags"] == 2

    def test_other_becomes_misc(self) -> None:
        data = READERS["twitter2015"](FIXTURES / "twitter2015")
        assert data.labels.entity_types == ("LOC", "MISC", "ORG", "PER")
        assert data.splits["train"][1].tags == ("B-MISC", "I-MISC", "I-ORG", "I-ORG")

    def test_neighbouring_entities_stay_apart(self) -> None:
        example = READERS["twitter2017"](FIXTURES / "twitter2017").splits["test"][0]
        assert example.entities == (Entity(0, 1, "PER"), Entity(1, 2, "PER"))

    @pytest.mark.parametrize("source", ["twitter2017"], indirect=True)
    def test_windows_line_ends_and_byte_order_mark(self, source: Path) -> None:
        before = READERS["twitter2017"](source).splits["train"]
        content = (source / "train.txt").read_bytes().replace(b"\n", b"\r\n")
        (source / "train.txt").write_bytes(b"\xef\xbb\xbf" + content)
        assert READERS["twitter2017"](source).splits["train"] == before

    @pytest.mark.parametrize("source", ["twitter2017"], indirect=True)
    def test_a_word_may_look_like_an_image_line(self, source: Path) -> None:
        (source / "test.txt").write_text("IMGID:9\nIMGID:8\tO\n", encoding="utf-8")
        (example,) = READERS["twitter2017"](source).splits["test"]
        assert example.words == ("IMGID:8",)

    @pytest.mark.parametrize("source", ["twitter2017"], indirect=True)
    def test_repeated_image_gets_numbered_ids(self, source: Path) -> None:
        (source / "valid.txt").write_text("IMGID:9\na\tO\n\nIMGID:9\nb\tO\n", encoding="utf-8")
        (source / "test.txt").write_text("IMGID:9\nc\tO\n", encoding="utf-8")
        data = READERS["twitter2017"](source)
        examples = [*data.splits["valid"], *data.splits["test"]]
        assert [example.id for example in examples] == ["9", "9#2", "9#3"]
        assert {example.image for example in examples} == {"9"}

    @pytest.mark.parametrize("source", ["twitter2017"], indirect=True)
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("IMGID:1\na O\n", r"valid\.txt:2: 'a O' is not of the form word<TAB>tag"),
            ("IMGID:1\na\tO\textra\n", r"valid\.txt:2: .* word<TAB>tag"),
            ("IMGID:1\n\tO\n", r"valid\.txt:2: .* word<TAB>tag"),
            ("IMGID:1\na\tB-CAT\n", r"valid\.txt:2: unknown tag 'B-CAT'; expected one of O, B-LOC"),
            ("IMGID:1\na\t\n", r"valid\.txt:2: unknown tag ''"),
            ("a\tO\n", r"valid\.txt:1: a word before the first IMGID"),
            ("IMGID:1\n\nIMGID:2\na\tO\n", r"valid\.txt:1: a post without words"),
            ("IMGID:1\na\tO\nIMGID:2\n", r"valid\.txt:3: a post without words"),
            ("", r"valid\.txt: no posts"),
            ("IMGID:../1\na\tO\n", r"valid\.txt:1: image id '\.\./1' is not allowed"),
            ("IMGID:..\na\tO\n", r"valid\.txt:1: image id '\.\.' is not allowed"),
            ("IMGID:/etc/x\na\tO\n", r"valid\.txt:1: image id '/etc/x' is not allowed"),
            ("IMGID:a\\b\na\tO\n", r"valid\.txt:1: image id .* is not allowed"),
            ("IMGID:\na\tO\n", r"valid\.txt:1: image id '' is empty"),
        ],
    )
    def test_names_file_and_line(self, source: Path, content: str, message: str) -> None:
        (source / "valid.txt").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            READERS["twitter2017"](source)

    @pytest.mark.parametrize("source", ["twitter2017"], indirect=True)
    def test_two_files_for_one_split(self, source: Path) -> None:
        shutil.copy(source / "valid.txt", source / "dev.txt")
        with pytest.raises(InputError, match=r"'valid.txt' and 'dev.txt' both claim the valid"):
            READERS["twitter2017"](source)


class TestOtherTaggedSets:
    def test_gmner_calls_its_fourth_type_misc(self) -> None:
        data = READERS["gmner"](FIXTURES / "gmner")
        assert data.labels.entity_types == ("LOC", "MISC", "ORG", "PER")
        assert data.splits["train"][1].tags == ("B-ORG", "B-MISC", "I-MISC")

    def test_fmnerg_has_coarse_and_fine_types(self) -> None:
        coarse, fine = (READERS[name](FIXTURES / "fmnerg") for name in ("fmnerg-coarse", "fmnerg"))
        assert coarse.labels.entity_types == ("location", "organization", "person")
        assert fine.labels.entity_types == ("athlete", "band", "location_other", "politician")
        first = [data.splits["train"][0].entities for data in (coarse, fine)]
        assert first[0] == (Entity(0, 1, "person"), Entity(2, 4, "location"))
        assert first[1] == (Entity(0, 1, "politician"), Entity(2, 4, "location_other"))

    @pytest.mark.parametrize("source", ["fmnerg"], indirect=True)
    def test_a_line_without_the_second_tag(self, source: Path) -> None:
        (source / "test.txt").write_text("IMGID:1\na\tO\n")
        form = "word<TAB>coarse tag<TAB>fine tag"
        with pytest.raises(InputError, match=rf"test\.txt:2: 'a\\tO' is not of the form {form}"):
            READERS["fmnerg"](source)

    def test_cmner_has_a_character_a_word(self) -> None:
        data = READERS["cmner"](FIXTURES / "cmner")
        (example,) = data.splits["valid"]
        assert (example.id, example.words) == ("Lm3", ("马", "云"))
        assert example.entities == (Entity(0, 2, "PER"),)
        assert data.many_images

    @pytest.mark.parametrize("source", ["twitter2017"], indirect=True)
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("IMGID:1\t\na\tO\n", r":1: the IMGID: line ends in a tab; expected IMGID:<id> and"),
            ("IMGID:1\na\tO\nIMGID:2\rTom\tB-PER\n", ":3: a carriage return inside the line"),
            ("IMGID:1\rTom\tB-PER\r", ":1: a carriage return inside the line; expected lines that"),
        ],
    )
    def test_an_image_line_with_a_wrong_end(self, source: Path, content: str, message: str) -> None:
        (source / "valid.txt").write_text(content, encoding="utf-8", newline="")
        with pytest.raises(InputError, match=rf"valid\.txt{message}"):
            READERS["twitter2017"](source)

    @pytest.mark.parametrize("source", ["twitter2017"], indirect=True)
    def test_blanks_around_an_id_do_not_count(self, source: Path) -> None:
        (source / "valid.txt").write_text("IMGID: 5 \na\tO\n", encoding="utf-8")
        (example,) = READERS["twitter2017"](source).splits["valid"]
        assert (example.id, example.image) == ("5", "5")


class TestMnre:
    @pytest.mark.parametrize("source", ["mnre"], indirect=True)
    def test_a_line_of_json_is_read_as_json(self, source: Path) -> None:
        words = r'["Tom", "https:\/\/t.co\/x", "in", "\ud83d\ude00", "Paris"]'
        row = (
            f'{{"token": {words}, "h": {{"name": "Tom", "pos": [0, 1]}}, "t": {{"pos": [4, 5]}}, '
            r'"img_id": "1.jpg", "relation": "\/per\/org\/member_of"}'
        )
        (source / "mnre_val.txt").write_text(row, encoding="utf-8")
        (example,) = READERS["mnre"](source).splits["valid"]
        assert example.words == ("Tom", "https://t.co/x", "in", "😀", "Paris")
        assert example.relations[0].type == "/per/org/member_of"

    @pytest.mark.parametrize("source", ["mnre"], indirect=True)
    def test_names_that_are_not_those_of_the_words_are_counted_and_shown(
        self, source: Path
    ) -> None:
        assert READERS["mnre"](source).notes == {}
        row = "{'token': ['Maro', 'Ives'], 'h': {'name': 'Maro', 'pos': [0, 1]}, 't': {'name': "
        row += "'Fern', 'pos': [1, 2]}, 'img_id': '1.jpg', 'relation': 'None'}"
        (source / "mnre_val.txt").write_text(row, encoding="utf-8")
        notes = READERS["mnre"](source).notes
        place = f"{source / 'mnre_val.txt'}:1"
        assert notes == {
            "num_differing_names": 1,
            "differing_names": [f"{place}: 't' is named 'Fern', its words are 'Ives'"],
        }

    def test_rows(self) -> None:
        data = READERS["mnre"](FIXTURES / "mnre")
        first, second, third = data.splits["train"]
        assert (first.id, second.id, third.id) == ("street_1", "street_1#2", "street_2")
        assert (first.image, second.image) == ("street_1", "street_1")
        assert first.entities == (Entity(0, 2, None), Entity(5, 7, None))
        assert first.relations == (Relation(Span(0, 2), Span(5, 7), "/per/org/member_of"),)
        assert second.relations == (Relation(Span(5, 7), Span(0, 2), NONE),)
        assert third.words == ("it's", '"Ostra"', "by", "Lake", "Ostra")
        assert third.entities == (Entity(3, 5, None), Entity(4, 5, None))

    def test_relation_types_come_from_the_list(self) -> None:
        labels = READERS["mnre"](FIXTURES / "mnre").labels
        assert labels.relation_types == (
            "/loc/loc/contain",
            "/misc/loc/held_on",
            "/per/loc/place_of_residence",
            "/per/org/member_of",
            "/per/per/peer",
        )
        assert labels.entity_types == ()
        assert labels.num_outputs == 6

    @pytest.mark.parametrize("source", ["mnre"], indirect=True)
    def test_relation_types_come_from_the_rows_without_a_list(self, source: Path) -> None:
        (source / "ours_rel2id.json").unlink()
        assert "/misc/loc/held_on" not in READERS["mnre"](source).labels.relation_types
        assert len(READERS["mnre"](source).labels.relation_types) == 4

    @pytest.mark.parametrize("source", ["mnre"], indirect=True)
    def test_public_file_name_with_a_space(self, source: Path) -> None:
        (source / "mnre_val.txt").rename(source / "mnre_val .txt")
        assert len(READERS["mnre"](source).splits["valid"]) == 1

    @pytest.mark.parametrize("source", ["mnre"], indirect=True)
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"relation": "/per/per/rival"}, "unknown relation '/per/per/rival'; expected one of"),
            ({"relation": None}, "'relation' is None"),
            ({"h": None}, "a relation without its entities: expected 'h' with 'pos'"),
            ({"t": {"name": "x"}}, "a relation without its entities: expected 't' with 'pos'"),
            ({"h": {"pos": [2, 4]}}, r"'h' has the span \[2, 4\], out of range"),
            ({"h": {"pos": [2, 2]}}, r"'h' has the span \[2, 2\], out of range"),
            ({"t": {"pos": [-1, 1]}}, r"'t' has the span \[-1, 1\], out of range"),
            ({"t": {"pos": [0, "1"]}}, r"'t' has the span \[0, '1'\], expected \[start, end\]"),
            ({"t": {"pos": [0]}}, r"'t' has the span \[0\], expected \[start, end\]"),
            ({"token": []}, "'token' is"),
            ({"token": ["a", "", "b"]}, "'token' is"),
            ({"token": "abc"}, "'token' is 'abc'"),
            ({"token": ["a", "b", "\ud83d"]}, r"'\\ud83d' in '\\ud83d' is half a character"),
            ({"relation": "/per/\ud83d"}, r"'\\ud83d' in '/per/\\ud83d' is half a character"),
            ({"img_id": "../x.jpg"}, "image id '../x.jpg' is not allowed"),
            ({"img_id": 7}, "expected an image id as text, found 7"),
        ],
    )
    def test_names_file_and_line(
        self, source: Path, change: dict[str, object], message: str
    ) -> None:
        file = source / "mnre_val.txt"
        row = {
            "token": ["Maro", "from", "Pemberly"],
            "h": {"pos": [0, 1]},
            "t": {"pos": [2, 3]},
            "img_id": "street_3.jpg",
            "relation": "None",
        }
        file.write_text(f"{row!r}\n\n{row | change!r}\n", encoding="utf-8")
        with pytest.raises(InputError, match=rf"mnre_val\.txt:3: {message}"):
            READERS["mnre"](source)

    @pytest.mark.parametrize("source", ["mnre"], indirect=True)
    @pytest.mark.parametrize(
        "line", ["not a dict", "__import__('os').system('true')", "{'token': [", "{1", "[1]" * 9]
    )
    def test_a_line_that_is_no_literal(self, source: Path, line: str) -> None:
        with (source / "mnre_test.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        with pytest.raises(InputError, match=r"mnre_test\.txt:3: not a Python-literal dict"):
            READERS["mnre"](source)

    @pytest.mark.parametrize("source", ["mnre"], indirect=True)
    def test_a_literal_that_is_no_dict(self, source: Path) -> None:
        (source / "mnre_test.txt").write_text("[1, 2]\n", encoding="utf-8")
        with pytest.raises(InputError, match=r"mnre_test\.txt:1: expected a dict, found list"):
            READERS["mnre"](source)

    @pytest.mark.parametrize("source", ["mnre"], indirect=True)
    @pytest.mark.parametrize("content", ["{", "[]", "{}"])
    def test_a_damaged_list_of_relations(self, source: Path, content: str) -> None:
        (source / "ours_rel2id.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"ours_rel2id\.json"):
            READERS["mnre"](source)


class TestJmere:
    @pytest.mark.parametrize("source", ["jmere"], indirect=True)
    def test_names_that_are_not_those_of_the_words_are_counted(self, source: Path) -> None:
        item = {
            "beg_ent": {"name": "Maro", "pos": [0, 1], "tags": "per"},
            "sec_ent": {"name": "Pemberley", "pos": [2, 3], "tags": "loc"},
            "relation": "place_of_residence",
        }
        post = {"token": ["Maro", "from", "Pemberly"], "img_id": "a.jpg", "label_list": [[item]]}
        (source / "val.json").write_text(json.dumps([post]), encoding="utf-8")
        notes = READERS["jmere"](source).notes
        assert notes["num_differing_names"] == 1
        assert "record 1: 'sec_ent' is named 'Pemberley'" in notes["differing_names"][0]

    def test_labels_are_26(self) -> None:
        labels = READERS["jmere"](FIXTURES / "jmere").labels
        assert labels.num_outputs == 26
        in_eegas_order = (
            "None per org misc loc parent siblings couple neighbor peer charges alumi "
            "alternate_names place_of_residence place_of_birth member_of subsidiary locate_at "
            "contain present_in awarded race religion nationality part_of held_on"
        )
        assert labels.pair_labels == tuple(in_eegas_order.split())

    def test_posts(self) -> None:
        data = READERS["jmere"](FIXTURES / "jmere")
        first, second, third = data.splits["train"]
        assert first.entities == (
            Entity(0, 2, "per"),
            Entity(5, 7, "org"),
            Entity(8, 9, "loc"),
        )
        assert first.relations == (
            Relation(Span(0, 2), Span(5, 7), "member_of"),
            Relation(Span(5, 7), Span(8, 9), "locate_at"),
        )
        assert second.entities == (
            Entity(0, 3, "misc"),
            Entity(2, 3, "loc"),
            Entity(5, 6, "loc"),
        )
        assert (third.id, third.image) == ("street_1#2", "street_1")
        assert data.splits["test"][0].relations == (Relation(Span(2, 3), Span(0, 1), "peer"),)

    @pytest.mark.parametrize("source", ["jmere"], indirect=True)
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"relation": "rival"}, "unknown relation 'rival'; expected one of parent"),
            ({"relation": ["peer"]}, "unknown relation"),
            ({"beg_ent": None}, "a relation without its entities: expected 'beg_ent'"),
            ({"sec_ent": {"pos": [1, 9], "tags": "per"}}, r"'sec_ent' has the span \[1, 9\]"),
            ({"sec_ent": {"pos": [2, 3], "tags": "pet"}}, "unknown entity type 'pet'"),
            ({"sec_ent": {"pos": [2, 3]}}, "unknown entity type None"),
            (
                {"sec_ent": {"pos": [0, 1], "tags": "loc"}},
                r"words \[0, 1\) are both 'per' and 'loc'; expected one type a span",
            ),
        ],
    )
    def test_names_file_and_record(
        self, source: Path, change: dict[str, object], message: str
    ) -> None:
        item = {
            "beg_ent": {"pos": [0, 1], "tags": "per"},
            "sec_ent": {"pos": [2, 3], "tags": "loc"},
            "relation": "place_of_residence",
        }
        post = {"token": ["Maro", "from", "Pemberly"], "img_id": "a.jpg", "label_list": [[item]]}
        bad = post | {"label_list": [[item], [item | change]]}
        (source / "val.json").write_text(json.dumps([post, bad]), encoding="utf-8")
        with pytest.raises(InputError, match=rf"val\.json: record 2: {message}"):
            READERS["jmere"](source)

    @pytest.mark.parametrize("source", ["jmere"], indirect=True)
    @pytest.mark.parametrize("label_list", [None, {}, [{}], [[]], [[{}, {}]], [["x"]]])
    def test_label_list_holds_one_element_lists(self, source: Path, label_list: object) -> None:
        post = {"token": ["a"], "img_id": "a.jpg", "label_list": label_list}
        (source / "val.json").write_text(json.dumps([post]), encoding="utf-8")
        with pytest.raises(InputError, match=r"val\.json: record 1: 'label_list'"):
            READERS["jmere"](source)

    @pytest.mark.parametrize("source", ["jmere"], indirect=True)
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("[\n{]", r"val\.json:2: not JSON"),
            ("{}", "expected a JSON list of posts"),
            ("[]", "expected a JSON list of posts"),
            ("[1]", r"val\.json: record 1: expected an object, found 1"),
        ],
    )
    def test_a_damaged_file(self, source: Path, content: str, message: str) -> None:
        (source / "val.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            READERS["jmere"](source)


@pytest.mark.real_data
class TestRealData:
    @pytest.mark.parametrize(
        ("name", "counts"),
        [
            ("twitter2015", (4000, 1000, 3257)),
            ("twitter2017", (3373, 723, 723)),
            ("mnre", (12247, 1624, 1614)),
            ("jmere", (3618, 496, 475)),
            ("gmner", (7000, 1500, 1500)),
        ],
    )
    def test_number_of_examples(
        self, name: str, counts: tuple[int, int, int], real_data: Path
    ) -> None:
        splits = READERS[name](real_data / name).splits
        assert tuple(len(splits[split]) for split in SPLITS) == counts

    def test_number_of_entities_of_gmner(self, real_data: Path) -> None:
        splits = READERS["gmner"](real_data / "gmner").splits
        counts = [sum(len(e.entities) for e in splits[split]) for split in SPLITS]
        assert counts == [11_779, 2_450, 2_543]

    def test_the_no_break_space_of_twitter15_survives(self, real_data: Path) -> None:
        examples = READERS["twitter2015"](real_data / "twitter2015").splits["valid"]
        assert sum(word == "\u00a0" for example in examples for word in example.words) == 1

    def test_label_sets(self, real_data: Path) -> None:
        assert len(READERS["mnre"](real_data / "mnre").labels.pair_labels) == 23
        assert len(READERS["jmere"](real_data / "jmere").labels.pair_labels) == 26

    def test_words_that_a_bert_tokenizer_loses(self, real_data: Path) -> None:
        tokenizers = pytest.importorskip("shapca.model.encoders.tokenizers")
        tokenizer = tokenizers.load_tokenizer("tiny")
        splits = READERS["twitter2017"](real_data / "twitter2017").splits
        words = sorted({word for split in SPLITS for e in splits[split] for word in e.words})
        lost = tokenizer(words, add_special_tokens=False)["input_ids"]
        assert {word for word, ids in zip(words, lost, strict=True) if not ids} == {
            word for word in words if is_zero_width(word)
        }
