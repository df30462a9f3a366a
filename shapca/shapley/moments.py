"""The exact estimator's sums over players as moments of polynomials times fixed tables.

M rows (games times targets), r of them at a time, k players, T nodes of t, Q nodes of q, G cells
of y, P polynomials in a cell.

`integral.py` has the integrand. Its sums over players, of ln D and of `s t w E / D`, are sums at
the points (t, q) of functions of `y_i = ln w_i`: moments of a cell's polynomials over the players
in it, times a table (`tables.py`). A gradient, and the values of all players, take the way back: a
function of the points times a table is a polynomial in each cell, and each player takes its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from shapca.shapley.tables import NUM_POLYNOMIALS, Tables

# Elements of a block's tensors: what stays in a core's cache, or what fills a GPU.
_BLOCK = {"cpu": 2**19, "cuda": 2**26}
# Where a factor is nothing beside the others it stops here: denormal numbers would take long.
_LOG_Z = 3.4  # exp(-30)
_LOG_P = -30.0


@dataclass(frozen=True)
class _Block:
    """Some rows' players among the cells.

    Attributes:
        tables: for these players and this tau.
        basis: (r, 2, P, k) a player's Chebyshev polynomials, and those times its similarity.
        member: (r, G, k) 1 in a player's own cell, 0 everywhere for one that does not count.
        p: (r, T, Q) the product of D over those that count, times the weights of both rules.
        total: (r, T, Q) the sum of `s t w E / D`.
    """

    tables: Tables
    basis: Tensor
    member: Tensor
    p: Tensor
    total: Tensor

    def gather(self, *coefficients: Tensor) -> Tensor:
        """Each player's polynomials (r, n, P, k), from n coefficients (r, G, P)."""
        rows = len(self.member)
        flat_rGn = torch.cat(coefficients, dim=-1)
        return (flat_rGn.mT @ self.member).reshape(rows, -1, NUM_POLYNOMIALS, self.member.shape[-1])

    def spread(self, name: str, values: Tensor) -> Tensor:
        """Coefficients (r, G, P) of the values (r, T, Q) times a table, by its name."""
        rows = len(values)
        found = values.new_zeros(rows, self.tables.num_cells, NUM_POLYNOMIALS)
        for band in self.tables.bands:
            part = values[:, band.nodes].flatten(1)
            found[:, band.cells] += (part @ band.tables[name].mT).reshape(rows, -1, NUM_POLYNOMIALS)
            if name in band.above:
                found[:, band.cells.stop :, 0] += (part @ band.above[name])[:, None]
        return found


def _collect(moments: Tensor, tables: Tables, name: str) -> Tensor:
    """Moments (r, G, P) times a table, by its name: a sum over players at all points (r, T, Q)."""
    found = []
    for band in tables.bands:
        part = moments[:, band.cells].flatten(1) @ band.tables[name]
        if name in band.above and band.cells.stop < tables.num_cells:
            heavier = moments[:, band.cells.stop :, 0].sum(-1, keepdim=True)
            part.addcmul_(heavier, band.above[name])
        found.append(part)
    joined = torch.cat(found, dim=-1) if len(found) > 1 else found[0]
    return joined.reshape(len(moments), *tables.weights.shape)


