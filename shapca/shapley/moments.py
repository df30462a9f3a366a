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
from torch.nn import functional

from shapca.shapley.tables import NUM_POLYNOMIALS, Tables

# Elements of a block's tensors: what stays in a cache, or what fills a GPU.
_BLOCK = {"cpu": 2**22, "cuda": 2**27}
_LEAST = 1e-11  # a factor below is 0: denormal numbers would take a core long
_LOG_LARGEST = 3.4  # ln (t w); exp(-30) is as little


@dataclass(frozen=True)
class _Block:
    """Some rows' players among the cells.

    Attributes:
        tables: for these players and this tau.
        s: (r, k) similarities.
        basis: (r, P, k) a player's polynomials.
        member: (r, G, k) 1 in a player's own cell, 0 everywhere for one that does not count.
        p: (r, T, Q) the product of D over those that count, times the weights of both rules.
        total: (r, T, Q) the sum of `s t w E / D`.
    """

    tables: Tables
    s: Tensor
    basis: Tensor
    member: Tensor
    p: Tensor
    total: Tensor

    def spread(self, name: str, values: Tensor) -> Tensor:
        """Each player's polynomials (r, P, k) of values (r, T, Q) times a table, by its name."""
        rows, num_cells = len(values), self.tables.num_cells
        parts = []
        for band in self.tables.bands:
            part = values[:, band.nodes].flatten(1)
            inside = (part @ band.tables[name].mT).reshape(rows, NUM_POLYNOMIALS, -1)
            if inside.shape[-1] < num_cells:
                around = (band.cells.start, num_cells - band.cells.stop)
                inside = functional.pad(inside, around)
                if name in band.above:
                    inside[:, 0, band.cells.stop :] += (part @ band.above[name])[:, None]
            parts.append(inside)
        return sum(parts[1:], parts[0]) @ self.member

    def sum_polynomials(self, once: Tensor, times_s: Tensor) -> Tensor:
        """A number (r, k) for each player from its polynomials (r, P, k), some to count s times."""
        return once.addcmul_(times_s, self.s[:, None]).mul_(self.basis).sum(1)


def _collect(moments: Tensor, tables: Tables, name: str) -> Tensor:
    """Moments (r, P, G) times a table, by its name: a sum over players at all points (r, T, Q)."""
    parts = []
    for band in tables.bands:
        part = moments[:, :, band.cells].flatten(1) @ band.tables[name]
        if name in band.above and band.cells.stop < tables.num_cells:
            heavier = moments[:, 0, band.cells.stop :].sum(-1, keepdim=True)
            part.addcmul_(heavier, band.above[name])
        parts.append(part)
    joined = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
    return joined.reshape(len(moments), *tables.weights.shape)


def _row_blocks(s_Mk: Tensor, tables: Tables) -> Iterator[slice]:
    num_rows, num_players = s_Mk.shape
    row_size = num_players * (tables.num_cells + 4 * NUM_POLYNOMIALS) + 6 * tables.weights.numel()
    rows = max(_BLOCK.get(s_Mk.device.type, 2**22) // row_size, 1)
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
    u = (place - cell).masked_fill_(place < -1e-3, torch.nan).mul_(4).sub_(2).to(s.dtype)  # 2 u
    basis = u.new_empty(len(s), NUM_POLYNOMIALS, s.shape[-1])
    polynomials = basis.unbind(1)
    polynomials[0].fill_(1)
    torch.mul(u, 0.5, out=polynomials[1])
    for n in range(2, NUM_POLYNOMIALS):
        sign = 1 if n % 2 else -1
        torch.addcmul(polynomials[n - 2], u, polynomials[n - 1], value=sign, out=polynomials[n])
    member = s.new_zeros(len(s), tables.num_cells, s.shape[-1])
    index = cell.nan_to_num_(0.0).long()[:, None]
    if counts is None:
        member.scatter_(1, index, 1.0)
    else:
        member.scatter_(1, index, counts.to(s.dtype)[:, None])
    log_d = _collect(basis @ member.mT, tables, "log_d")
    p = torch.threshold_(log_d.clamp_(min=-26.0).exp_(), _LEAST, 0.0).mul_(tables.weights)
    total = _collect((basis * s[:, None]) @ member.mT, tables, "rho")
    return _Block(tables, s, basis, member, p, total)


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
    `p a - q c p R` by a player's ln D, which has the slope `-q rho`, and `-q c p` by R.
    """
    players = torch.arange(s_Mk.shape[-1], device=s_Mk.device)
    s_Mk, q, tau = s_Mk.to(tables.q.dtype), tables.q, temperature
    values, gradients = [], []
    for rows in _row_blocks(s_Mk, tables):
        s, y, own = s_Mk[rows], y_Mk[rows], own_M[rows, None]
        counts = players != own
        if player_mask_Mk is not None:
            counts &= player_mask_Mk[rows]
        block = _open_block(s, y, counts, tables)
        own_s = s.gather(1, own)
        log_z = tables.log_t + y.gather(1, own).to(s.dtype)
        z = torch.threshold_(log_z.clamp_(-26.0, _LOG_LARGEST).exp_(), _LEAST, 0.0)  # (r, T)
        c, e = torch.expm1(-z).neg_(), torch.exp(-z).mul_(z)
        a, pr = own_s * e, block.p * block.total
        p_T, qpr_T = block.p @ torch.ones_like(q), pr @ q
        values.append((a * p_T - c * qpr_T).sum(-1))
        if not needs_gradient:
            continue
        qp = block.p.mul_(q)
        by_y = pr.mul_(q * q).mul_((c / tau)[..., None])
        by_y.addcmul_(qp, (c + a / tau)[..., None], value=-1)
        times_s = block.spread("rho_slope", qp.mul_((c / -tau)[..., None]))
        gradient = block.sum_polynomials(block.spread("rho", by_y), times_s)
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
            of_1 = block.spread("gamma", block.p * -block.total)
            values.append(block.sum_polynomials(of_1, block.spread("alpha", block.p)))
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
            counted, q = block.member.mT * g[..., None], tables.q
            loss = _collect(block.basis @ counted, tables, "gamma")
            gain = _collect((block.basis * s[:, None]) @ counted, tables, "alpha")
            by_total = -block.p * loss
            by_log_d = block.p * gain + by_total * block.total
            plain = block.sum_polynomials(
                block.spread("rho", by_total - by_log_d * (q / tau)),
                block.spread("rho_slope", by_total / tau),
            )
            times_g = block.sum_polynomials(
                block.spread("alpha", block.p * (1 - block.total * (q / tau))),
                block.spread("alpha_slope", block.p / tau),
            )
            gradients.append(plain + g * times_g)
        return torch.cat(gradients).double(), None, None, None, None
