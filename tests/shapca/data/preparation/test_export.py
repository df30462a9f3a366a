"""Exported files, prepared again, are the data set that was exported."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shapca.cli import app, run_application
from shapca.config import Task
from shapca.data.formats import FORMATS, Format
from shapca.data.preparation.export import export
from shapca.data.preparation.prepare import prepare
from shapca.data.preparation.writer import write_prepared
from shapca.data.prepared import PreparedData
from shapca.data.schema import NONE, SPLITS, Entity, Example, Labels, Relation, Span
from shapca.data.tags import lenient_entities
from shapca.errors import InputError
from tests.factories import tiny_data
from tests.paths import FIXTURES

NAMES = ("a", "Ä 1", "x.y", "9#2", "龙", "a.jpg", "-", "_b", "O_1", "7")
WORDS = st.sampled_from(
    ["a", "#", "\u00a0", "\ufe0f", "龙", "# id = 1", '"', "{", "\u2028", "b c", "-DOCSTART-"]
)
NUM_EXAMPLES = int(os.environ.get("SHAPCA_FUZZ_CASES", "4"))
TYPES = ("LOC", "a b", "Ä-1")
RELATIONS = ("of", "/per/loc/in")


@st.composite
def data_sets(draw: st.DrawFn, task: Task) -> dict[str, Any]:
    """Arguments of `write_prepared`: labels, splits, contexts and images."""
    images = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    ids = iter(draw(st.permutations(NAMES)))
    splits = {
        split: [draw(examples(task, next(ids), images)) for _ in range(draw(st.integers(1, 3)))]
        for split in SPLITS
    }
    shown = {example.image for split in SPLITS for example in splits[split]} - {None}
    texts = st.sampled_from(["", "a port", "Ä, 龙"])
    contexts = {
        name: draw(st.dictionaries(st.sampled_from(sorted(shown)), texts, min_size=1))
        for name in draw(st.lists(st.sampled_from(["blip2", "x.y"]), unique=True))
        if shown
    }
    stored = draw(st.lists(st.sampled_from(sorted(shown)), unique=True)) if shown else []
    return {
        "labels": Labels(task, TYPES if task != "mre" else (), RELATIONS if task != "mner" else ()),
        "splits": splits,
        "contexts": contexts,
        "images": {
            name: np.full((16, 16, 3), number + 1, dtype=np.uint8) * np.uint8(9)
            for number, name in enumerate(stored)
        }
        or None,
    }


@st.composite
def examples(draw: st.DrawFn, task: Task, name: str, images: list[str]) -> Example:
    words = tuple(draw(st.lists(WORDS, min_size=2, max_size=6)))
    pos = tuple(draw(st.sampled_from(["NOUN", "X", "<unk>"])) for _ in words)
    image = draw(st.sampled_from([None, *images]))
    if task == "mner":
        signs = st.sampled_from(["O", *(f"{sign}-{kind}" for sign in "BI" for kind in TYPES)])
        tags = tuple(draw(signs) for _ in words)
        return Example(name, words, pos, image, tags, lenient_entities(tags))
    starts = st.integers(0, len(words) - 1)
    spans = draw(
        st.lists(
            starts.flatmap(lambda a: st.tuples(st.just(a), st.integers(a + 1, len(words)))),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    pairs = st.tuples(st.sampled_from(spans), st.sampled_from(spans))
    if task == "mre":
        head, tail = draw(pairs)
        relation = Relation(Span(*head), Span(*tail), draw(st.sampled_from([NONE, *RELATIONS])))
        given_spans = dict.fromkeys(draw(st.permutations([head, tail])))
        return Example(
            name, words, pos, image, None, tuple(Entity(*s, None) for s in given_spans), (relation,)
        )
    relations = [
        Relation(Span(*head), Span(*tail), draw(st.sampled_from(RELATIONS)))
        for head, tail in draw(st.lists(pairs, max_size=3))
    ]
    entities = tuple(Entity(*span, draw(st.sampled_from(TYPES))) for span in spans)
    return Example(name, words, pos, image, None, entities, tuple(dict.fromkeys(relations)))


def prepared_again(data: PreparedData, form: Format, work: Path) -> PreparedData:
    """Run the command that an export names."""
    program, *arguments = shlex.split(export(data, work / "files", form))
    assert program == "shapca"
    with pytest.raises(SystemExit) as raised:
        run_application(app, arguments)
    assert raised.value.code == 0
    return PreparedData.load(work / "files-prepared")


def assert_equal(one: PreparedData, other: PreparedData) -> None:
    assert other.labels == one.labels
    assert dict(other.splits) == dict(one.splits)
    assert other.context_names == one.context_names
    for name in one.context_names:
        assert other.contexts(name) == one.contexts(name)
    assert other.manifest.text_hash() == one.manifest.text_hash()
    assert other.manifest.counts == one.manifest.counts
    first, second = one.image_store(), other.image_store()
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert second.index == first.index
        assert (second.array == first.array).all()


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_id_that_looks_like_a_file_keeps_its_context(
    form: Format, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    posts = {
        split: [Example(split, ("a",), ("X",), image, ("B-LOC",), (Entity(0, 1, "LOC"),))]
        for split, image in zip(SPLITS, ("a", "a.jpg", "b.PNG"), strict=True)
    }
    texts = {"a": "one", "a.jpg": "two", "b.PNG": "three"}
    write_prepared(
        tmp_path / "data", name="own", labels=Labels("mner", ("LOC",), ()), splits=posts,
        contexts={"blip2": texts},
    )  # fmt: skip
    data = PreparedData.load(tmp_path / "data")
    again = prepared_again(data, form, tmp_path)
    assert_equal(data, again)
    assert dict(again.contexts("blip2")) == texts


@pytest.mark.parametrize(
    ("task", "form"),
    [("mner", form) for form in FORMATS]
    + [(task, form) for task in ("mre", "mjere") for form in ("jsonl", "datasets")],
)
def test_any_data_set_survives_export_and_preparation(
    task: Task, form: Format, capsys: pytest.CaptureFixture[str]
) -> None:
    @settings(
        max_examples=NUM_EXAMPLES,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(data_sets(task))
    def check(arguments: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as work:
            write_prepared(Path(work) / "data", name="own", image_size=16, **arguments)
            data = PreparedData.load(Path(work) / "data")
            assert_equal(data, prepared_again(data, form, Path(work)))

    check()
    capsys.readouterr()


@pytest.mark.parametrize("form", FORMATS)
def test_synthetic_data_keeps_every_hash(form: Format, tmp_path: Path) -> None:
    for task in ("mner",) if form == "conll" else ("mner", "mre", "mjere"):
        work = tmp_path / task
        data = tiny_data(work, task, num_train=6, num_valid=3, num_test=3)  # type: ignore[arg-type]
        again = prepared_again(data, form, work)
        assert again.manifest.parts == data.manifest.parts


def test_orphan_tags_of_a_benchmark_stay(tmp_path: Path) -> None:
    prepare("twitter2015", FIXTURES / "twitter2015", tmp_path / "data")
    data = PreparedData.load(tmp_path / "data")
    for form in FORMATS:
        assert_equal(data, prepared_again(data, form, tmp_path / form))


def test_what_tagged_words_cannot_hold(tmp_path: Path) -> None:
    data = tiny_data(tmp_path, "mjere", num_train=2, num_valid=1, num_test=1)
    with pytest.raises(InputError, match="cannot hold mjere; expected --format jsonl or datasets"):
        export(data, tmp_path / "files", "conll")
    example = Example("a", ("x\ty",), ("X",), None, ("O",))
    splits = {split: [Example(split, ("x",), ("X",), None, ("O",))] for split in SPLITS}
    splits["test"] = [example]
    write_prepared(tmp_path / "own", name="own", labels=Labels("mner", ("X",)), splits=splits)
    with pytest.raises(InputError, match=r"post 'a' has a tab or a line break in the word 'x\\ty'"):
        export(PreparedData.load(tmp_path / "own"), tmp_path / "files", "conll")
    assert not (tmp_path / "files").exists()


def test_a_taken_folder_is_refused(tmp_path: Path) -> None:
    data = tiny_data(tmp_path, "mner", num_train=2, num_valid=1, num_test=1)
    with pytest.raises(InputError, match="expected a folder that is not there, or empty"):
        export(data, data.folder, "jsonl")


def test_tables_are_what_datasets_reads(tmp_path: Path) -> None:
    """Where `datasets` is installed; what it saves is read, too."""
    datasets: Any = pytest.importorskip("datasets")
    data = tiny_data(tmp_path, "mner", num_train=6, num_valid=3, num_test=3)
    export(data, tmp_path / "files", "datasets")
    files = {split: str(tmp_path / "files" / f"{split}.parquet") for split in SPLITS}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == 6
    pictures = [picture for picture in loaded["train"]["image"] if picture is not None]
    assert pictures[0].size == (40, 40)
    loaded.save_to_disk(str(tmp_path / "saved"))
    labels = (tmp_path / "files" / "labels.json").read_text()
    (tmp_path / "saved" / "labels.json").write_text(labels)
    arguments = ["data", "prepare", "own", "--format", "datasets", "--source", tmp_path / "saved"]
    more = ["--scheme", "lenient", "--image-size", "40", "--out", tmp_path / "again"]
    with pytest.raises(SystemExit) as raised:
        run_application(app, [str(argument) for argument in [*arguments, *more]])
    assert raised.value.code == 0
    assert_equal(data, PreparedData.load(tmp_path / "again"))


def test_numbers_of_classes_become_names(tmp_path: Path) -> None:
    pyarrow: Any = pytest.importorskip("pyarrow")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    feature = {"feature": {"names": ["O", "B-EVENT"], "_type": "ClassLabel"}, "_type": "List"}
    noted = {"huggingface": json.dumps({"info": {"features": {"ner_tags": feature}}})}
    for split in ("train", "validation", "test"):
        rows = [{"id": split, "tokens": ["fair", "now"], "ner_tags": [1, 0]}]
        table = pyarrow.Table.from_pylist(rows).replace_schema_metadata(noted)
        parquet.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    from shapca.data.preparation.readers.own import OwnFormat
    from shapca.data.preparation.readers.records import RecordForm

    own = OwnFormat("datasets", form=RecordForm({"words": "tokens", "tags": "ner_tags"}))
    data = own.read([tmp_path])
    assert data.splits["valid"][0].tags == ("B-EVENT", "O")
    with pytest.raises(InputError, match=r"row 1: unknown key 'ner_tags'; expected id, tokens"):
        OwnFormat("datasets", form=RecordForm({"words": "tokens"})).read([tmp_path])
