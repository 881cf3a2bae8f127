"""Back to the manifold along a fixed normal space: the oblique projection that makes a Metropolis step on a manifold reversible.

From x + v, v tangent at x, the solution a of

    s(x + v + N(x) a) = 0

is found by Newton's method on a, N(x) an orthonormal basis of the normal space at x and s = `Manifold.section`, whose zero set is M.
The same start always leads to the same solution or to the same failure; that is all a reversal check needs.

Zappa, Holmes-Cerfon, Goodman (2018), Monte Carlo on manifolds: sampling densities and integrating functions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from topogen.geometry.frames import apply
from topogen.geometry.newton import State, iterate, solved

__all__ = ["Section", "project_along_normals"]

Section = Callable[[Tensor], tuple[Tensor, Tensor]]
_FARTHEST = 10.0


def project_along_normals(section: Section, x: Tensor, v: Tensor, normal: Tensor, tolerance: float, max_iterations: int = 10) -> tuple[Tensor, Tensor]:
    """Points y = x + v + N a (n, D) on M and a mask (n,) of those found, from x, v (n, D) and normal bases N (n, D, r).

    `section` maps rows (n, D) to (s (n, r), Ds (n, r, D)). A row is found once |s(y)| <= `tolerance` within `max_iterations` Newton steps;
    rows that leave the finite numbers or run 10 |v| away are given up. Rows that are not found come back as x.
    """

    def step(a: Tensor, _y: Tensor, _found: Tensor, start: Tensor, normal: Tensor, limit: Tensor) -> tuple[State, Tensor]:
        y = start + apply(normal, a)
        value, rows = section(y)
        found = value.norm(dim=-1) <= tolerance
        move = solved(rows @ normal, value)
        a = a - move
        return (a, y, found), ~found & torch.isfinite(move).all(-1) & (a.norm(dim=-1) <= limit)

    start = (normal.new_zeros(len(x), normal.shape[-1]), x, torch.zeros(len(x), dtype=torch.bool, device=x.device))
    fixed = (x + v, normal, _FARTHEST * v.norm(dim=-1))
    _, y, found = iterate(step, start, fixed, max_iterations=max_iterations + 1).state
    return torch.where(found.unsqueeze(-1), y, x), found
