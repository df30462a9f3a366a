"""Data of one's own: tagged words, JSON lines and tables, with any labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shapca.data.preparation.prepare import prepare
from shapca.data.preparation.readers.conll import Layout
from shapca.data.preparation.readers.own import OwnFormat, split_posts
from shapca.data.preparation.readers.records import RecordForm
from shapca.data.preparation.readers.source import RawPost, SourceData
from shapca.data.preparation.readers.tag_schemes import as_iob2, find_scheme
from shapca.data.schema import NONE, SPLITS, Entity, Labels, Relation, Span
from shapca.errors import InputError

HEADER = Layout("IMGID:")
few = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])


def write(folder: Path, ending: str, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}{ending}").write_text(text, encoding="utf-8", newline="")
    return folder


def conll(folder: Path, train: str, valid: str = "IMGID:8\na\tO\n", **more: Any) -> SourceData:
    """Read three files of tagged words."""
    options = {"layout": HEADER, **more}
    source = write(folder / "source", ".conll", train=train, valid=valid, test="IMGID:9\na\tO\n")
    return OwnFormat("conll", **options).read([source])


def jsonl(folder: Path, train: Sequence[Mapping[str, Any]], **more: Any) -> SourceData:
    """Read JSON lines, the other splits being like the first post of train."""
    lines = {
        "train": train,
        "valid": [{**train[0], "id": "v"}],
        "test": [{**train[0], "id": "t"}],
    }
    texts = {
        name: "".join(json.dumps(record) + "\n" for record in records)
        for name, records in lines.items()
    }
    return OwnFormat("jsonl", **more).read([write(folder / "source", ".jsonl", **texts)])


class TestTaggedWords:
    def test_new_types_and_the_labels_that_occur(self, tmp_path: Path) -> None:
        data = conll(tmp_path, "IMGID:1.jpg\nFair\tB-EVENT\n\nIMGID:2\nIves\tB-PER\nFern\tI-PER\n")
        assert data.labels == Labels("mner", ("EVENT", "PER"))
        first, second = data.splits["train"]
        assert (first.id, first.image, first.tags) == ("1", "1", ("B-EVENT",))
        assert second.entities == (Entity(0, 2, "PER"),)
        assert data.notes == {"tag_scheme": "IOB2"}

    @pytest.mark.parametrize("ends", ["\n", "\r\n"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    @pytest.mark.parametrize("last", [True, False])
    def test_line_ends_byte_order_mark_and_last_line(
        self, tmp_path: Path, ends: str, mark: str, last: bool
    ) -> None:
        text = mark + ends.join(["IMGID:1", "a\tB-X", "", "IMGID:2", "\u00a0\tB-X"]) + ends * last
        splits = conll(tmp_path, text).splits["train"]
        assert [example.words for example in splits] == [("a",), ("\u00a0",)]

    def test_blank_lines_part_posts_without_a_header(self, tmp_path: Path) -> None:
        text = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nsigns VBZ O O\n\n\nno DT O O\n"
        layout = Layout(separator="blank")
        source = write(tmp_path / "s", ".txt", train=text, dev=text, test=text)
        data = OwnFormat("conll", layout=layout).read([source])
        assert [example.id for example in data.splits["train"]] == ["train-1", "train-2"]
        assert data.splits["train"][0].tags == ("B-ORG", "O")
        assert data.splits["train"][0].image is None
        chunks = OwnFormat("conll", layout=Layout(separator="blank", tag_column=3)).read([source])
        assert chunks.labels.entity_types == ("NP",)

    def test_comments_name_the_image(self, tmp_path: Path) -> None:
        text = (
            "# id = a/1\n# image = p.jpg\n# text = a fair\nfair\tX\tB-E\n#\tX\tO\n\n"
            "# id = b\nno\tX\tO\n"
        )
        layout = Layout("# id =", pos_column=2)
        sources = [tmp_path / f"{name}.conll" for name in SPLITS]
        for number, file in enumerate(sources):
            file.write_text(text.replace("= a/1", f"= a/{number}").replace("= b", f"= b{number}"))
        first, second = OwnFormat("conll", layout=layout).read(sources).splits["train"]
        assert (first.id, first.image, first.words) == ("a/0", "p", ("fair", "#"))
        assert (first.pos, second.id, second.image) == (("X", "X"), "b0", "b0")

    @pytest.mark.parametrize(
        ("tags", "scheme", "expected"),
        [
            ("B-X I-X O B-X B-X", "iob2", "B-X I-X O B-X B-X"),
            ("I-X I-X O I-X B-X", "iob1", "B-X I-X O B-X B-X"),
            ("I-X I-Y O", "iob1", "B-X B-Y O"),
            ("B-X E-X O S-X", "bioes", "B-X I-X O B-X"),
            ("B-X I-X E-X S-Y", "bioes", "B-X I-X I-X B-Y"),
            ("B-X M-X E-X S-Y", "bmes", "B-X I-X I-X B-Y"),
            ("B-X I-X L-X U-Y O", "bilou", "B-X I-X I-X B-Y O"),
            ("O O", "iob2", "O O"),
        ],
    )
    def test_schemes_are_read_as_what_they_are(self, tags: str, scheme: str, expected: str) -> None:
        words = tags.split()
        post = RawPost("f:1", tuple("w" for _ in words), tags=tuple(words))
        assert find_scheme([post]) == scheme
        assert as_iob2(post, find_scheme([post])) == tuple(expected.split())

    @few
    @given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from("XY"), st.booleans()), max_size=6))
    def test_all_schemes_of_one_annotation_read_alike(
        self, entities: list[tuple[int, str, bool]]
    ) -> None:
        tagged: dict[str, list[str]] = {"iob2": [], "iob1": [], "bioes": [], "bilou": []}
        previous = ""
        for length, kind, apart in entities:
            for scheme, (inner, last, single) in {
                "iob2": "III", "iob1": "III", "bioes": "IES", "bilou": "ILU",
            }.items():  # fmt: skip
                begin = "I" if scheme == "iob1" and previous != kind else "B"
                inside = [inner] * (length - 2) + ([last] if length > 1 else [])
                signs = [begin, *inside]
                if length == 1 and scheme in ("bioes", "bilou"):
                    signs = [single]
                tagged[scheme] += [f"{sign}-{kind}" for sign in signs] + ["O"] * apart
            previous = "" if apart else kind
        posts = {
            scheme: RawPost("f:1", tuple("w" * len(tags)), tags=tuple(tags))
            for scheme, tags in tagged.items()
        }
        expected = tuple(tagged["iob2"])
        for scheme, post in posts.items():
            assert as_iob2(post, scheme) == expected  # type: ignore[arg-type]
            assert as_iob2(post, find_scheme([post])) == expected

    @pytest.mark.parametrize(
        ("train", "more", "message"),
        [
            (
                "IMGID:1\na\tB-X\nb\tI-X\nc\tO\nd\tI-X\n",
                {},
                r"train\.conll:5: 'I-X' after 'O' contin",
            ),
            (
                "IMGID:1\na\tB-X\nb\tI-Y\n",
                {},
                r":3: 'I-Y' after 'B-X' continues nothing, yet .*:2: 'B",
            ),
            (
                "IMGID:1\na\tI-X\n",
                {"scheme": "iob2"},
                r":2: 'I-X' after 'O' continues nothing; in IOB2",
            ),
            ("IMGID:1\na\tS-X\nb\tU-X\n", {}, r"more than one scheme: .*:2 \(S-\), .*:3 \(U-\)"),
            ("IMGID:1\na\tM-X\nb\tI-X\n", {}, "tags of more than one scheme"),
            ("IMGID:1\na\tB-X\nb\tO\nc\tS-X\n", {}, r":3: 'O' after 'B-X': in BIOES"),
            ("IMGID:1\na\tS-X\nb\tB-X\n", {}, r":3: the end of the post after 'B-X': in BIOES"),
            ("IMGID:1\na\tB-X\nb\tE-Y\n", {}, r":3: 'E-Y' after 'B-X': in BIOES"),
            ("IMGID:1\na\tX\n", {}, r":2: unknown tag 'X'; expected O, or B-"),
            ("IMGID:1\na\tB-X\tO\nb\tO\n", {}, r":3: 'b\\tO' has 2 columns, those above 3"),
            ("IMGID:1\na B-X\n", {}, r":2: .* of the form word<TAB>tag \(--separator blank"),
            ("IMGID:1\na\tO\n", {"layout": Layout()}, r":1: .* name its first word with --header"),
            (
                "IMGID:1\na\tO\n",
                {"layout": Layout("WID:")},
                "no line of the file begins with 'WID:'",
            ),
            (
                "IMGID:1\na\tO\n",
                {"layout": Layout("IMGID:", tag_column=4)},
                r":2: no column 4 \(--tag-",
            ),
            (
                "IMGID:1\na\ta\tO\n",
                {"layout": Layout("IMGID:", pos_column=2)},
                r":2: part of speech 'a'",
            ),
            (
                "IMGID:1\na\tB-X\nIMGID:1\nb\tO\n",
                {},
                r":3: the id '1' is taken by .*train\.conll:1",
            ),
            (
                "IMGID:1\na\tB-X\nIMGID:8\nb\tO\n",
                {},
                r"valid\.conll:1: the id '8' is taken by .*train",
            ),
            ("IMGID:1\t\na\tB-X\n", {}, r":1: the IMGID: line ends in a tab; expected IMGID:<id>"),
            ("IMGID:1\ra\tB-X\n", {}, r":1: a carriage return inside the line"),
            ("IMGID:1\rTom\tB-X\rAnn\tO\r", {}, r":1: a carriage return inside the line"),
            ("IMGID:1\na\tO\n", {}, "not one entity in any split"),
            (
                "IMGID:1\na\tB-X\n",
                {"entity_types": ("Y",)},
                r":1: type 'X'; expected one of --labels: Y",
            ),
            ("IMGID:1\na\tB-X\n", {"entity_types": ("X", "X")}, "labels X, X: a type twice"),
        ],
    )
    def test_bad_input_names_file_line_and_what_was_expected(
        self, tmp_path: Path, train: str, more: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            conll(tmp_path, train, **more)

    def test_labels_that_train_lacks(self, tmp_path: Path) -> None:
        texts = ("IMGID:1\na\tB-X\n", "IMGID:2\na\tB-Y\n")
        with pytest.raises(InputError, match=r"valid\.conll:1: type 'Y' does not occur in train"):
            conll(tmp_path, *texts)
        data = conll(tmp_path, *texts, entity_types=("Y", "X"))
        assert data.labels.entity_types == ("Y", "X")

    def test_lenient_tags_stay(self, tmp_path: Path) -> None:
        data = conll(tmp_path, "IMGID:1\na\tB-X\nb\tO\nc\tI-X\n", scheme="lenient")
        assert data.splits["train"][0].tags == ("B-X", "O", "I-X")
        assert data.notes == {"tag_scheme": "LENIENT", "num_orphan_tags": 1}


POST = {"words": ["Maro", "in", "Lake", "Ostra"], "entities": [[0, 1, "PER"], [2, 4, "LOC"]]}


class TestRecords:
    def test_spans_of_words_and_of_characters_read_alike(self, tmp_path: Path) -> None:
        spans = [{"start": 0, "end": 4, "type": "PER"}, {"start": 8, "end": 18, "type": "LOC"}]
        post = {"text": "Maro in Lake Ostra!", "entities": spans}
        by_word, by_character = jsonl(tmp_path, [POST, post]).splits["train"]
        assert (
            by_word.entities == by_character.entities == (Entity(0, 1, "PER"), Entity(2, 4, "LOC"))
        )
        assert by_word.tags == ("B-PER", "O", "B-LOC", "I-LOC")
        assert by_character.words == ("Maro", "in", "Lake", "Ostra", "!")

    def test_characters_as_words(self, tmp_path: Path) -> None:
        post = {"text": "在龙岩 市", "entities": [{"start": 1, "end": 3, "type": "LOC"}]}
        (example,) = jsonl(tmp_path, [post], form=RecordForm(characters=True)).splits["train"]
        assert example.words == ("在", "龙", "岩", "市")
        assert example.entities == (Entity(1, 3, "LOC"),)

    def test_tags_in_place_of_entities(self, tmp_path: Path) -> None:
        post = {"words": ["Maro", "Fern"], "tags": ["B-PER", "E-PER"]}
        data = jsonl(tmp_path, [post])
        assert data.splits["train"][0].entities == (Entity(0, 2, "PER"),)
        assert data.notes == {"tag_scheme": "BIOES"}

    def test_the_first_image_is_used_and_the_others_counted(self, tmp_path: Path) -> None:
        posts = [{**POST, "image": ["train/a.jpg", "b.jpg", "c.jpg"]}, {**POST, "image": "d.jfif"}]
        data = jsonl(tmp_path, posts)
        assert [example.image for example in data.splits["train"]] == ["a", "d"]
        assert data.paths == {"a": "train/a.jpg"}
        assert data.notes == {"num_further_images": 6}  # valid and test repeat the first post

    def test_contexts(self, tmp_path: Path) -> None:
        posts = [
            {**POST, "id": 1, "image": "a.jpg", "context": "a  port\n"},
            {**POST, "id": 2, "context": {"x": "", "y": "a fair"}},
        ]
        data = jsonl(tmp_path, posts)
        assert data.contexts == {"captions": {"a": "a port"}, "x": {"2": ""}, "y": {"2": "a fair"}}
        assert data.splits["train"][1].image == "2"

    def test_names_that_are_not_those_of_the_words_are_shown(self, tmp_path: Path) -> None:
        entities = [{"start": 2, "end": 4, "type": "LOC", "name": "Lake  Ostra"},
                    {"start": 0, "end": 1, "type": "PER", "name": "Mario"}]  # fmt: skip
        notes = jsonl(tmp_path, [POST, {**POST, "entities": entities}]).notes
        assert notes["num_differing_names"] == 1
        (shown,) = notes["differing_names"]
        assert shown.endswith("train.jsonl:2: entities[1] is named 'Mario', its words are 'Maro'")

    def test_relations_of_given_pairs_become_rows(self, tmp_path: Path) -> None:
        relations = [{"head": 1, "tail": 0, "type": "of"}, [[0, 1], [2, 4], NONE]]
        data = jsonl(tmp_path, [{**POST, "id": "a", "relations": relations}], task="mre")
        first, second = data.splits["train"]
        assert (first.id, second.id) == ("a", "a#2")
        assert first.relations == (Relation(Span(2, 4), Span(0, 1), "of"),)
        assert first.entities == (Entity(0, 1, None), Entity(2, 4, None))
        assert second.relations == (Relation(Span(0, 1), Span(2, 4), NONE),)
        assert data.labels == Labels("mre", (), ("of",))
        assert data.notes == {"num_further_pairs": 3, "num_unread_entity_types": 6}

    def test_joint_extraction(self, tmp_path: Path) -> None:
        relation = {"head": [0, 1], "tail": [2, 4], "type": "in"}
        data = jsonl(tmp_path, [{**POST, "relations": [relation]}], task="mjere")
        (example,) = data.splits["train"]
        assert example.tags is None
        assert example.relations == (Relation(Span(0, 1), Span(2, 4), "in"),)
        assert data.labels == Labels("mjere", ("LOC", "PER"), ("in",))

    def test_other_names_of_keys(self, tmp_path: Path) -> None:
        post = {"tokens": ["Maro"], "ner": ["B-PER"], "lang": "en"}
        form = RecordForm({"words": "tokens", "tags": "ner"}, unread=("lang",))
        assert jsonl(tmp_path, [post], form=form).splits["train"][0].words == ("Maro",)

    def test_a_known_key_can_be_passed_over_too(self, tmp_path: Path) -> None:
        post = {"words": ["Maro"], "tags": ["B-PER"], "image": "a.jpg", "context": "a port"}
        read = jsonl(tmp_path, [post], form=RecordForm(unread=("context", "image")))
        assert read.contexts == {}
        assert read.splits["train"][0].image is None

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"text": "said", "words": "said"}, "'said' would be read as two keys"),
            ({"text": "id"}, "'id' would be read as two keys"),
        ],
    )
    def test_a_name_is_one_key(self, tmp_path: Path, columns: dict[str, str], message: str) -> None:
        with pytest.raises(InputError, match=message):
            jsonl(tmp_path, [{"said": "Maro"}], form=RecordForm(columns))

    def test_names_may_be_exchanged(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text('{"id": "Maro", "text": 5, "tags": ["B-X"]}\n')
        form = RecordForm({"id": "text", "text": "id"})
        (post,) = OwnFormat("jsonl", form=form)._lines(tmp_path / "a.jsonl")
        assert (post.id, post.words) == ("5", ("Maro",))

    @pytest.mark.parametrize(
        ("change", "more", "message"),
        [
            ({"words": None}, {}, "expected either 'words' or 'text', found neither"),
            ({"text": "a"}, {}, "expected either 'words' or 'text', found"),
            ({"lang": "en"}, {}, r"unknown key 'lang'; expected id, words, .*--column KEY=NAME"),
            ({"words": ["a", ""]}, {}, "'words' is empty, or has an empty word"),
            ({"words": "Maro"}, {}, "'words' is 'Maro', expected a list of texts"),
            ({"words": ["a\ud83d"]}, {}, "half a character"),
            (
                {"entities": [[0, 9, "X"]]},
                {},
                r"entities\[0\] has the span \[0, 9\]; expected .*<= 4",
            ),
            ({"entities": [[2, 2, "X"]]}, {}, r"entities\[0\] has the span \[2, 2\]"),
            ({"entities": [[0, True, "X"]]}, {}, r"entities\[0\] has the span \[0, True\]"),
            ({"entities": [[0]]}, {}, r"entities\[0\] is \[0\]; expected start, end, type"),
            ({"entities": [[0, 1]]}, {}, r"the entity \[0, 1\) \(words\) has no type"),
            ({"entities": [[0, 1, 5]]}, {}, r"entities\[0\].type is 5, expected a name"),
            (
                {"entities": [[0, 2, "X"], [1, 3, "X"]]},
                {},
                "overlaps another, which tags cannot hold",
            ),
            ({"entities": None}, {}, "neither 'tags' nor 'entities'; expected an empty list"),
            ({"tags": ["O"]}, {}, "both 'tags' and 'entities'"),
            ({"relations": [[0, 1, "of"]]}, {}, "has relations; say --task mjere"),
            (
                {"relations": [[0, 7, "of"]]},
                {"task": "mjere"},
                r"relations\[0\].tail is entity 7; exp",
            ),
            (
                {"relations": [[0, [0, 4], "of"]]},
                {"task": "mjere"},
                r"words \[0, 4\), which are no ent",
            ),
            (
                {"relations": []},
                {"task": "mre"},
                "no relation; expected one a pair of given entities",
            ),
            ({"image": "../a.jpg"}, {}, "'../a.jpg' lies outside the folder of images"),
            ({"image": "/etc/a.jpg"}, {}, "'/etc/a.jpg' lies outside the folder of images"),
            ({"image": 7}, {}, "'image' is 7, expected a file's name or path"),
            (
                {"image": "a.jpg", "context": "b"},
                {},
                r"another context 'captions' than the one at .*:1",
            ),
            ({"image": "other/b.jpg"}, {}, r"has the name of 'x/b.jpg' \(.*:2\)"),
            ({"context": 5}, {}, "'context' is 5, expected a text"),
            (
                {"image": None, "context": "b", "id": "../a"},
                {},
                r"no image.* '\.\./a' is not allowed",
            ),
            ({"id": ["a"]}, {}, r"'id' is \['a'\], expected a name or a number"),
            ({"id": "one"}, {}, r"the id 'one' is taken by .*train\.jsonl:1"),
            ({"pos": ["NOUN"]}, {}, "'pos' has 1 items, expected 4, one a word"),
            ({"pos": ["X"] * 4}, {}, "no 'pos', yet other posts have it"),
        ],
    )
    def test_bad_input_names_file_line_and_what_was_expected(
        self, tmp_path: Path, change: dict[str, Any], more: dict[str, Any], message: str
    ) -> None:
        sound: dict[str, Any] = {**POST}
        if more:
            sound["relations"] = [[0, 1, "of"]]
        posts = [
            {**sound, "id": "one", "image": "a.jpg", "context": "a"},
            {**sound, "image": "x/b.jpg"},
        ]
        with pytest.raises(InputError, match=message) as raised:
            jsonl(tmp_path, [*posts, {**sound, **change}], **more)
        assert "train.jsonl:" in str(raised.value)

    @pytest.mark.parametrize(
        ("span", "message"),
        [
            ([1, 4], "ends or begins inside the word 'Maro'"),
            ([0, 6], "ends or begins inside the word 'in'"),
            ([4, 5], r"has the span \[4, 5\], where there is no word"),
            ([0, 99], r"expected 0 <= start < end <= 7 \(characters; the end is exclusive\)"),
        ],
    )
    def test_a_span_inside_a_word(self, tmp_path: Path, span: list[int], message: str) -> None:
        post = {"text": "Maro in", "entities": [[*span, "PER"]]}
        with pytest.raises(InputError, match=rf"train\.jsonl:1: entities\[0\].*{message}"):
            jsonl(tmp_path, [post])

    @pytest.mark.parametrize("line", ["{", "[1", "nothing", '{"a": NaN'])
    def test_a_line_that_is_no_json(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "a.jsonl").write_text(f"{json.dumps(POST)}\n{line}\n")
        own = OwnFormat("jsonl", split=(0.5, 0.25, 0.25))
        with pytest.raises(InputError, match=r"a\.jsonl:2: not JSON"):
            own.read([tmp_path / "a.jsonl"])


class TestSplits:
    def posts(self, num: int) -> list[RawPost]:
        return [RawPost(f"f:{n}", (f"w{n}",), image=f"i{n // 2}") for n in range(num)]

    def test_equal_seeds_give_equal_splits_of_the_shares(self) -> None:
        posts = self.posts(60)
        first, again, other = (split_posts(posts, (0.8, 0.1, 0.1), seed) for seed in (0, 0, 1))
        assert first == again != other
        assert {split: len(part) for split, part in first.items()} == {
            "train": 48, "valid": 6, "test": 6,
        }  # fmt: skip
        assert sorted(post.place for part in first.values() for post in part) == sorted(
            post.place for post in posts
        )

    @few
    @given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), min_size=12, max_size=30))
    def test_posts_that_share_an_image_or_a_text_stay_together(
        self, keys: list[tuple[int, int]]
    ) -> None:
        posts = [RawPost(f"f:{n}", (f"w{w}",), image=f"i{i}") for n, (w, i) in enumerate(keys)]
        with suppress(InputError):  # raised where all of them hang together
            parts = split_posts(posts, (0.6, 0.2, 0.2), 3)
            for key in ("words", "image"):
                values = [{getattr(post, key) for post in parts[split]} for split in SPLITS]
                assert not values[0] & values[1]
                assert not values[0] & values[2]
                assert not values[1] & values[2]

    @pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (1.0, 0.0, 0.0), (float("nan"), 0.5, 0.5)])
    def test_shares_that_are_none(self, shares: tuple[float, float, float]) -> None:
        with pytest.raises(InputError, match="expected three shares, 1 in all"):
            split_posts(self.posts(9), shares, 0)

    def test_one_file_knows_all_its_types(self, tmp_path: Path) -> None:
        rare = {"words": ["z"], "entities": [[0, 1, "RARE"]]}
        posts = [rare, *({"words": [f"a{n}"], "entities": [[0, 1, "X"]]} for n in range(20))]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
        for seed in range(5):
            own = OwnFormat("jsonl", split=(0.8, 0.1, 0.1), seed=seed)
            assert own.read([tmp_path / "a.jsonl"]).labels.entity_types == ("RARE", "X")

    def test_where_the_files_are(self, tmp_path: Path) -> None:
        own = OwnFormat("jsonl")
        with pytest.raises(InputError, match="nowhere: no such file or folder"):
            own.read([tmp_path / "nowhere"])
        (tmp_path / "Train.JSONL").write_text(json.dumps(POST))
        with pytest.raises(InputError, match=r"one file for all splits; .* --split 0.8,0.1,0.1"):
            own.read([tmp_path / "Train.JSONL"])
        with pytest.raises(InputError, match=r"the valid split is missing; .* found Train\.JSONL"):
            own.read([tmp_path])
        with pytest.raises(InputError, match="expected a folder, one file, or TRAIN,VALID,TEST"):
            own.read([tmp_path, tmp_path])
        (tmp_path / "val.json").write_text(json.dumps(POST))
        (tmp_path / "dev.json").write_text(json.dumps(POST))
        with pytest.raises(InputError, match=r"'dev\.json' and 'val\.json' both claim the valid"):
            own.read([tmp_path])


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (OwnFormat("conll", form=RecordForm({"words": "x"})), "--column, .*: of no use with"),
        (OwnFormat("conll", form=RecordForm(unread=("x",))), "--ignore, .*: of no use with"),
        (OwnFormat("conll", form=RecordForm(characters=True)), "--characters: of no use with"),
        (OwnFormat("jsonl", layout=HEADER), "--header, .* of no use with --format jsonl"),
        (OwnFormat("datasets", layout=Layout(pos_column=2)), "-column: of no use with --format da"),
        (OwnFormat("conll", seed=1), "--seed: of no use without --split"),
        (OwnFormat("conll", relation_types=("of",)), "--relations: of no use for the task mner"),
        (
            OwnFormat("conll", layout=Layout(word_column=2)),
            "column 2 is both --word-column",
        ),
        (
            OwnFormat("conll", layout=Layout(pos_column=2)),
            "column 2 is both --tag-column",
        ),
    ],
)
def test_what_would_not_be_looked_at_is_refused(
    own: OwnFormat, message: str, tmp_path: Path
) -> None:
    files = [tmp_path / f"{split}.txt" for split in SPLITS]
    for file in files:
        file.write_text("Maro\tB-PER\n")
    with pytest.raises(InputError, match=message):
        own.read(files)


def test_pictures_of_posts_that_name_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for split in SPLITS:
        (tmp_path / "source" / f"{split}.txt").write_text("Maro\tB-PER\n")
    with pytest.raises(InputError, match="no post names a picture; leave it out"):
        prepare(
            "own", tmp_path / "source", tmp_path / "out", own=OwnFormat("conll"), images=tmp_path
        )
