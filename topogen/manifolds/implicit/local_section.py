"""The section of a local polynomial constraint: s = Q^t G, Q the r = h - d leading eigenvectors of the blended projectors A = sum_i w_i N_i N_i^t / sum_i w_i.

On M, where s = 0, with g_j = u_j^t G the part of G along the other eigenvectors (how far the sheets disagree along M, nearly nothing),

    Ds_i = u_i^t DG + sum_j g_j / (lambda_i - lambda_j) u_i^t DA u_j          i kept, j not

needs first derivatives of the weights and of the sheets only, so tangents are exact at the price of one Jacobian. A projection solves s(z) = 0 and
T^t (x - z) = 0 together: z moves by -Ds^+ s along the normals and by T (1 + S)^-1 T^t (x - z) along M. S comes from the second derivatives of the sheets
alone, without those of the weights: that changes the rate of convergence, not the limit. Everything happens in coordinates of the hull, which holds M.
Kato (1966), Perturbation Theory for Linear Operators; Fefferman et al. (2018), Fitting a putative manifold to noisy data.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.frames import apply, orthonormal
from topogen.geometry.newton import State, clipped, iterate
from topogen.geometry.projection import Projection
from topogen.manifolds.implicit.local_constraint import Blend, LocalPolynomialConstraint
from topogen.manifolds.implicit.section import FOOT_TOLERANCE, Approach, inverse_of_bent

__all__ = ["LocalSection"]

_DIFFERENCE = 1e-4
_CHUNK = 2048


class _Normal(NamedTuple):
    """At n points: `s` (n, r), `rows` Ds (n, r, h), `tangent` T (n, h, d), `inverse` of Ds Ds^t (n, r, r), `turn` N_i^t Q (p, r, r)."""

    s: Tensor
    rows: Tensor
    tangent: Tensor
    inverse: Tensor
    turn: Tensor


class LocalSection:
    """The section of a `constraint`; points are rows (n, D) in float64."""

    def __init__(self, constraint: LocalPolynomialConstraint) -> None:
        self.constraint = constraint

    def residual(self, x: Tensor) -> Tensor:
        """|s| (n,), the distance from the hull included."""
        return self.kept(x)[0].norm(dim=-1)

    def kept(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s (n, D - d) and Ds (n, D - d, D); NaN where x is not finite."""
        f = self.constraint
        finite = torch.isfinite(x).all(-1)
        x = torch.where(finite[:, None], x, 0.0)
        parts = self._normals(x)
        s, rows = torch.cat([part.s for part in parts]), torch.cat([part.rows for part in parts]) @ f.hull.mT
        if f.outside.shape[1]:
            s = torch.cat([s, (x - f.mean) @ f.outside], 1)
            rows = torch.cat([rows, f.outside.mT.expand(len(x), -1, -1)], 1)
        return torch.where(finite[:, None], s, torch.nan), rows

    def rows(self, x: Tensor) -> Tensor:
        """Ds (n, D - d, D), exact on M."""
        return self.kept(x)[1]

    @torch.no_grad()
    def _normals(self, x: Tensor) -> list[_Normal]:
        """What is known at points (n, D), chunk by chunk; one empty chunk where there are none."""
        return [self._normal(self.constraint.blend(y)) for y in self.constraint.inner(x.detach()).split(_CHUNK)]

    def _normal(self, at: Blend) -> _Normal:
        f = self.constraint
        values, vectors = self._axes(at)
        along, kept = vectors[..., : f.dim], vectors[..., f.dim :]
        rest, s = apply(along.mT, at.value), apply(kept.mT, at.value)
        gap = values[:, f.dim :].unsqueeze(1) - values[:, : f.dim].unsqueeze(2)
        # Columns b_i = sum_j u_j g_j / (lambda_i - lambda_j): what the change of the projector acts on.
        pushed = along @ (rest.unsqueeze(2) / gap.clamp_min(1e-300))
        turned = at.normal.mT @ torch.cat([kept, pushed], 2)[at.row]
        turn = turned[..., : f.codim]
        disagreement = (turn * (at.height.unsqueeze(2) + turned[..., f.codim :])).sum(1) - s[at.row]
        change = (at.weight[:, None, None] * turn).mT @ f.rises(at)
        rows = at.gathered(change.addcmul_(disagreement.unsqueeze(2), at.slope.unsqueeze(1)))
        inverse = torch.linalg.inv_ex(rows @ rows.mT)[0]
        tangent = orthonormal(along - rows.mT @ (inverse @ (rows @ along)))
        return _Normal(s, rows, tangent, inverse, turn)

    def _axes(self, at: Blend) -> tuple[Tensor, Tensor]:
        """Eigenvalues (n, h), ascending, and eigenvectors of A."""
        normal = at.normal
        values, vectors = torch.linalg.eigh(at.gathered((normal * at.weight[:, None, None]) @ normal.mT))
        return values, vectors

    @torch.no_grad()
    def project(self, x: Tensor, how: Approach) -> Projection:
        """Predictor steps y - G(y), then the two equations together; without `closest` the first alone."""
        f = self.constraint
        parts = [self._project(y, how) for y in f.inner(x).split(_CHUNK)]
        points, residual, converged, iterations = (torch.cat(fields) for fields in zip(*parts, strict=True))
        return Projection(f.outer(points), residual, converged, iterations)

    def _project(self, x: Tensor, how: Approach) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        f, enough = self.constraint, FOOT_TOLERANCE * how.scale
        z = x
        for _ in range(how.predictor_steps):
            z = z - f.blend(z).value

        def step(z: Tensor, residual: Tensor, last: Tensor, shape: Tensor, x: Tensor) -> tuple[State, Tensor]:
            at = f.blend(z)
            normal = self._normal(at)
            residual, move = normal.s.norm(dim=1), -(normal.rows.mT @ (normal.inverse @ normal.s.unsqueeze(2))).squeeze(2)
            arrived = residual <= how.tolerance
            if how.closest:
                slope = apply(normal.tangent.mT, x - z)
                # 1 + S is that of the first round: it decides how fast the moves shrink, not where they end.
                shape = self._inverse(at, normal, x - z) if bool(torch.isinf(last).any()) else shape
                move = move + apply(normal.tangent, apply(shape, slope))
                arrived &= slope.norm(dim=1) <= enough
            length = move.norm(dim=1)
            # Moves that shrink at the rate seen leave less than |move| rate; the first move tells no rate.
            rate = torch.where(torch.isinf(last), 1.0, length / last).clamp(max=1.0)
            nearly = length * rate <= 0.1 * min(enough, how.tolerance)
            moved = torch.where(arrived.unsqueeze(1), z, z + clipped(move, how.max_step))
            return (moved, residual, length, shape), ~arrived & ~nearly & torch.isfinite(length)

        unknown = x.new_full((len(x),), torch.inf)
        start = (z, unknown, unknown, torch.eye(f.dim, dtype=x.dtype, device=x.device).expand(len(x), -1, -1))
        found = iterate(step, start, (x,), max_iterations=how.max_iterations, active=torch.isfinite(z).all(1))
        finite = torch.isfinite(found.state[0]).all(1)
        points = torch.where(finite.unsqueeze(1), found.state[0], x)
        residual = torch.where(finite, self._kept_residual(torch.nan_to_num(points)), torch.inf)
        return points, residual, (residual <= how.tolerance) & ~found.active, found.steps + how.predictor_steps

    def _kept_residual(self, y: Tensor) -> Tensor:
        """|s| (n,) by values alone."""
        at = self.constraint.blend(y)
        return apply(self._axes(at)[1][..., self.constraint.dim :].mT, at.value).norm(dim=1)

    def _inverse(self, at: Blend, normal: _Normal, back: Tensor) -> Tensor:
        """(1 + S)^-1 (n, d, d), S = T^t (mu . D^2 s) T with Ds^t mu = x - z = `back`, from the second derivatives of the sheets."""
        f = self.constraint
        mu = apply(normal.inverse, apply(normal.rows, back))
        weight = -at.weight.unsqueeze(1) * apply(normal.turn, mu[at.row])
        along = at.frame[..., : f.dim].mT @ normal.tangent[at.row]
        return inverse_of_bent(at.gathered(along.mT @ f.bends(at, weight) @ along))[0]

    @torch.no_grad()
    def closest_point_derivative(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The factors of Dz = T (1 + S)^-1 T^t, S = -<x - z, II>, the second fundamental form by central differences of the exact normals along T."""
        f = self.constraint
        z = z.detach()
        basis = self._tangents(z)
        back, step = x.detach() - z, _DIFFERENCE * float(f.support.min())
        columns = []
        for i in range(f.dim):
            ahead, behind = (self._tangential(z + sign * step * basis[..., i], back) for sign in (1, -1))
            columns.append(apply(basis.mT, (ahead - behind) / (2 * step)))
        bent = -torch.stack(columns, 2)
        return basis, *inverse_of_bent((bent + bent.mT) / 2)

    def _tangential(self, y: Tensor, v: Tensor) -> Tensor:
        """T T^t v (n, D) at points y."""
        tangent = self._tangents(y)
        return apply(tangent, apply(tangent.mT, v))

    def _tangents(self, x: Tensor) -> Tensor:
        return self.constraint.hull @ torch.cat([part.tangent for part in self._normals(x)])
