"""Shapley values: one contract for all estimators, then what each of them promises.

J targets, k players.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from shapca import shapley
from tests.oracles.shapley import algorithm_1, values_by_definition, values_by_orders

pytestmark = pytest.mark.usefixtures("one_thread")

Estimate = Callable[..., Tensor]

# A new estimator joins the contract by one line: its name, itself, most players.
CONTRACT: list[tuple[str, Estimate, int]] = [
    ("cyclic", shapley.cyclic, 256),
    ("monte_carlo", partial(shapley.monte_carlo, num_permutations=3), 256),
    ("exact", shapley.exact, 256),
    ("enumerate", shapley.enumerate_coalitions, 12),
]
all_estimators = pytest.mark.parametrize(
    ("estimate", "most"), [row[1:] for row in CONTRACT], ids=[row[0] for row in CONTRACT]
)
deterministic = pytest.mark.parametrize(
    "estimate", [shapley.exact, shapley.enumerate_coalitions], ids=["exact", "enumerate"]
)
PRECISE = partial(shapley.exact, tolerance=1e-12)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cosines(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=seeded(seed), dtype=dtype) * 2 - 1


def test_every_registered_estimator_joins_the_contract() -> None:
    assert set(shapley.ESTIMATORS) == {name for name, *_ in CONTRACT}


@all_estimators
@pytest.mark.parametrize("num_players", [1, 2, 3, 12, 28, 64, 256])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_values_add_up_to_the_utility_of_all(
    estimate: Estimate, most: int, num_players: int, temperature: float
) -> None:
    similarity = cosines(2, min(num_players, most))
    values = estimate(similarity, temperature, generator=seeded())
    expected = shapley.utility_of_all(similarity, temperature)
    torch.testing.assert_close(values.sum(-1), expected, atol=2e-6, rtol=0)


@all_estimators
@pytest.mark.parametrize(
    "kind", ["equal", "plus_one", "minus_one", "zero", "extremes", "random", "one_best"]
)
@pytest.mark.parametrize("temperature", [0.005, 0.02, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("diagonal", [False, True])
def test_values_and_gradients_are_finite(
    estimate: Estimate, most: int, kind: str, temperature: float, diagonal: bool
) -> None:
    k = min(most, 28)
    similarity = {
        "equal": torch.full((k, k), 0.3),
        "plus_one": torch.ones(k, k),
        "minus_one": -torch.ones(k, k),
        "zero": torch.zeros(k, k),
        "extremes": cosines(k, k, dtype=torch.float32).sign(),
        "random": cosines(k, k, dtype=torch.float32),
        "one_best": 2 * torch.eye(k) - 1,
    }[kind]
    similarity = similarity.clone().requires_grad_()
    values = estimate(similarity, temperature, diagonal=diagonal, generator=seeded())
    (gradient,) = torch.autograd.grad(values.square().sum() + values.sum(), similarity)
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    if kind != "zero":
        assert gradient.abs().max() > 0


@all_estimators
def test_the_lowest_temperature_at_most_players(estimate: Estimate, most: int) -> None:
    similarity = cosines(2, most, dtype=torch.float32).requires_grad_()
    values = estimate(similarity, shapley.LOWEST_TEMPERATURE, generator=seeded())
    (gradient,) = torch.autograd.grad(values.square().sum(), similarity)
    assert values.isfinite().all()
    assert gradient.isfinite().all()


@all_estimators
@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("absent", [0, 2])
@pytest.mark.parametrize("temperature", [0.03, 0.5])
def test_gradients_agree_with_finite_differences(
    estimate: Estimate, most: int, diagonal: bool, absent: int, temperature: float
) -> None:
    if estimate is shapley.exact:
        estimate = PRECISE
    player_mask = None if absent == 0 else torch.arange(5) >= absent
    similarity = cosines(2, 5 if diagonal else 3, 5, seed=3).requires_grad_()

    def values(x: Tensor) -> Tensor:
        return estimate(
            x, temperature, diagonal=diagonal, player_mask=player_mask, generator=seeded()
        )

    assert torch.autograd.gradcheck(values, similarity, eps=1e-6, atol=2e-5, rtol=1e-4)


@all_estimators
def test_more_and_fewer_targets_than_players(estimate: Estimate, most: int) -> None:
    for shape in ((1, 4), (9, 4), (2, 3, 5, 4)):
        assert estimate(cosines(*shape), 0.1, generator=seeded()).shape == shape


@all_estimators
def test_targets_do_not_see_each_other(estimate: Estimate, most: int) -> None:
    similarity = cosines(6, 8)
    values = estimate(similarity, 0.1, generator=seeded())
    alone = estimate(similarity[2:3], 0.1, generator=seeded())
    torch.testing.assert_close(values[2:3], alone, atol=2e-6, rtol=0)


@all_estimators
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("num_players", [1, 2, 7, 12])
@pytest.mark.parametrize("temperature", [0.005, 0.1])
def test_the_diagonal_alone_equals_the_diagonal_of_all(
    estimate: Estimate, most: int, masked: bool, num_players: int, temperature: float
) -> None:
    similarity = cosines(3, num_players, num_players).requires_grad_()
    player_mask = None
    if masked:
        player_mask = torch.rand(3, num_players, generator=seeded(5)) < 0.6
    weights = cosines(3, num_players, seed=9)

    def value_and_gradient(diagonal: bool) -> tuple[Tensor, Tensor]:
        values = estimate(
            similarity, temperature, diagonal=diagonal, player_mask=player_mask, generator=seeded()
        )
        own = values if diagonal else values.diagonal(dim1=1, dim2=2)
        return own, torch.autograd.grad((own * weights).sum(), similarity)[0]

    # `exact` takes two ways, each to its tolerance.
    allowed = (1e-6, 1e-5 / temperature) if estimate is shapley.exact else (1e-8, 1e-8)
    for found, expected, error in zip(
        value_and_gradient(True), value_and_gradient(False), allowed, strict=True
    ):
        torch.testing.assert_close(found, expected, atol=error, rtol=1e-8)


@all_estimators
def test_absent_players_are_worth_nothing(estimate: Estimate, most: int) -> None:
    similarity = cosines(4, 3, 9)
    player_mask = torch.rand(4, 9, generator=seeded(2)) < 0.6
    player_mask[0] = False
    values = estimate(similarity, 0.1, player_mask=player_mask, generator=seeded())
    assert (values.masked_select(~player_mask[:, None]) == 0).all()
    expected = shapley.utility_of_all(similarity, 0.1, player_mask=player_mask)
    torch.testing.assert_close(values.sum(-1), expected, atol=2e-6, rtol=0)
    other = similarity.masked_fill(~player_mask[:, None], 0.7)
    again = estimate(other, 0.1, player_mask=player_mask, generator=seeded())
    torch.testing.assert_close(values, again, atol=0, rtol=0)


@all_estimators
@pytest.mark.parametrize("diagonal", [False, True])
def test_nobody_present_gives_zero_with_a_zero_gradient(
    estimate: Estimate, most: int, diagonal: bool
) -> None:
    similarity = cosines(5, 5).requires_grad_()
    player_mask = torch.zeros(5, dtype=torch.bool)
    values = estimate(
        similarity, 0.1, player_mask=player_mask, diagonal=diagonal, generator=seeded()
    )
    (gradient,) = torch.autograd.grad(values.sum(), similarity)
    assert (values == 0).all()
    assert (gradient == 0).all()


@all_estimators
def test_nan_goes_through(estimate: Estimate, most: int) -> None:
    similarity = cosines(6, 6)
    similarity[1, 2] = torch.nan
    values = estimate(similarity, 0.1, generator=seeded())
    assert values[1].isnan().any()
    assert values[0].isfinite().all()


@all_estimators
def test_the_gradient_can_be_left_out(estimate: Estimate, most: int) -> None:
    similarity = cosines(6, 6).requires_grad_()
    expected = estimate(similarity, 0.1, diagonal=True, generator=seeded())
    with torch.no_grad():
        found = estimate(similarity, 0.1, diagonal=True, generator=seeded())
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.detach(), atol=0, rtol=0)


@all_estimators
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.004}, "temperature: expected at least 0.005, got 0.004"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"similarity": torch.zeros(4)}, r"similarity: .*\(4,\)"),
        ({"similarity": torch.zeros(4, 4, dtype=torch.long)}, "similarity: .*int64"),
        ({"similarity": torch.zeros(4, 0)}, "no players"),
        ({"similarity": torch.zeros(3, 4), "diagonal": True}, "3 targets and 4 players"),
        ({"player_mask": torch.ones(4)}, "player_mask: expected booleans"),
        ({"player_mask": torch.ones(3, dtype=torch.bool)}, "player_mask"),
    ],
)
def test_what_is_not_allowed_is_named(
    estimate: Estimate, most: int, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        estimate(**({"similarity": torch.zeros(4, 4), "temperature": 0.1} | arguments))


# The deterministic estimators


@deterministic
def test_relabelled_players_keep_their_values(estimate: Estimate) -> None:
    similarity = cosines(4, 9)
    relabel = torch.randperm(9, generator=seeded(1))
    expected = estimate(similarity, 0.1)[:, relabel]
    torch.testing.assert_close(estimate(similarity[:, relabel], 0.1), expected, atol=2e-6, rtol=0)


@deterministic
def test_equal_players_get_equal_values(estimate: Estimate) -> None:
    similarity = cosines(5, 8)
    similarity[:, 6] = similarity[:, 2]
    values = estimate(similarity, 0.1)
    torch.testing.assert_close(values[:, 6], values[:, 2], atol=1e-12, rtol=0)


@deterministic
def test_players_of_no_similarity_get_nothing(estimate: Estimate) -> None:
    assert (estimate(torch.zeros(4, 9), 0.1) == 0).all()


@deterministic
def test_absent_players_leave_the_game_of_the_others(estimate: Estimate) -> None:
    similarity = cosines(3, 10)
    player_mask = torch.arange(10) % 3 != 0
    masked = estimate(similarity, 0.1, player_mask=player_mask)[:, player_mask]
    torch.testing.assert_close(masked, estimate(similarity[:, player_mask], 0.1), atol=2e-6, rtol=0)


def test_enumeration_equals_the_definitions() -> None:
    for k in (1, 2, 5):
        similarity = cosines(2, k)
        values = shapley.enumerate_coalitions(similarity, 0.1)
        for oracle in (values_by_definition, values_by_orders):
            expected = [oracle(row, 0.1) for row in similarity.tolist()]
            torch.testing.assert_close(
                values, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0
            )


def test_enumeration_refuses_many_players() -> None:
    with pytest.raises(ValueError, match="at most 12 players, got 13"):
        shapley.enumerate_coalitions(torch.zeros(1, 13), 0.1)


# The sampled estimators


@pytest.mark.parametrize("num_players", [1, 2, 3, 5, 28])
def test_cyclic_is_algorithm_1(num_players: int) -> None:
    similarity = cosines(2, num_players).requires_grad_()
    permutation = torch.randperm(num_players, generator=seeded(4))
    weights = cosines(2, num_players, seed=8)
    found = shapley.cyclic(similarity, 0.1, permutation=permutation)
    expected = algorithm_1(similarity, 0.1, permutation.tolist())
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    found_gradient, expected_gradient = (
        torch.autograd.grad((values * weights).sum(), similarity)[0] for values in (found, expected)
    )
    torch.testing.assert_close(found_gradient, expected_gradient, atol=1e-10, rtol=0)


@pytest.mark.parametrize("num_present", [1, 2, 3, 9])
def test_cyclic_shifts_the_present_players_alone(num_present: int) -> None:
    similarity = cosines(3, 11)
    present = torch.randperm(11, generator=seeded(6))[:num_present].sort().values
    player_mask = torch.zeros(11, dtype=torch.bool)
    player_mask[present] = True
    permutation = torch.randperm(11, generator=seeded(7))
    kept = [int(player) for player in permutation if player_mask[player]]
    order = [present.tolist().index(player) for player in kept]
    masked = shapley.cyclic(similarity, 0.1, permutation=permutation, player_mask=player_mask)
    expected = algorithm_1(similarity[:, present], 0.1, order)
    torch.testing.assert_close(masked[:, present], expected, atol=1e-12, rtol=0)


def test_cyclic_follows_players_and_permutation_relabelled_together() -> None:
    similarity = cosines(4, 9)
    permutation, relabel = (torch.randperm(9, generator=seeded(seed)) for seed in (1, 2))
    expected = shapley.cyclic(similarity, 0.1, permutation=permutation)[:, relabel]
    found = shapley.cyclic(similarity[:, relabel], 0.1, permutation=relabel.argsort()[permutation])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_cyclic_takes_a_permutation_for_each_game() -> None:
    similarity = cosines(2, 3, 6)
    permutations = torch.stack([torch.randperm(6, generator=seeded(seed)) for seed in (1, 2)])
    found = shapley.cyclic(similarity, 0.1, permutation=permutations)
    for game in range(2):
        expected = shapley.cyclic(similarity[game], 0.1, permutation=permutations[game])
        torch.testing.assert_close(found[game], expected, atol=0, rtol=0)


@pytest.mark.parametrize("permutation", [[0, 1, 1], [0, 1], [1, 2, 3], [0, 1, 2, 3]])
def test_cyclic_refuses_what_is_no_permutation(permutation: list[int]) -> None:
    with pytest.raises(ValueError, match=r"permutation: expected each of 0\.\.2 once"):
        shapley.cyclic(torch.zeros(2, 3), 0.1, permutation=torch.tensor(permutation))


sampled = pytest.mark.parametrize(
    "estimate",
    [shapley.cyclic, partial(shapley.monte_carlo, num_permutations=2)],
    ids=["cyclic", "monte_carlo"],
)


@sampled
@pytest.mark.parametrize("num_players", [2, 3, 7])
@pytest.mark.parametrize("masked", [False, True])
def test_sampled_estimates_are_unbiased(estimate: Estimate, num_players: int, masked: bool) -> None:
    num_draws = 4000
    similarity = cosines(2, num_players)
    player_mask = torch.arange(num_players) != 1 if masked else None
    draws = estimate(
        similarity.expand(num_draws, -1, -1), 0.1, player_mask=player_mask, generator=seeded()
    )
    expected = PRECISE(similarity, 0.1, player_mask=player_mask)
    standard_error = draws.std(0) / num_draws**0.5
    assert ((draws.mean(0) - expected).abs() <= 5 * standard_error + 1e-10).all()


@sampled
def test_randomness_comes_from_the_generator_alone(estimate: Estimate) -> None:
    similarity = cosines(3, 4, 9)
    state = torch.get_rng_state()
    generator = seeded(3)
    first, second = (estimate(similarity, 0.1, generator=generator) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, estimate(similarity, 0.1, generator=seeded(3)))
    assert not torch.equal(first, second)


@sampled
def test_targets_share_permutations_and_games_do_not(estimate: Estimate) -> None:
    similarity = cosines(1, 9).expand(2, 3, 9)
    first, second = estimate(similarity, 0.1, generator=seeded())
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_more_permutations_give_a_lower_error() -> None:
    similarity = cosines(20, 8, 8)
    exact = PRECISE(similarity, 0.1)
    errors = [
        (shapley.monte_carlo(similarity, 0.1, num_permutations=n, generator=seeded()) - exact)
        .square()
        .mean()
        .sqrt()
        for n in (4, 64, 1024)
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_monte_carlo_needs_a_permutation() -> None:
    with pytest.raises(ValueError, match="num_permutations: expected at least 1, got 0"):
        shapley.monte_carlo(torch.zeros(2, 2), 0.1, num_permutations=0)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("kind", "expected"), [("trained", 0.025), ("crowded", 0.066)])
def test_error_of_cyclic_at_28_players(temperature: float, kind: str, expected: float) -> None:
    noise = torch.randn(5, 28, 28, generator=seeded(), dtype=torch.float64)
    if kind == "trained":
        similarity = (0.1 + 0.15 * noise).clamp(-1, 1)
        similarity.diagonal(dim1=1, dim2=2).fill_(0.8)
    else:
        similarity = (0.75 + 0.06 * noise).clamp(-1, 1)
    exact = shapley.exact(similarity, temperature)
    draws = shapley.cyclic(similarity.expand(10, -1, -1, -1), temperature, generator=seeded())
    error = (draws - exact).square().mean().sqrt()
    assert error == pytest.approx(expected, abs=0.003)


# The registry


def test_estimators_are_found_by_name() -> None:
    similarity = cosines(3, 5)
    for name, estimate, _ in CONTRACT:
        found = shapley.find_estimator(name, num_permutations=3)
        torch.testing.assert_close(
            found(similarity, 0.1, generator=seeded()),
            estimate(similarity, 0.1, generator=seeded()),
        )
    with pytest.raises(ValueError, match=r"expected one of cyclic, .*, got 'shapley'"):
        shapley.find_estimator("shapley")


def test_utility_of_all_is_the_expected_similarity() -> None:
    similarity = cosines(2, 3, 6)
    expected = (torch.softmax(similarity / 0.2, -1) * similarity).sum(-1)
    torch.testing.assert_close(shapley.utility_of_all(similarity, 0.2), expected)
    nobody = torch.zeros(6, dtype=torch.bool)
    assert (shapley.utility_of_all(similarity, 0.2, player_mask=nobody) == 0).all()
