"""Exact Shapley values: which way they are computed, and the checks before it.

M rows (games times targets), k players.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor

from shapca.shapley import integral, moments
from shapca.shapley.game import Game, WithGradient, open_game
from shapca.shapley.tables import TOLERANCE, find_tables


def exact(
    similarity: Tensor,
    temperature: float,
    *,
    tolerance: float = TOLERANCE,
    player_mask: Tensor | None = None,
    diagonal: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Shapley values by quadrature: deterministic, O(k^2) per target instead of O(2^k).

    A tolerance of 1e-6 or more is served by tables that depend on k and tau alone and are kept
    between calls (`moments.py`); no step waits for a GPU. Against the whole grid, a diagonal is
    within 3e-7 for tau of 0.02 and more and within 1.5e-6 below, its gradient within 4e-6 / tau;
    all values are within 1.5e-6, their gradient within 2e-5 / tau. Tables are float32 on a CPU
    unless the similarities are float64 or float32 products are allowed to be rough, and float64
    otherwise. A lower tolerance is served by the whole grid of the integral in float64
    (`integral.py`), which takes several times as long.

    Args:
        similarity: (..., J, k) cosine, in [-1, 1], of each target with each player. Where a
            row's players are further than 2 apart, its values may be NaN.
        temperature: tau of the utility (Eq. 4), at least 0.005.
        tolerance: error allowed, between 1e-13 and 0.1.
        player_mask: (..., k) true on players that take part.
        diagonal: only phi_jj; its gradient comes along. Needs J = k.
        generator: not used; all estimators are called alike.

    Returns:
        (..., J, k) values, or (..., k) with `diagonal`.

    Raises:
        ValueError: a shape, a data type, the temperature or the tolerance is not allowed.
    """
    if not 1e-13 <= tolerance <= 0.1:
        raise ValueError(f"tolerance: expected between 1e-13 and 0.1, got {tolerance}")
    game = open_game(similarity, temperature, player_mask, diagonal=diagonal)
    with torch.autocast(similarity.device.type, enabled=False):
        values = (
            _by_tables(game, diagonal)
            if tolerance >= TOLERANCE
            else _by_grid(game, tolerance, diagonal)
        )
    return game.restore(values)


def _by_tables(game: Game, diagonal: bool) -> Tensor:
    s_NJk, mask_NJk = game.similarity, None
    k = game.num_players
    y_NJk = game.log_weights.detach().log_softmax(-1)
    if game.player_mask is not None:
        mask_NJk = game.player_mask[:, None].expand_as(y_NJk)
        y_NJk = y_NJk.masked_fill(~mask_NJk, 0.0)
    rough = torch.get_float32_matmul_precision() != "highest"
    double = game.dtype == torch.float64 or s_NJk.device.type != "cpu" or rough
    dtype = torch.float64 if double else torch.float32
    tables = find_tables(k, game.temperature, dtype, s_NJk, own_only=diagonal)
    rows = (y_NJk.reshape(-1, k), None if mask_NJk is None else mask_NJk.reshape(-1, k))
    if diagonal:
        estimate = partial(moments.own_values, y_Mk=rows[0], player_mask_Mk=rows[1],
                           temperature=game.temperature, tables=tables)  # fmt: skip
        values = _with_gradient(game, estimate)
        return values if game.player_mask is None else values.masked_fill(~game.player_mask, 0.0)
    values = moments.AllValues.apply(s_NJk.reshape(-1, k), *rows, game.temperature, tables)
    values = values.reshape(s_NJk.shape)
    return values if mask_NJk is None else values.masked_fill(~mask_NJk, 0.0)


def _by_grid(game: Game, tolerance: float, diagonal: bool) -> Tensor:
    log_w_Mk = game.log_weights.detach().reshape(-1, game.num_players)
    if diagonal:
        estimate = partial(integral.own_values, log_w_Mk=log_w_Mk,
                           temperature=game.temperature, tolerance=tolerance)  # fmt: skip
        return _with_gradient(game, estimate)
    s_Mk = game.similarity.reshape(log_w_Mk.shape)
    values = integral.AllValues.apply(s_Mk, log_w_Mk, game.temperature, tolerance)
    return values.reshape(game.similarity.shape)


def _with_gradient(game: Game, estimate: Callable[..., tuple[Tensor, Tensor | None]]) -> Tensor:
    """The diagonal (N, k) of games, with the gradient that is found along with it."""
    num_games, num_targets, k = game.similarity.shape
    value_M, gradient_Mk = estimate(
        game.similarity.detach().reshape(-1, k),
        own_M=torch.arange(k, device=game.similarity.device).repeat(num_games),
        needs_gradient=game.similarity.requires_grad and torch.is_grad_enabled(),
    )
    value_NJ = value_M.double().reshape(num_games, num_targets)
    if gradient_Mk is None:
        return value_NJ
    return WithGradient.apply(
        game.similarity, value_NJ, gradient_Mk.double().reshape(game.similarity.shape)
    )
