"""How far the Jacobian of a multilayer perceptron with SiLU units can move in a ball, proved layer by layer.

Let z_k be the inputs of layer k's units, h_k = s(z_k), Z_k = dz_k/dx, U_k = dh_k/dx = D_k Z_k with D_k = diag s'(z_k), and V_k = dF/dh_k, all known
exactly at the centre c. For every x with |x - c| <= rho, with row norms |W_i|, the operator norm |W| and E_k >= |U_k(x) - U_k(c)| (Frobenius),

    |Z_k,i(x)|              <=  |Z_k,i(c)| + |W_k,i| E_(k-1)                              =: r_i,   E_0 = 0
    |s'(z_k,i(x)) - s'(..c)| <=  rho r_i max{|s''(t)| : |t - z_k,i(c)| <= rho r_i}         =: b_i     (mean value theorem)
    E_k  =  ( sum_i b_i^2 r_i^2 )^(1/2)  +  max_i |s'(z_k,i(c))| |W_k| E_(k-1)
    |J(x) - J(c)|  =  | sum_k V_k(c) (D_k(x) - D_k(c)) Z_k(x) |  <=  sum_k sum_i |V_k,i(c)| b_i r_i .

The last line telescopes: before layer k everything at x, after it at c. The bound is star-shaped in rho (t rho gives at most t times as much, t <= 1),
so the function itself leaves its tangent at c by at most rho / 2 times it. s'' is even, falls from 1/2 to a shallow minimum and rises from there to 0.
Moore, Kearfott, Cloud (2009), Introduction to Interval Analysis (mean value forms); Szegedy and others (2014), Intriguing properties of neural
networks (spectral norms layer by layer).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["jacobian_enclosure", "largest_bend"]

_TAIL, _TAIL_BEND = 3.44, 0.037  # where the modulus of s'' begins to fall again, and its bound between the zero of s'' and there
_ROUNDING, _TINY = 1 + 1e-12, 1e-14
Layers = Sequence[nn.Linear]


def jacobian_enclosure(layers: Layers, skip: Tensor, y: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value (n, m), Jacobian (n, m, h) at centres y (n, h), and a bound (n,) on how far the Jacobian (operator norm) moves within `radius` (n,).

    The function is `layers` with SiLU between them plus y @ skip^t.
    """
    hidden, jacobian, moved = y, torch.eye(y.shape[1], dtype=y.dtype, device=y.device).expand(len(y), -1, -1), y.new_zeros(len(y))
    steps = []
    for layer in layers[:-1]:
        before, rows = layer(hidden), layer.weight @ jacobian
        reach = rows.norm(dim=-1) + layer.weight.norm(dim=-1) * moved.unsqueeze(1)
        change = radius.unsqueeze(1) * reach
        turned = change * largest_bend((before.abs() - change).clamp_min(0)) * reach
        gate = torch.sigmoid(before)
        hidden = before * gate
        slope = gate + hidden * (1 - gate)
        moved = turned.norm(dim=-1) + slope.abs().amax(-1) * torch.linalg.matrix_norm(layer.weight, 2) * moved
        jacobian = slope.unsqueeze(-1) * rows
        steps.append((slope, turned))
    last = layers[-1]
    return last(hidden) + y @ skip.T, last.weight @ jacobian + skip, _pulled(layers, steps)


def largest_bend(start: Tensor) -> Tensor:
    """The largest |s''(t)| over |t| >= start >= 0, s the SiLU, rounded up."""
    gate = torch.sigmoid(start)
    bend = (gate * (1 - gate) * (2 + start * (1 - 2 * gate))).abs()
    return torch.where(start < _TAIL, bend.clamp_min(_TAIL_BEND), bend) * _ROUNDING + _TINY


def _pulled(layers: Layers, steps: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """sum_k sum_i |V_k,i| b_i r_i (n,), from slopes (n, w) and b_i r_i (n, w) of the hidden layers."""
    back = layers[-1].weight.expand(len(steps[0][0]), -1, -1)
    total = torch.zeros_like(steps[0][0][:, 0])
    for layer, (slope, turned) in zip(reversed(layers[:-1]), reversed(steps), strict=True):
        total = total + (back.norm(dim=1) * turned).sum(-1)
        back = (back * slope.unsqueeze(1)) @ layer.weight
    return total * _ROUNDING
