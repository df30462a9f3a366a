"""What `inspect` counts: by hand on the fixtures, and the published figures on the real data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shapca.data.preparation.inspect import DataReport, inspect, num_recovered
from shapca.data.preparation.prepare import prepare
from shapca.data.preparation.readers import READERS
from shapca.data.preparation.writer import write_prepared
from shapca.data.prepared import PreparedData
from shapca.data.schema import SPLITS, Entity, Example, Labels, Relation, Span
from shapca.model.encoders.tokenizers import load_tokenizer
from tests.paths import FIXTURES


def report_of(name: str, out: Path, **arguments: object) -> DataReport:
    prepare(name, FIXTURES / name, out, **arguments)  # type: ignore[arg-type]
    return inspect(PreparedData.load(out))


def test_twitter_by_hand(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "17_06_1.png")
    captions = FIXTURES / "captions" / "lines.txt"
    report = report_of("twitter2017", tmp_path / "out", images=tmp_path, contexts={"c": [captions]})
    train, test = report.splits["train"], report.splits["test"]
    assert (report.name, report.task, report.image_size) == ("twitter2017", "mner", 256)
    assert (train.num_examples, train.num_words) == (3, 17)
    assert train.entities_by_type == {"LOC": 2, "MISC": 1, "ORG": 1, "PER": 1}
    assert (train.num_entities, train.num_strict_entities, train.num_orphan_tags) == (5, 5, 0)
    assert (train.num_zero_width_words, test.num_zero_width_words) == (1, 1)
    assert (train.num_images, train.num_missing_images) == (3, 2)
    assert next(iter(train.longest.items())) == ("17_06_1", 6)
    counts = train.contexts["c"]
    assert (counts.num_captions, counts.num_empty, counts.num_missing) == (2, 1, 0)
    assert (test.contexts["c"].num_missing, train.contexts["c"].longest) == (1, 5)
    assert report.shared_texts == {"train/valid": 0, "train/test": 0, "valid/test": 1}
    assert set(report.shared_images.values()) == {0}
    assert train.num_recovered_relations is None
    assert train.encoded is None


def test_orphans_make_lenient_and_strict_differ(tmp_path: Path) -> None:
    train = report_of("twitter2015", tmp_path / "out").splits["train"]
    assert (train.num_entities, train.num_strict_entities, train.num_orphan_tags) == (4, 2, 2)


def test_mnre_by_hand(tmp_path: Path) -> None:
    train = report_of("mnre", tmp_path / "out").splits["train"]
    assert train.num_relations == 2
    assert train.relations_by_type == {
        "/loc/loc/contain": 1,
        "/per/org/member_of": 1,
        "None": 1,
    }
    assert (train.num_tail_first, train.num_overlapping, train.num_split_posts) == (1, 1, 1)
    assert train.entities_by_type == {"untyped": 6}
    assert train.num_strict_entities is None
    assert train.num_missing_images == train.num_images == 2


def test_jmere_by_hand(tmp_path: Path) -> None:
    report = report_of("jmere", tmp_path / "out")
    train = report.splits["train"]
    assert report.labels["num_outputs"] == 26
    assert (train.num_entities, train.num_relations, train.num_split_posts) == (8, 5, 1)
    # In "Gala of Ostra held in Ostra" the inner Ostra is lost in the table, its relation with it.
    assert train.num_recovered_relations == 4
    assert report.splits["test"].num_recovered_relations == 1


def test_recovery_ignores_direction_but_not_types() -> None:
    labels = Labels("mjere", ("loc", "per"), ("knows", "lives_in"))
    a, b = Entity(3, 4, "per"), Entity(0, 1, "loc")
    apart = Example(
        "x", ("a",) * 4, entities=(a, b), relations=(Relation(a.span, b.span, "lives_in"),)
    )
    assert num_recovered(apart, labels) == 1
    c = Entity(1, 2, "per")  # touches b: both become one entity of type loc
    touching = Example(
        "x", ("a",) * 4, entities=(c, b), relations=(Relation(c.span, b.span, "lives_in"),)
    )
    assert num_recovered(touching, labels) == 0
    twice = Example(
        "x",
        ("a",) * 4,
        entities=(a, b),
        relations=(
            Relation(Span(3, 4), Span(0, 1), "lives_in"),
            Relation(Span(3, 4), Span(0, 1), "knows"),
        ),
    )
    assert num_recovered(twice, labels) == 1


def test_sub_words_are_counted_as_the_encoder_cuts_them(tmp_path: Path) -> None:
    captions = FIXTURES / "captions" / "lines.txt"
    prepare("twitter2017", FIXTURES / "twitter2017", tmp_path / "out", contexts={"c": [captions]})
    data, tokenizer = PreparedData.load(tmp_path / "out"), load_tokenizer("tiny")
    whole = inspect(data, tokenizer, 256).splits["train"].encoded
    short = inspect(data, tokenizer, 8).splits["train"].encoded
    assert whole is not None
    assert short is not None
    pieces = [
        [max(1, len(tokenizer.tokenize(word))) for word in example.words]
        for example in data.splits["train"]
    ]
    assert whole.longest_text == short.longest_text == max(sum(post) for post in pieces)
    assert (whole.num_cut_texts, whole.num_cut_contexts["c"]) == (0, 0)
    assert short.num_cut_texts == sum(sum(post) > 6 for post in pieces) > 0
    assert short.num_cut_words > 0
    assert whole.num_unknown_words == 1
    longest = max(len(tokenizer.tokenize(text)) for text in data.contexts("c").values())
    assert 0 < whole.longest_context["c"] <= longest


def test_report_is_json(tmp_path: Path) -> None:
    report = report_of("mnre", tmp_path / "out")
    record = json.loads(json.dumps(report.to_json()))
    assert record["splits"]["train"]["num_relations"] == 2


@pytest.mark.real_data
class TestRealData:
    """The figures that the benchmarks are known by."""

    @pytest.fixture(scope="class")
    def reports(self, tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> object:
        out = tmp_path_factory.mktemp("real")
        reports = {}
        for name, read in READERS.items():
            if not (real_data / name).exists():
                continue
            source = read(real_data / name)
            splits = {  # what is counted here does not depend on the parts of speech
                split: [dataclasses.replace(e, pos=("X",) * len(e.words)) for e in examples]
                for split, examples in source.splits.items()
            }
            write_prepared(out / name, name=name, labels=source.labels, splits=splits)
            reports[name] = inspect(PreparedData.load(out / name))
        return reports

    @pytest.mark.parametrize(
        ("name", "count", "expected"),
        [
            ("twitter2015", "num_examples", (4000, 1000, 3257)),
            ("twitter2015", "num_entities", (6352, 1594, 5207)),
            ("twitter2015", "num_strict_entities", (6166, 1541, 5072)),
            ("twitter2015", "num_orphan_tags", (186, 53, 135)),
            ("twitter2015", "num_zero_width_words", (0, 1, 0)),
            ("twitter2017", "num_examples", (3373, 723, 723)),
            ("twitter2017", "num_entities", (6049, 1324, 1351)),
            ("twitter2017", "num_strict_entities", (6049, 1324, 1351)),
            ("twitter2017", "num_orphan_tags", (0, 0, 0)),
            ("twitter2017", "num_zero_width_words", (116, 16, 26)),
            ("mnre", "num_examples", (12247, 1624, 1614)),
            ("mnre", "num_relations", (4503, 624, 640)),
            ("mnre", "num_tail_first", (1397, 197, 214)),
            ("mnre", "num_overlapping", (59, 3, 5)),
            ("jmere", "num_examples", (3618, 496, 475)),
            ("jmere", "num_relations", (4503, 624, 640)),
            ("jmere", "num_recovered_relations", (4442, 614, 635)),
            ("jmere", "num_split_posts", (137, 21, 15)),
        ],
    )
    def test_counts(
        self, reports: dict[str, DataReport], name: str, count: str, expected: tuple[int, int, int]
    ) -> None:
        splits = reports[name].splits
        assert tuple(getattr(splits[split], count) for split in SPLITS) == expected

    def test_types(self, reports: dict[str, DataReport]) -> None:
        assert reports["twitter2017"].splits["test"].entities_by_type == {
            "LOC": 178,
            "MISC": 157,
            "ORG": 395,
            "PER": 621,
        }
        assert set(reports["twitter2015"].splits["train"].entities_by_type) == {
            "LOC",
            "MISC",
            "ORG",
            "PER",
        }
        assert reports["mnre"].labels["num_outputs"] == 23
        assert reports["jmere"].labels["num_outputs"] == 26

    def test_distinct_entities_of_jmere(self, reports: dict[str, DataReport]) -> None:
        assert reports["jmere"].splits["test"].num_entities == 1041

    def test_duplicates(self, reports: dict[str, DataReport], real_data: Path) -> None:
        assert list(reports["twitter2015"].shared_texts.values()) == [2, 4, 3]
        texts = {
            name: {
                example.words
                for examples in READERS[name](real_data / name).splits.values()
                for example in examples
            }
            for name in ("twitter2015", "twitter2017")
        }
        assert not texts["twitter2015"] & texts["twitter2017"]
