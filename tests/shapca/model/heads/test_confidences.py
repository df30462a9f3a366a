import numpy as np
import pytest

from shapca.data.schema import Entity, Labels, Prediction, Relation, Span
from shapca.model.heads.confidences import Confidence, to_confidences

HEAD, TAIL = Span(0, 2), Span(3, 4)


def test_a_table_answers_by_the_cells_that_make_an_item():
    labels = Labels("mjere", ("loc", "per"), ("peer", "part"))
    table = np.zeros((5, 5), dtype=np.int64)
    table[0, 0] = table[1, 1] = table[0, 1] = 2
    table[3, 3] = 1
    table[0, 3], table[1, 3] = 3, 4  # one vote each: the earlier label is read
    cells = np.full((5, 5), 0.99, dtype=np.float32)
    cells[0, 0], cells[1, 1], cells[3, 3], cells[0, 3], cells[1, 3] = 0.5, 0.7, 0.875, 0.25, 0.125
    prediction = Prediction(
        entities=(Entity(*HEAD, "per"), Entity(*TAIL, "loc")),
        relations=(Relation(HEAD, TAIL, "peer"),),
    )
    (sure,) = to_confidences([cells], [table], [prediction], labels)
    assert sure.entities == (pytest.approx(0.6), pytest.approx(0.875))
    assert sure.relations == (pytest.approx(0.25),)


def test_given_entities_have_none():
    labels = Labels("mre", relation_types=("peer",))
    given = Prediction(
        entities=(Entity(*HEAD, None), Entity(*TAIL, None)),
        relations=(Relation(HEAD, TAIL, "peer"),),
    )
    sure = to_confidences([0.75, None], [1, 0], [given, given], labels)
    assert sure == [Confidence((None, None), (0.75,)), Confidence((None, None), (None,))]
