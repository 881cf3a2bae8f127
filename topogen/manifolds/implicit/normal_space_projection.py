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

__all__ = ["Section", "project_along_normals"]

Section = Callable[[Tensor], tuple[Tensor, Tensor]]
_FARTHEST = 10.0


def project_along_normals(section: Section, x: Tensor, v: Tensor, normal: Tensor, tolerance: float, max_iterations: int = 10) -> tuple[Tensor, Tensor]:
    """Points y = x + v + N a (n, D) on M and a mask (n,) of those found, from x, v (n, D) and normal bases N (n, D, r).

    `section` maps rows (n, D) to (s (n, r), Ds (n, r, D)). A row is found once |s(y)| <= `tolerance` within `max_iterations` Newton steps;
    rows that leave the finite numbers or run 10 |v| away are given up. Rows that are not found come back as x.
    """
    start = x + v
    limit = _FARTHEST * v.norm(dim=-1)
    a = normal.new_zeros(len(x), normal.shape[-1])
    y, found = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    active = torch.arange(len(x), device=x.device)
    for _ in range(max_iterations + 1):
        at = start[active] + _along(normal[active], a[active])
        value, rows = section(at)
        done = value.norm(dim=-1) <= tolerance
        y[active[done]], found[active[done]] = at[done], True
        step = _newton_step(rows @ normal[active], value)
        a[active] -= step
        going = ~done & torch.isfinite(step).all(-1) & (a[active].norm(dim=-1) <= limit[active])
        active = active[going]
        if not len(active):
            break
    return y, found


def _newton_step(system: Tensor, value: Tensor) -> Tensor:
    if system.shape[-1] == 1:
        return value / system[..., 0]
    step: Tensor = torch.linalg.solve_ex(system.nan_to_num(), value.unsqueeze(-1))[0]
    return torch.where(torch.isfinite(value), step.squeeze(-1), torch.nan)


def _along(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)
