"""Sections: how the zero set M of a constraint F is read at points of R^D, its residual, normals and closest points.

A section s maps R^D to r = D - d coordinates, up to rotations of them from point to point, and M = {s = 0}. `SpectralSection` takes the r leading left
singular vectors of the Jacobian (`geometry.constant_rank`), for any F. `manifolds.implicit.local_section.LocalSection` takes the blended normals of local
polynomials.

Projection: a few first-order steps x - J^t F where J J^t is near the identity on the normal space, then Gauss-Newton on s, then Newton on the
foot-point equation T^t (x - z) = 0, so that the result is the closest point.
Boumal (2023), An Introduction to Optimization on Smooth Manifolds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from topogen.geometry import constant_rank
from topogen.geometry.constant_rank import Frame
from topogen.geometry.frames import apply
from topogen.geometry.newton import State, iterate, select_rows
from topogen.geometry.projection import Projection

__all__ = ["Approach", "Section", "SpectralSection", "kernel"]

Field = Callable[[Tensor], Tensor]
_PREDICTED = 1024  # rows whose hidden layers stay in the cache
LEAST_FOOT = 0.05


@dataclass(frozen=True)
class Approach:
    """How points are brought to M: `tolerance` on |s|, first-order `predictor_steps`, `max_step` and `max_iterations` of Gauss-Newton, `scale` the unit of
    length, `closest`: end in the closest point."""

    tolerance: float
    predictor_steps: int
    max_step: float
    max_iterations: int
    scale: float
    closest: bool


class Section(Protocol):
    """What `ImplicitManifold` asks of a section. Points are rows (n, D) in float64, and a result holds no gradients."""

    def residual(self, x: Tensor) -> Tensor:
        """|s| (n,)."""

    def rows(self, x: Tensor) -> Tensor:
        """Ds (n, r, D) at points of M, whose kernel is the tangent space."""

    def kept(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s (n, r) and Ds (n, r, D) at points near M, up to what vanishes on M; NaN where F is not finite."""

    def project(self, x: Tensor, how: Approach) -> Projection:
        """The points brought to M."""

    def closest_point_derivative(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """T (n, D, d), (1 + S)^-1 (n, d, d) and a mask (n,) of where 1 + S is safely positive, at points x whose closest points are z."""


class SpectralSection:
    """s = Pi_r F with Pi_r the projector on the r = `rank` leading left singular vectors of the Jacobian of the `field`, rows (n, D) -> (n, m)."""

    def __init__(self, field: Field, rank: int) -> None:
        self.field, self.rank = field, rank

    def frame(self, x: Tensor) -> Frame:
        """Singular frame of the Jacobian."""
        return constant_rank.frame(self.field, x, self.rank)

    def residual(self, x: Tensor) -> Tensor:
        """|s| (n,)."""
        return self.frame(x).residual

    def rows(self, x: Tensor) -> Tensor:
        """Ds (n, r, D), the change of Pi_r included."""
        return constant_rank.exact_derivative(self.field, x, self.frame(x))

    def kept(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s (n, r) and Pi_r J (n, r, D) in coordinates of U_r (F and J themselves where m = r)."""
        value, rows = constant_rank.value_and_jacobian(self.field, x)
        if value.shape[-1] == self.rank:
            return value, rows
        finite = torch.isfinite(value).all(-1) & torch.isfinite(rows).all((-2, -1))
        left = torch.linalg.svd(torch.where(finite[:, None, None], rows, 0.0), full_matrices=False)[0][..., : self.rank].mT
        return torch.where(finite[:, None], apply(left, value), torch.nan), left @ rows

    def project(self, x: Tensor, how: Approach) -> Projection:
        """Predictor, Gauss-Newton and, for `closest`, Newton on the foot-point equation."""
        start = predicted(self.field, x, how.predictor_steps)
        start = torch.where(torch.isfinite(start).all(-1, keepdim=True), start, x)
        found = constant_rank.newton(self.field, start, self.rank, how.tolerance, how.max_iterations, how.max_step)
        return self._foot(x, found, how) if how.closest else found

    def _foot(self, x: Tensor, found: Projection, how: Approach, rounds: int = 6) -> Projection:
        """Newton on T^t (x - z) = 0 inside M for converged samples; a sample keeps its point where M curves too much for a closest point to be there."""

        def correct(z: Tensor, residual: Tensor, iterations: Tensor, x: Tensor, move: Tensor) -> tuple[State, Tensor]:
            again = constant_rank.newton(self.field, z + move, self.rank, how.tolerance, how.max_iterations, how.max_step)
            better = again.converged & ((again.points - x).norm(dim=-1) <= (x - z).norm(dim=-1) * (1 + 1e-12))
            return select_rows(better, (again.points, again.residual, iterations + again.iterations + 1), (z, residual, iterations)), better

        def step(z: Tensor, residual: Tensor, iterations: Tensor, x: Tensor) -> tuple[State, Tensor]:
            move, ok = self._foot_step(x, z)
            ok &= move.norm(dim=-1) > 1e-9 * (1e-3 * how.scale + (x - z).norm(dim=-1))
            corrected = iterate(correct, (z, residual, iterations), (x, move), max_iterations=1, active=ok)
            return corrected.state, corrected.active

        start = (found.points, found.residual, found.iterations)
        points, residual, iterations = iterate(step, start, (x,), max_iterations=rounds, active=found.converged).state
        return Projection(points, residual, found.converged, iterations)

    def _foot_step(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        basis, inverse, ok = self.closest_point_derivative(x, z)
        slope = basis.mT @ (x - z).unsqueeze(-1)
        return (basis @ (inverse @ slope)).squeeze(-1), ok

    def closest_point_derivative(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The factors of Dz = T (1 + S)^-1 T^t, S = T^t (lambda . D^2 s) T, x - z = Ds^t lambda; the identity stands where 1 + S is not safely positive."""
        at = self.frame(z)
        rows = constant_rank.exact_derivative(self.field, z, at)
        basis = kernel(rows)
        multiplier = torch.linalg.lstsq(rows.mT, (x - z).unsqueeze(-1)).solution.squeeze(-1)
        output = (at.left[..., : self.rank] @ multiplier.unsqueeze(-1)).squeeze(-1)
        return basis, *inverse_of_bent(constant_rank.shape_operator(self.field, z, output, basis))


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