def _row_blocks(s_Mk: Tensor, tables: Tables) -> Iterator[slice]:
    num_rows, num_players = s_Mk.shape
    row_size = num_players * (tables.num_cells + 4 * NUM_POLYNOMIALS) + 6 * tables.weights.numel()
    rows = max(_BLOCK.get(s_Mk.device.type, 2**26) // row_size, 1)
    for start in range(0, num_rows, rows):
        yield slice(start, start + rows)


def _open_block(s: Tensor, y: Tensor, counts: Tensor | None, tables: Tables) -> _Block:
    """Find the players' cells and what the integrand needs of all of them.

    Args:
        s: (r, k) similarities.
        y: (r, k) ln w of weights that add up to 1. Outside of the tables all of a row is NaN.
        counts: (r, k) false on players that are left out of the sums; their y is finite.
        tables: for these players and this tau.
    """
    place = y / tables.cell_width + tables.num_cells
    cell = place.floor().clamp_(0, tables.num_cells - 1)
    u = (place - cell).mul_(2).sub_(1).masked_fill_(place < -1e-3, torch.nan).to(s.dtype)
    basis = u.new_empty(len(s), 2, NUM_POLYNOMIALS, s.shape[-1])
    polynomials = basis[:, 0].unbind(1)
    polynomials[0].fill_(1)
    polynomials[1].copy_(u)
    u = u.mul_(2)
    for degree in range(2, NUM_POLYNOMIALS):
        torch.mul(u, polynomials[degree - 1], out=polynomials[degree])
        polynomials[degree].sub_(polynomials[degree - 2])
    torch.mul(basis[:, 0], s[:, None], out=basis[:, 1])
    if counts is not None:
        cell.masked_fill_(~counts, -1)
    member = (cell.to(s.dtype)[:, None] == tables.cells).to(basis.dtype)
    log_d = _collect(member @ basis[:, 0].mT, tables, "log_d")
    p = log_d.clamp_(min=_LOG_P).exp_().mul_(tables.weights)
    total = _collect(member @ basis[:, 1].mT, tables, "rho")
    return _Block(tables, basis, member, p, total)


def own_values(
    s_Mk: Tensor,
    y_Mk: Tensor,
    own_M: Tensor,
    player_mask_Mk: Tensor | None,
    temperature: float,
    tables: Tables,
    *,
    needs_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """One player's value in each row (M,) and its gradient by the row's similarities (M, k).

    The own player stays out of the sums, so that p and R are those of the others, and the value
    `sum_t [a sum_q p - c sum_q q p R]` takes its a and c from their formulas. It has the gradients
    `p a - q c p R` by a player's ln D and `-q c p` by its part of R.
    """
    players = torch.arange(s_Mk.shape[-1], device=s_Mk.device)
    s_Mk, tau = s_Mk.to(tables.q.dtype), temperature
    values, gradients = [], []
    for rows in _row_blocks(s_Mk, tables):
        s, y, own = s_Mk[rows], y_Mk[rows], own_M[rows, None]
        counts = players != own
        if player_mask_Mk is not None:
            counts &= player_mask_Mk[rows]
        block = _open_block(s, y, counts, tables)
        own_s = s.gather(1, own)
        z = (tables.log_t + y.gather(1, own).to(s.dtype)).clamp_(max=_LOG_Z).exp_()  # (r, T)
        c, e = torch.expm1(-z).neg_(), torch.exp(-z).mul_(z)
        qp = block.p * tables.q
        qpr = qp * block.total
        p_T, qpr_T, a = block.p.sum(-1), qpr.sum(-1), own_s * e
        values.append((a * p_T - c * qpr_T).sum(-1))
        if not needs_gradient:
            continue
        by_log_d = block.p.mul_(a[..., None]).addcmul_(c[..., None], qpr, value=-1)
        by_total = qp.mul_(-c[..., None])
        by_y = by_log_d.mul_(-tables.q / tau).add_(by_total)
        found = block.gather(
            block.spread("rho", by_y), block.spread("rho_slope", by_total.div_(tau))
        )
        gradient = found.mul_(block.basis).sum((1, 2))
        own_slope = e * (p_T * (1 + own_s * (1 - z) / tau) - qpr_T / tau)
        gradients.append(gradient.scatter_(1, own, own_slope.sum(-1, keepdim=True)))
    return torch.cat(values), torch.cat(gradients) if needs_gradient else None


class AllValues(torch.autograd.Function):
    """Values (M, k) of all players of each row; the sums are built anew for the gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        s_Mk: Tensor,
        y_Mk: Tensor,
        player_mask_Mk: Tensor | None,
        temperature: float,
        tables: Tables,
    ) -> Tensor:
        """phi_i is `s_i <p, alpha(y_i)> - <p R, gamma(y_i)>`, products over the points."""
        ctx.save_for_backward(s_Mk, y_Mk, player_mask_Mk)
        ctx.temperature, ctx.tables = temperature, tables
        values = []
        for rows in _row_blocks(s_Mk, tables):
            mask = None if player_mask_Mk is None else player_mask_Mk[rows]
            block = _open_block(s_Mk[rows].to(tables.q.dtype), y_Mk[rows], mask, tables)
            of_s = block.spread("alpha", block.p)
            of_1 = block.spread("gamma", block.p * -block.total)
            values.append(block.gather(of_1, of_s).mul_(block.basis).sum((1, 2)))
        return torch.cat(values).double()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Gradient of `p (A - R C)`: A, C sum `g_i s_i alpha(y_i)`, `g_i gamma(y_i)` over i."""
        s_Mk, y_Mk, player_mask_Mk = ctx.saved_tensors
        tables, tau, gradients = ctx.tables, ctx.temperature, []
        for rows in _row_blocks(s_Mk, tables):
            mask = None if player_mask_Mk is None else player_mask_Mk[rows]
            s, g = s_Mk[rows].to(tables.q.dtype), cotangent[rows].to(tables.q.dtype)
            block = _open_block(s, y_Mk[rows], mask, tables)
            weighted = block.basis * g[:, None, None]
            gain = _collect(block.member @ weighted[:, 1].mT, tables, "alpha")
            loss = _collect(block.member @ weighted[:, 0].mT, tables, "gamma")
            by_total = -block.p * loss
            by_log_d = block.p * gain + by_total * block.total
            p_q = block.p * (1 - block.total * (tables.q / tau))
            plain = block.gather(
                block.spread("rho", by_total - by_log_d * (tables.q / tau)),
                block.spread("rho_slope", by_total / tau),
            )
            times_g = block.gather(
                block.spread("alpha", p_q), block.spread("alpha_slope", block.p / tau)
            )
            gradients.append((plain + g[:, None, None] * times_g).mul_(block.basis).sum((1, 2)))
        return torch.cat(gradients).double(), None, None, None, None
