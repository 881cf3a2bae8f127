"""Sections: how the zero set M of a constraint F is read at points of R^D, its residual, normals and closest points.

A section s maps R^D to r = D - d coordinates, up to rotations of them from point to point, and M = {s = 0}. `spectral_section.SpectralSection` takes the
r leading left singular vectors of the Jacobian (`geometry.constant_rank`), for any F. `local_section.LocalSection` takes the blended normals of local
polynomials. Here is what a section must offer, and what they share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from topogen.geometry import constant_rank
from topogen.geometry.projection import Projection

__all__ = ["FOOT_TOLERANCE", "Approach", "Section", "inverse_of_bent", "kernel", "predicted"]

Field = Callable[[Tensor], Tensor]
_PREDICTED = 1024  # rows whose hidden layers stay in the cache
LEAST_FOOT = 0.05
# Largest |T^t (x - z)|, in units of the scale, of a closest point.
FOOT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Approach:
    """How points are brought to M: `tolerance` on the distance from M, first-order `predictor_steps`, `max_step` and `max_iterations` of Gauss-Newton,
    `scale` the unit of length, `closest`: end in the closest point."""

    tolerance: float
    predictor_steps: int
    max_step: float
    max_iterations: int
    scale: float
    closest: bool


class Section(Protocol):
    """What `ImplicitManifold` asks of a section. Points are rows (n, D) in float64, and a result holds no gradients."""

    def residual(self, x: Tensor) -> Tensor:
        """Distance (n,) from M to first order."""

    def rows(self, x: Tensor) -> Tensor:
        """Ds (n, r, D) at points of M, whose kernel is the tangent space."""

    def kept(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s (n, r), |s| the distance from M to first order, and Ds (n, r, D) at points near M, up to what vanishes on M; NaN where F is not finite."""

    def project(self, x: Tensor, how: Approach) -> Projection:
        """The points brought to M."""

    def closest_point_derivative(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """T (n, D, d), (1 + S)^-1 (n, d, d) and a mask (n,) of where 1 + S is safely positive, at points x whose closest points are z."""


def inverse_of_bent(bent: Tensor) -> tuple[Tensor, Tensor]:
    """(1 + S)^-1 (n, d, d) of S (n, d, d), and a mask (n,) of where 1 + S is safely positive; the identity stands in elsewhere."""
    identity = torch.eye(bent.shape[-1], dtype=bent.dtype, device=bent.device)
    system = identity + bent
    ok = torch.isfinite(system).all((-2, -1))
    system = torch.where(ok[:, None, None], system, identity)
    ok &= torch.linalg.eigvalsh(system)[:, 0] > LEAST_FOOT
    system = torch.where(ok[:, None, None], system, identity)
    return torch.linalg.inv(system), ok


def kernel(rows: Tensor) -> Tensor:
    """Orthonormal basis (n, D, D - r) of the kernel of (n, r, D), by complete QR of the transpose."""
    return torch.linalg.qr(rows.mT, mode="complete").Q[..., rows.shape[-2] :]


def predicted(field: Field, x: Tensor, steps: int) -> Tensor:
    """`steps` first-order steps x - J^t F from points (n, D), by the field's own `gradient` where it has one."""
    if not steps:
        return x
    with torch.no_grad():
        return torch.cat([_first_order(field, part, steps) for part in x.split(_PREDICTED)] or [x])


def _first_order(field: Field, x: Tensor, steps: int) -> Tensor:
    own = getattr(field, "gradient", None)
    for _ in range(steps):
        if own is not None:
            x = x - own(x)
            continue
        value, pull = constant_rank.pullback(field, x)
        x = x - pull(value)[0]
    return x
