"""What a model gets wrong: confusions and boundaries by hand, and the posts on the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.reports.charts.figures import charts_of
from orchestrator.reports.content import Content
from orchestrator.reports.errors import Errors, confusion, num_errors, read_errors
from orchestrator.reports.make import content_from
from orchestrator.reports.page import page_of, pieces
from orchestrator.store.cells import Cell, CellStore
from shapca.config import RuntimeConfig, load_training_file
from shapca.data.prepared import PreparedData
from shapca.data.schema import Entity, Example, Prediction, Relation, Span
from shapca.storage import FolderStore, to_json
from tests.orchestrator.fakes import CODE
from tests.orchestrator.reports.test_page import Page

WORDS = ("Kevin", "Durant", "enters", "Oracle", "Arena", "in", "Oakland")


def example(*entities: Entity, relations: tuple[Relation, ...] = ()) -> Example:
    return Example("p", WORDS, entities=entities, relations=relations)


def test_entities_are_right_mistyped_missed_or_invented() -> None:
    gold = example(Entity(0, 2, "PER"), Entity(3, 5, "LOC"), Entity(6, 7, "LOC"))
    found = Prediction(entities=(Entity(0, 2, "ORG"), Entity(4, 5, "LOC"), Entity(6, 7, "LOC")))
    made = confusion("entities", [gold], [found])
    assert made.types == ("LOC", "ORG", "PER")
    assert made.counts == {
        ("PER", "ORG"): 1, ("LOC", None): 1, (None, "LOC"): 1, ("LOC", "LOC"): 1,
    }  # fmt: skip
    totals = [made.total(what) for what in ("right", "mistyped", "missed", "invented")]  # type: ignore[arg-type]
    assert totals == [1, 1, 1, 1]
    assert made.boundaries == 1  # "Arena" for "Oracle Arena"
    assert num_errors(gold, found, ["entities"]) == 3


def test_relations_have_no_direction_and_none_is_none() -> None:
    head, tail = Span(0, 2), Span(3, 5)
    gold = example(relations=(Relation(head, tail, "present_in"),))
    turned = Prediction(relations=(Relation(tail, head, "present_in"),))
    none = Prediction(relations=(Relation(head, tail, "None"),))
    made = confusion("relations", [gold, gold], [turned, none])
    assert made.counts == {("present_in", "present_in"): 1, ("present_in", None): 1}
    assert num_errors(gold, turned, ["relations"]) == 0
    assert num_errors(gold, none, ["relations"]) == 1


def test_a_text_in_pieces_is_the_text() -> None:
    from orchestrator.reports.errors import Mark

    marks = (Mark(0, 2, "PER", True), Mark(3, 5, "LOC", False))
    found = pieces(WORDS, marks)
    assert [text for text, _ in found] == ["Kevin Durant", "enters", "Oracle Arena", "in Oakland"]
    assert [mark for _, mark in found] == [marks[0], None, marks[1], None]


@pytest.fixture
def trained(tmp_path: Path, tiny_mner: PreparedData) -> tuple[CellStore, str, RuntimeConfig]:
    """A cell in a storage that found every entity but the first of the validation split."""
    file = tmp_path / "run.yaml"
    file.write_text(f"data: {{dataset: {tiny_mner.folder.name}, contexts: captions}}\n")
    config, _ = load_training_file(file, [])
    cells = CellStore(FolderStore(tmp_path / "storage"))
    cell = Cell(config, 11, tiny_mner.part_hashes(config), {})
    cells.register(cell)
    posts = tiny_mner.splits["valid"]
    found = [{"entities": [list(e) for e in post.entities], "relations": []} for post in posts]
    first = next(n for n, post in enumerate(posts) if post.entities)
    found[first]["entities"] = found[first]["entities"][1:]
    record = {
        "data": tiny_mner.part_hashes(config),
        "metrics": {},
        "per_example": {},
        "predictions": found,
    }
    cells.run_store(cell.key).put("evaluations/valid.json", to_json(record))
    return cells, cell.key, RuntimeConfig(data_root=tiny_mner.folder.parent)


def test_the_errors_of_a_cell_are_read_with_text_picture_and_context(
    trained: tuple[CellStore, str, RuntimeConfig], tiny_mner: PreparedData
) -> None:
    found = read_errors(*trained)
    assert isinstance(found, Errors)
    posts = tiny_mner.splits["valid"]
    assert (found.num_wrong, found.num_posts, found.seed) == (1, len(posts), 11)
    [post] = found.posts
    gold = next(one for one in posts if one.entities)
    assert (post.id, post.words, post.num_errors) == (gold.id, gold.words, 1)
    assert len(post.gold) == len(post.found) + 1
    assert [mark.is_right for mark in post.gold] == [False] + [True] * len(post.found)
    assert post.context == (tiny_mner.contexts("captions").get(gold.image or "") or None)
    assert (post.picture is None) == (gold.image is None)


def test_why_errors_are_not_shown_is_said(
    trained: tuple[CellStore, str, RuntimeConfig], tmp_path: Path
) -> None:
    cells, key, runtime = trained
    assert "orchestrator report with --data-root" in str(read_errors(cells, key, runtime, tmp_path))
    record = cells.evaluation(key, "valid")
    assert record is not None
    changed = {**record, "data": {"text": "other"}}
    cells.run_store(key).put("evaluations/valid.json", to_json(changed))
    assert "another data set than the one" in str(read_errors(cells, key, runtime))
    del changed["predictions"]
    cells.run_store(key).put("evaluations/valid.json", to_json(changed))
    assert "trained by older code" in str(read_errors(cells, key, runtime))


def test_the_page_shows_spans_in_colour_and_escapes_them(finished: Path) -> None:
    shown = with_errors(content_from(FolderStore(finished), "small", str(finished), CODE))
    raw = page_of(shown, charts_of(shown)).decode()
    text = Page(raw).text
    assert "1 right, 1 of another type, 0 missed, 0 invented" in text
    assert "&lt;b&gt; Durant" in raw
    assert raw.count("✗") == 2
    assert "data:image/jpeg;base64,QUJD" in raw


def with_errors(shown: Content) -> Content:
    from dataclasses import replace

    from orchestrator.reports.errors import Confusion, Mark, Post

    words = ("<b>", "Durant", "enters", "Oakland")
    wrong = Post(
        "p1", words, "a player", "QUJD", (Mark(0, 2, "PER", False), Mark(3, 4, "LOC", True)),
        (Mark(0, 2, "ORG", False), Mark(3, 4, "LOC", True)), (), 1,
    )  # fmt: skip
    counts = {("PER", "ORG"): 1, ("LOC", "LOC"): 1}
    made = Confusion("entities", ("LOC", "ORG", "PER"), counts)
    return replace(shown, errors=Errors("key", 11, (made,), (wrong,), 1, 2))


def test_predictions_are_kept_without_tags_and_read_again() -> None:
    from shapca.evaluation.evaluate import EvaluationRecord
    from shapca.metrics import Evaluation

    found = (
        Prediction(
            ("B-PER", "O"), (Entity(0, 1, "PER"),), (Relation(Span(0, 1), Span(1, 2), "r"),)
        ),
        Prediction(),
    )
    record = EvaluationRecord({"text": "x"}, "valid", Evaluation({"f1": 1.0}, {}), {}, found)
    again = EvaluationRecord.from_json(json.loads(to_json(record.to_json())))
    assert again.predictions == (
        Prediction(None, *[found[0].entities, found[0].relations]),
        found[1],
    )
    assert again.evaluation == record.evaluation
    without = EvaluationRecord({"text": "x"}, "valid", Evaluation({"f1": 1.0}, {})).to_json()
    assert "predictions" not in without
