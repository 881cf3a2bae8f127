"""Which zeros of an overcomplete constraint belong to the manifold.

With m > r outputs the kept section s = Pi_r F also vanishes, on whole open sets, where the r leading singular vectors of J turn away from the normal
space (inside a tube, past half of its radius, where curvature makes tangential singular values the larger ones). There the full residual |F| is as large as the
distance to M, on M it is small: a zero of s belongs to M only while |F| stays within a few times what it is at points known to be on M.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.geometry.clouds.point_clouds import even_rows
from topogen.manifolds.base import Manifold

__all__ = ["full_residual_bound", "is_valid_zero"]

_MARGIN = 4.0
_FLOOR = 1e-6
_SOME = 256


def full_residual_bound(manifold: Manifold, points: Tensor) -> float:
    """Four times the largest |F| at points (n, D) of M, plus 1e-6 scale times the slope of F there; infinite where |F| says nothing more than |s|."""
    if manifold.constraint is None or manifold.regular or not len(points):
        return torch.inf
    slope = float(manifold.spectrum(points[even_rows(len(points), _SOME)])[:, : manifold.codim].median())
    return _MARGIN * float(manifold.full_residual(points).max()) + _FLOOR * manifold.scale * slope


def is_valid_zero(manifold: Manifold, points: Tensor, bound: Tensor | float) -> Tensor:
    """Mask (n,) of the zeros (n, D) whose full residual is within the bound."""
    if manifold.constraint is None or manifold.regular:
        return torch.ones(len(points), dtype=torch.bool, device=points.device)
    return manifold.full_residual(points) <= bound
