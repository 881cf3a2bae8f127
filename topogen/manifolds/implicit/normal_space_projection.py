"""Back to the manifold along a fixed normal space: the oblique projection that makes a Metropolis step on a manifold reversible.

From x + v, v tangent at x, the solution a of

    s(x + v + N(x) a) = 0

is found by Newton's method on a, N(x) an orthonormal basis of the normal space at x and s a section whose zero set is M:
the kept section of an implicit manifold, or for any other manifold s(y) = N(p)^t (y - p) with p the projection of y, whose derivative along N(x)
is exactly N(p)^t N(x). The same start always leads to the same solution or to the same failure; that is all a reversal check needs.

Zappa, Holmes-Cerfon, Goodman (2018), Monte Carlo on manifolds: sampling densities and integrating functions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from topogen.geometry.constant_rank import value_and_jacobian
from topogen.geometry.frames import apply, complement
from topogen.geometry.newton import State, iterate, solved
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.implicit import ImplicitManifold

__all__ = ["Section", "project_along_normals", "section_of"]

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


def section_of(manifold: Manifold) -> Section:
    """A section (s, Ds) with zero set M: the kept section of an implicit manifold, the normal offset from the projection otherwise."""
    return _kept_section(manifold) if isinstance(manifold, ImplicitManifold) else _offset_section(manifold)


def _kept_section(manifold: ImplicitManifold) -> Section:
    rank = manifold.codim

    def section(y: Tensor) -> tuple[Tensor, Tensor]:
        value, rows = value_and_jacobian(manifold._field, y)
        if manifold.outputs == rank:
            return value, rows
        finite = torch.isfinite(value).all(-1) & torch.isfinite(rows).all((-2, -1))
        left = torch.linalg.svd(torch.where(finite[:, None, None], rows, 0.0), full_matrices=False)[0][..., :rank].mT
        return torch.where(finite[:, None], apply(left, value), torch.nan), left @ rows

    return section


def _offset_section(manifold: Manifold) -> Section:
    def section(y: Tensor) -> tuple[Tensor, Tensor]:
        projection = manifold.project(y)
        rows = complement(manifold.tangent_basis(projection.points)).mT
        value = apply(rows, y - projection.points)
        return torch.where(projection.converged[:, None], value, torch.nan), rows

    return section
