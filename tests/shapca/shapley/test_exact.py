"""Exact Shapley values: the quadrature against enumeration, and the rules behind it."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from shapca import shapley
from shapca.shapley import integral, moments, tables
from shapca.shapley.quadrature import inclusion_rule, reciprocal_rule

pytestmark = pytest.mark.usefixtures("one_thread")


def cosines(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("num_players", range(1, 13))
@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0])
def test_exact_agrees_with_enumeration(num_players: int, temperature: float) -> None:
    similarity = cosines(6, num_players, seed=num_players)
    similarity[0] = similarity[0].sign()
    similarity[1, : num_players // 2] = -1.0
    found = shapley.exact(similarity, temperature)
    expected = shapley.enumerate_coalitions(similarity, temperature)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-8, 1e-12])
@pytest.mark.parametrize("temperature", [0.005, 0.1, 100.0])
def test_the_tolerance_is_kept(tolerance: float, temperature: float) -> None:
    similarity = cosines(6, 11)
    found = shapley.exact(similarity, temperature, tolerance=tolerance)
    expected = shapley.enumerate_coalitions(similarity, temperature)
    torch.testing.assert_close(found, expected, atol=2 * tolerance, rtol=0)


def hard_rows(num_players: int) -> Tensor:
    """(6, k): random, at the ends, two far apart, crowded, few values, all equal."""
    draw = cosines(6, num_players)
    return torch.stack(
        [
            draw[0],
            draw[1].sign(),
            torch.where(draw[2] > 0.8, 1.0, -0.9 + 0.1 * draw[2]),
            0.75 + 0.06 * draw[3],
            (3 * draw[4]).round() / 3,
            torch.full((num_players,), 0.3),
        ]
    ).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("num_players", "temperature"),
    [
        (2, 0.005),
        (28, 0.1),
        (64, 0.1),
        (28, 1.0),
        pytest.param(28, 0.02, marks=pytest.mark.slow),
        pytest.param(28, 0.005, marks=pytest.mark.slow),
    ],
)
def test_tables_are_as_good_as_the_whole_grid(
    num_players: int, temperature: float, dtype: torch.dtype
) -> None:
    rows = hard_rows(num_players)
    games = rows[:, None].expand(-1, num_players, -1).to(dtype).requires_grad_()

    def results(diagonal: bool, tolerance: float) -> tuple[Tensor, Tensor]:
        similarity = games if diagonal else rows.to(dtype).requires_grad_()
        values = shapley.exact(similarity, temperature, tolerance=tolerance, diagonal=diagonal)
        weights = cosines(*values.shape, seed=4) if not diagonal else 1.0
        (gradient,) = torch.autograd.grad((values * weights).sum(), similarity)
        return values.detach().double(), gradient.double()

    for diagonal, value_error, gradient_error in (
        (True, 1.5e-6 if temperature < 0.02 else 3e-7, 4e-6),
        (False, 1.5e-6, 2e-5),
    ):
        value, gradient = results(diagonal, 1e-6)
        expected, expected_gradient = results(diagonal, 1e-10)
        assert (value - expected).abs().max() <= value_error
        assert (gradient - expected_gradient).abs().max() <= gradient_error / temperature


@pytest.mark.parametrize("num_players", [1, 2, 256, 512])
def test_any_number_of_players(num_players: int) -> None:
    similarity = cosines(2, num_players)
    values = shapley.exact(similarity, 0.1)
    expected = shapley.utility_of_all(similarity, 0.1)
    torch.testing.assert_close(values.sum(-1), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("diagonal", [False, True])
def test_similarities_further_apart_than_cosines_give_nan(diagonal: bool) -> None:
    similarity = cosines(3, 3)
    similarity[1, 0], similarity[1, 2] = 1.5, -1.5
    values = shapley.exact(similarity, 0.1, diagonal=diagonal)
    assert values[1].isnan().all()
    assert values[[0, 2]].isfinite().all()


def test_rough_float32_products_and_autocast_change_nothing() -> None:
    similarity = cosines(12, 12).float()
    expected = shapley.exact(similarity, 0.1, diagonal=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(shapley.exact(similarity, 0.1, diagonal=True), expected)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = shapley.exact(similarity, 0.1, diagonal=True)
    finally:
        torch.set_float32_matmul_precision(before)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_nothing_waits_for_a_gpu(diagonal: bool, masked: bool) -> None:
    with FakeTensorMode():  # a number read from a stand-in would raise
        similarity = torch.empty(2, 6, 6, device="cuda", requires_grad=True)
        mask = torch.empty(2, 6, device="cuda", dtype=torch.bool) if masked else None
        values = shapley.exact(similarity, 0.1, player_mask=mask, diagonal=diagonal)
        assert values.device.type == "cuda"
        assert values.shape == ((2, 6) if diagonal else (2, 6, 6))
    assert shapley.exact(cosines(6, 6), 0.1, diagonal=diagonal).isfinite().all()


def test_kept_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    like = cosines(1)

    def find(temperature: float) -> tables.Tables:
        return tables.find_tables(8, temperature, torch.float64, like, own_only=True)

    first = find(0.3)
    assert find(0.3) is first
    assert find(0.3001) is first  # within the same cells
    monkeypatch.setattr(tables, "KEPT_BYTES", 2 * first.size())
    for temperature in (0.15, 0.1, 0.08):
        assert find(temperature) is find(temperature)
        kept = sum(table.size() for table in tables._kept.values())
        assert kept <= tables.KEPT_BYTES or len(tables._kept) == 1


@pytest.mark.parametrize("tolerance", [1e-14, 0.2, float("nan")])
def test_a_tolerance_out_of_range_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance: expected between"):
        shapley.exact(torch.zeros(2, 2), 0.1, tolerance=tolerance)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0])
def test_gradients_agree_with_enumeration(temperature: float) -> None:
    similarity = cosines(4, 9).requires_grad_()
    weights = cosines(4, 9, seed=1)
    found, expected = (
        torch.autograd.grad((estimate(similarity, temperature) * weights).sum(), similarity)[0]
        for estimate in (shapley.exact, shapley.enumerate_coalitions)
    )
    torch.testing.assert_close(found, expected, atol=1e-5 / temperature, rtol=0)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0])
def test_float32_similarities_at_28_players(temperature: float) -> None:
    similarity = cosines(28, 28)
    found = shapley.exact(similarity.float(), temperature)
    assert found.dtype == torch.float32
    expected = shapley.exact(similarity, temperature, tolerance=1e-12)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_players", [28, 64, 256])
def test_fewer_nodes_than_exact_ones_keep_the_tolerance(num_players: int) -> None:
    similarity = cosines(2, num_players)
    expected = shapley.exact(similarity, 0.1, tolerance=1e-11)
    torch.testing.assert_close(shapley.exact(similarity, 0.1), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [1, 3000, 2**24])
@pytest.mark.parametrize(("way", "tolerance"), [(moments, 1e-6), (integral, 1e-8)])
def test_blocks_of_any_size_give_the_same(
    way: ModuleType, tolerance: float, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    similarity = cosines(2, 5, 5).requires_grad_()

    def results() -> list[Tensor]:
        values, own = (
            shapley.exact(similarity, 0.1, tolerance=tolerance, diagonal=diagonal)
            for diagonal in (False, True)
        )
        return [
            values, own,
            *torch.autograd.grad(values.square().sum(), similarity),
            *torch.autograd.grad(own.square().sum(), similarity),
        ]  # fmt: skip

    expected = results()
    monkeypatch.setattr(way, "_BLOCK", {"cpu": size})
    for found, wanted in zip(results(), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-13, rtol=0)


@pytest.mark.parametrize(("num_players", "most"), [(1, 1), (2, 1), (3, 2), (28, 10), (256, 33)])
def test_number_of_inclusion_nodes(num_players: int, most: int) -> None:
    nodes, weights = inclusion_rule(num_players, 1e-6)
    assert len(nodes) <= most
    assert weights.sum() == pytest.approx(1.0)
    assert ((nodes > 0) & (nodes < 1)).all()


@pytest.mark.parametrize("num_players", [1, 2, 7, 28, 64, 256, 512])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-9, 1e-11])
def test_the_nodes_integrate_products_over_players(num_players: int, tolerance: float) -> None:
    nodes, weights = inclusion_rule(num_players, tolerance)
    assert len(nodes) <= math.ceil(num_players / 2)
    many, their_weights = np.polynomial.legendre.leggauss(num_players // 2 + 2)
    draw = np.random.default_rng(0)
    for spread in (0.0, 0.1, 1.0, 10.0):
        for share_of_certain in (0.0, 0.1, 0.9):
            decay = draw.random(num_players - 1) ** spread
            decay[draw.random(num_players - 1) < share_of_certain] = 1.0
            found = np.prod(1 - np.outer(nodes, decay), axis=1) @ weights
            expected = np.prod(1 - np.outer((many + 1) / 2, decay), axis=1) @ their_weights / 2
            assert num_players * abs(found - expected) <= 2 * tolerance


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("span", [0.0, 3.0, 20.0, 400.0])
def test_reciprocals_of_coalition_weights(tolerance: float, span: float) -> None:
    log_weights = torch.linspace(-span, 0.0, 28, dtype=torch.float64)[None]
    log_t, steps = reciprocal_rule(log_weights, tolerance)
    totals = np.linspace(-span, float(log_weights.logsumexp(-1)), 500)
    weighted = torch.exp(log_t + torch.from_numpy(totals)[:, None])  # t X
    found = (steps * weighted * torch.exp(-weighted)).sum(-1)  # X times the integral: 1
    assert (found - 1).abs().max() <= tolerance
    expected_nodes = (math.log(1 / tolerance) + 4.5) / math.pi**2 * (span + 12) + 12
    assert log_t.shape[-1] <= expected_nodes
