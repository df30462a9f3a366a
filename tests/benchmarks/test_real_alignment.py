"""The benchmark on real pairs itself: its scores, its choices, and that it resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.benchmarks.real_alignment import (
    OBJECTIVES,
    Cell,
    Pairs,
    read_cells,
    retrieval,
    run,
    table,
    train_cell,
)


def cell(objective: str = "infonce", temperature: float = 0.1, seed: int = 0) -> Cell:
    estimator = "none" if objective == "infonce" else "cyclic"
    return Cell(objective, estimator, temperature, 16, 1e-3, seed)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Two views of the same 8 numbers, with noise."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(8, 12, generator=generator), torch.randn(8, 20, generator=generator)

    def draw(size: int) -> tuple[Tensor, Tensor]:
        meaning = torch.randn(size, 8, generator=generator)
        noise = torch.randn(size, 20, generator=generator)
        return meaning @ left, meaning @ right + 0.3 * noise

    return {"train": draw(128), "valid": draw(40), "test": draw(40)}


def test_retrieval_is_the_place_of_the_own_one() -> None:
    similarity = torch.rand(30, 30, dtype=torch.float64)
    similarity[3] = 0.5  # all tied: in the middle
    places = []
    for matrix in (similarity.tolist(), similarity.T.tolist()):
        for row, values in enumerate(matrix):
            others = [value for column, value in enumerate(values) if column != row]
            ties = sum(value == values[row] for value in others)
            places.append(sum(value > values[row] for value in others) + ties / 2)
    scores = retrieval(similarity)
    assert scores["R@1"] == pytest.approx(100 * sum(place < 1 for place in places) / 60)
    assert scores["R@10"] == pytest.approx(100 * sum(place < 10 for place in places) / 60)
    assert scores["mean rank"] == pytest.approx(sum(places) / 60 / 29)
    perfect = retrieval(torch.eye(30))
    assert (perfect["R@1"], perfect["mean rank"], perfect["cosine gap"]) == (100, 0, 1)
    assert retrieval(torch.ones(30, 30))["mean rank"] == pytest.approx(0.5)


@pytest.mark.parametrize("objective", sorted(set(OBJECTIVES) - {"sum"}))
def test_an_objective_learns_pairs_that_can_be_learnt(objective: str, pairs: Pairs) -> None:
    scores = train_cell(cell(objective), pairs, epochs=4)
    assert scores["test mean rank"] < 0.15
    assert scores["test cosine gap"] > 0.2


def test_the_same_command_resumes(pairs: Pairs, tmp_path: Path) -> None:
    file = tmp_path / "cells.jsonl"
    cells = [cell(seed=seed) for seed in range(3)]
    run(cells[:2], pairs, file, epochs=1)
    before = file.read_text()
    file.write_text(before + '{"objective": "info')  # killed while it wrote
    run(cells, pairs, file, epochs=1)
    assert file.read_text().startswith(before)
    assert [done for done, _ in read_cells(file)] == cells
    assert train_cell(cells[1], pairs, epochs=1) == dict(read_cells(file))[cells[1]]


def test_the_choice_is_made_on_validation() -> None:
    def scores(valid: float, test: float) -> dict[str, float]:
        names = ("R@1", "R@10", "cosine gap")
        return {"valid mean rank": valid, "test mean rank": test, **{f"test {n}": 1 for n in names}}

    results = [
        (cell(temperature=0.1, seed=0), scores(0.2, 0.4)),
        (cell(temperature=0.1, seed=1), scores(0.2, 0.5)),
        (cell(temperature=0.3, seed=0), scores(0.3, 0.1)),
        (cell(temperature=0.3, seed=1), scores(0.3, 0.1)),
        (cell(temperature=0.5, seed=0), scores(0.1, 0.1)),  # not all its seeds
    ]
    [row] = table(results).splitlines()[2:]
    assert row.startswith("| infonce | none | 0.1 | 0 | 16 | 0.001 | 2 |")
    assert "0.450 ± 0.635" in row
