"""The section of any constraint F: s = Pi_r F, Pi_r the projector on the r leading left singular vectors of its Jacobian (`geometry.constant_rank`).

Projection of a field that offers its second derivatives: both equations of a closest point together (`joint_rounds`). Otherwise, and for points that do not
end there: a few first-order steps x - J^t F where J J^t is near the identity on the normal space, then Gauss-Newton on s with backtracking, then Newton on
the foot-point equation T^t (x - z) = 0.
Boumal (2023), An Introduction to Optimization on Smooth Manifolds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from topogen.geometry import constant_rank
from topogen.geometry.constant_rank import Frame
from topogen.geometry.frames import apply
from topogen.geometry.newton import State, iterate, select_rows
from topogen.geometry.projection import Projection
from topogen.manifolds.implicit.joint_rounds import taken_together
from topogen.manifolds.implicit.section import Approach, inverse_of_bent, kernel, predicted

__all__ = ["SpectralSection"]

Field = Callable[[Tensor], Tensor]


class SpectralSection:
    """s = Pi_r F with Pi_r the projector on the r = `rank` leading left singular vectors of the Jacobian of the `field`, rows (n, D) -> (n, m)."""

    def __init__(self, field: Field, rank: int) -> None:
        self.field, self.rank = field, rank

    def frame(self, x: Tensor) -> Frame:
        """Singular frame of the Jacobian."""
        return constant_rank.frame(self.field, x, self.rank)

    def residual(self, x: Tensor) -> Tensor:
        """Distance (n,) to first order, |S_r^-1 U_r^t F|."""
        return self.frame(x).distance

    def rows(self, x: Tensor) -> Tensor:
        """Ds (n, r, D), the change of Pi_r included."""
        return constant_rank.exact_derivative(self.field, x, self.frame(x))

    def kept(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s (n, r) and its rows (n, r, D), scaled to orthonormal rows, so that |s| is the distance to first order; NaN where F or J are not finite."""
        value, rows = constant_rank.value_and_jacobian(self.field, x)
        finite = torch.isfinite(value).all(-1) & torch.isfinite(rows).all((-2, -1))
        rows = torch.where(finite[:, None, None], rows, 0.0)
        if value.shape[-1] > self.rank:
            left, sigma, _ = torch.linalg.svd(rows, full_matrices=False)
            turn = left[..., : self.rank].mT / sigma[:, : self.rank, None]
        elif self.rank == 1:
            turn = 1 / rows.norm(dim=-1, keepdim=True)
        else:
            factor, info = torch.linalg.cholesky_ex(rows @ rows.mT)
            turn = torch.linalg.inv_ex(torch.where((info == 0)[:, None, None], factor, torch.nan))[0]
        return torch.where(finite[:, None], apply(turn, value), torch.nan), turn @ rows

    def project(self, x: Tensor, how: Approach) -> Projection:
        """The points brought to M: all at once where the field has a `jet`, one thing after the other for what is left and for other fields."""
        if not (how.closest and len(x) and hasattr(self.field, "jet")):
            return self._in_turn(x, how)
        found = taken_together(self.field, self.rank, x, how)
        if bool(found.converged.all()):
            return found
        left = ~found.converged
        again = self._in_turn(x[left], how)
        again = again.scatter(left, found.points)
        state = select_rows(left, _parts(again), _parts(found))
        return Projection(*state)

    def _in_turn(self, x: Tensor, how: Approach) -> Projection:
        """Predictor, Gauss-Newton with backtracking and, for `closest`, Newton on the foot-point equation."""
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


def _parts(found: Projection) -> State:
    return found.points, found.residual, found.converged, found.iterations
