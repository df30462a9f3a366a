"""Label sets of two data sets are matched whole, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from shapca.data.schema import Entity, Labels, Prediction, Relation, Span
from shapca.errors import InputError
from shapca.evaluation.label_map import complete_label_map, read_label_map, rename_types

MODEL = Labels("mjere", ("OTHER", "PER"), ("/per/per/peer",))
DATA = Labels("mjere", ("MISC", "PER"), ("/per/per/peer",))


def test_equal_names_need_no_map() -> None:
    assert complete_label_map(MODEL, MODEL, {}) == {}
    assert complete_label_map(MODEL, MODEL, {"PER": "PER"}) == {}


def test_a_map_gives_the_counterparts() -> None:
    assert complete_label_map(MODEL, DATA, {"OTHER": "MISC"}) == {"OTHER": "MISC"}


@pytest.mark.parametrize(
    ("model", "data", "label_map", "message"),
    [
        (MODEL, DATA, {}, "model's entity type 'OTHER' has no counterpart"),
        (MODEL, DATA, {"OTHER": "LOC"}, "model's entity type 'OTHER' has no counterpart"),
        (MODEL, DATA, {"OTHER": "PER"}, "data set's entity type 'MISC' has no counterpart"),
        (MODEL, DATA, {"ORG": "MISC"}, "the model has no label 'ORG'"),
        (MODEL, Labels("mjere", MODEL.entity_types, ("a", "/per/per/peer")), {},
         "data set's relation type 'a' has no counterpart"),
        (MODEL, Labels("mner", MODEL.entity_types), {}, "one for mjere, the data set one for mner"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_named(
    model: Labels, data: Labels, label_map: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        complete_label_map(model, data, label_map)


def test_types_are_renamed_everywhere() -> None:
    prediction = Prediction(
        tags=("O", "B-OTHER", "I-OTHER", "B-PER"),
        entities=(Entity(1, 3, "OTHER"), Entity(3, 4, "PER"), Entity(0, 1, None)),
        relations=(Relation(Span(1, 3), Span(3, 4), "r"), Relation(Span(1, 3), Span(3, 4), "None")),
    )
    renamed = rename_types(prediction, {"OTHER": "MISC", "r": "s"})
    assert renamed.tags == ("O", "B-MISC", "I-MISC", "B-PER")
    assert [entity.type for entity in renamed.entities] == ["MISC", "PER", None]
    assert [relation.type for relation in renamed.relations] == ["s", "None"]
    assert rename_types(prediction, {}) is prediction


def test_pairs_and_files_give_one_map(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("C: D\nA: E\n", encoding="utf-8")
    assert read_label_map(["A=B", "C=D"]) == {"A": "B", "C": "D"}
    assert read_label_map(["A=B", str(file)]) == {"A": "E", "C": "D"}


def test_files_hold_text_alone(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text("MISC: [OTHER]\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"map\.yaml: MISC: expected"):
        read_label_map([str(file)])
