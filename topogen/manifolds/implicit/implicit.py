"""`ImplicitManifold`: the zero set of a constraint F: R^D -> R^m, learned or given, read with constant rank r = D - d.

M = {x : s(x) = 0}, s(x) = Pi_r(x) F(x), Pi_r the projector on the r leading left singular vectors of the Jacobian J(x) (`geometry.constant_rank`).
Projection: a few first-order steps x - J^t F where J J^t is near the identity on the normal space, then Gauss-Newton on s and Newton on the foot-point
equation T^t (x - z) = 0, together for learned constraints, so that the result is the closest point, whose derivative is

    Dz = T (1 + S)^-1 T^t,      S = T^t (lambda . D^2 s) T,   x - z = Ds^t lambda.

All arithmetic is float64 whatever the network was trained in. Every tolerance is about the kept residual |S_r^-1 U_r^t F|, the distance from M to first
order, which does not depend on a factor of F; the full residual |F|, the gap
of the spectrum and the tilt between the tangents of s and those of the truncated J are reported per point.
Boumal (2023), An Introduction to Optimization on Smooth Manifolds; Foote (1984), Regularity of the distance function.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.geometry import constant_rank
from topogen.geometry.constant_rank import Frame
from topogen.geometry.curvature import second_fundamental_form
from topogen.geometry.derivatives import CURVATURE, FRAMES, Linear, differentiable_closest, underived
from topogen.geometry.frames import apply, orthonormal, tilt
from topogen.geometry.projection import Projection
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.local_constraint import LocalPolynomialConstraint
from topogen.manifolds.implicit.local_section import LocalSection
from topogen.manifolds.implicit.section import Approach, Section, kernel, predicted
from topogen.manifolds.implicit.spectral_section import SpectralSection

__all__ = ["ImplicitManifold"]

Field = Callable[[Tensor], Tensor]
_CHUNK = 8192


class ImplicitManifold(Manifold):
    """The d-dimensional zero set of a constraint in R^D.

    Args:
        constraint: F, a callable on rows (n, D) -> (n, m) with m >= D - d, differentiable by torch; a module is copied, frozen and made float64.
            A callable on single points (D,) -> (m,) or (D,) -> () is vectorised.
        dim: d, the dimension of M.
        ambient_dim: D; read from `constraint.ambient_dim` when it is None and the constraint has it.
        gate: where M ends, for manifolds with boundary; points off the gate do not count as converged.
        predictor_steps: first-order steps before Gauss-Newton; sensible only where J J^t is near the identity (learned constraints), else 0.
        max_step: longest Gauss-Newton step (data units).
        max_iterations: Gauss-Newton iterations before a sample is given up.
        scale: unit of length; tolerances and steps are relative to it (kept residual <= 1e-9 scale in float64).
        full_tolerance: largest full residual |F| (data units) of a point of M. An overcomplete section can vanish away from M, where the r leading
            directions are no longer the normal ones; there |F| is far above what it is on M.
        closest: end in the closest point of M; otherwise wherever Gauss-Newton lands (third order close to it).

    Raises InvalidInputError for a constraint with fewer outputs than D - d or of the wrong shape.
    """

    name = "implicit"
    constraint: Field

    def __init__(
        self,
        constraint: Field,
        dim: int,
        ambient_dim: int | None = None,
        *,
        gate: Gate | None = None,
        predictor_steps: int = 0,
        max_step: float = torch.inf,
        max_iterations: int = 50,
        scale: float = 1.0,
        full_tolerance: float = torch.inf,
        closest: bool = True,
    ) -> None:
        ambient_dim = ambient_dim if ambient_dim is not None else getattr(constraint, "ambient_dim", None)
        if not isinstance(ambient_dim, int):
            raise InvalidInputError("ambient_dim: needed because the constraint has no attribute `ambient_dim`; pass ambient_dim=D")
        if not 0 < dim < ambient_dim:
            raise InvalidInputError(f"dim: expected 0 < dim < ambient_dim = {ambient_dim}, found {dim}")
        super().__init__(dim, ambient_dim)
        self.constraint = _frozen(constraint)
        self.gate = gate
        self.predictor_steps, self.max_step, self.max_iterations = predictor_steps, max_step, max_iterations
        self.scale, self.full_tolerance, self.closest = scale, full_tolerance, closest
        self._field, self.outputs = _vectorised(self.constraint, ambient_dim)
        self._section: Section = _section_of(self.constraint, self._field, self.codim)
        if self.outputs < self.codim:
            raise InvalidInputError(
                f"constraint: {self.outputs} outputs cannot cut a {dim}-dimensional set out of R^{ambient_dim}; it needs at least {self.codim}"
            )

    @property
    def regular(self) -> bool:
        """Whether the constraint has as many outputs as there are normals (m = r); F is then its own section."""
        return self.outputs == self.codim

    @property
    def orientable(self) -> bool | None:
        """True for a regular constraint, whose gradients orient the normal bundle; unknown otherwise."""
        return True if self.regular else None

    @property
    def unit(self) -> float:
        """`scale`."""
        return self.scale

    def tolerance(self, dtype: torch.dtype) -> float:
        """Kept residual (data units) up to which a point counts as on M: 1e-9 scale in float64, 1e-5 scale in float32."""
        return self.scale * super().tolerance(dtype)

    def value(self, x: Tensor) -> Tensor:
        """F(x) (..., m), differentiable, in the dtype of x."""
        return self._field(self.as_rows(x).double()).to(x.dtype).reshape(*x.shape[:-1], self.outputs)

    def frame(self, x: Tensor) -> Frame:
        """Singular frame of J at points (n, D) in float64: value, left, values, right (`geometry.constant_rank.Frame`)."""
        return _chunked(lambda part: constant_rank.frame(self._field, part, self.codim), self.as_rows(x).detach().double())

    def spectrum(self, x: Tensor) -> Tensor:
        """Singular values (..., min(m, D)) of J, descending; the first D - d are kept."""
        values = self.frame(x).values
        return values.reshape(*x.shape[:-1], values.shape[-1]).to(x.dtype)

    def gap(self, x: Tensor) -> Tensor:
        """sigma_r / sigma_{r+1} (...), infinite where there is no next singular value: how clearly the rank is r."""
        values = self.spectrum(x)
        if values.shape[-1] == self.codim:
            return values.new_full(values.shape[:-1], torch.inf)
        return values[..., self.codim - 1] / values[..., self.codim].clamp_min(torch.finfo(values.dtype).tiny)

    def kept_residual(self, x: Tensor) -> Tensor:
        """Distance (...) of points from M to first order, |S_r^-1 U_r^t F|: the residual every tolerance is about."""
        return _chunked_tensor(self._section.residual, self.as_rows(x).detach().double()).reshape(x.shape[:-1]).to(x.dtype)

    def full_residual(self, x: Tensor) -> Tensor:
        """|F(x)| (...); it need not vanish on M when m > D - d."""
        return self.value(x.detach()).norm(dim=-1)

    def local_dim(self, x: Tensor) -> Tensor:
        """Dimension (...) int64 of the zero set at points near it: D minus the number of singular values above the widest gap of the spectrum.

        Gaps below a thousandth of the largest value are not looked at: what is that small is none of the constraint's directions.
        A constraint learned with m = D outputs has values near 1 on the normal space and near 0 along M, so pieces of different dimension show
        different ranks. A constraint with m < D can only tell dimensions from D - m upwards.
        """
        values = self.spectrum(x)
        if values.shape[-1] == 1:
            return torch.full(x.shape[:-1], self.ambient_dim - 1, dtype=torch.int64, device=x.device)
        floor = values[..., :1].clamp_min(torch.finfo(values.dtype).tiny) * 1e-3
        values = torch.maximum(values, floor)
        padded = torch.cat([values, floor], -1) if values.shape[-1] < self.ambient_dim else values
        rank = (padded[..., :-1] / padded[..., 1:]).argmax(-1) + 1
        return self.ambient_dim - rank

    def tilt(self, x: Tensor) -> Tensor:
        """Angle (...) in degrees at points of M between the exact tangents (kernel of Ds) and the kernel of the truncated J."""
        flat = self.as_rows(x).detach().double()
        if self.regular:
            return x.new_zeros(x.shape[:-1])
        angles = _chunked_tensor(
            lambda part: tilt(self._exact_normals(part), constant_rank.frame(self._field, part, self.codim).right[..., : self.codim]), flat
        )
        return torch.rad2deg(angles).to(x.dtype).reshape(x.shape[:-1])

    def predict(self, x: Tensor, steps: int = 1) -> Tensor:
        """`steps` first-order steps x - J^t F in the dtype of x: one forward and one backward pass each, no Jacobian, no test of convergence."""
        field = self._field if x.dtype == torch.float64 else _cast(self.constraint, self._field, x.dtype)
        return predicted(field, self.as_rows(x).detach(), steps).reshape(x.shape)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Retraction: x + u brought to the closest point of the zero set, without gate; strict like `projx`."""
        return self._without_gate().projx(x + u)

    def with_fast_projection(self, *, gated: bool = True, predicted: bool = True) -> ImplicitManifold:
        """The same manifold, sharing its constraint, whose projection ends wherever Gauss-Newton lands (third order close to the closest point).

        `gated`, `predicted`: whether it keeps the gate and the predictor steps.
        """
        other = self._shared() if gated else self._without_gate()
        other.closest = False
        if not predicted:
            other.predictor_steps = 0
        return other

    def _without_gate(self) -> ImplicitManifold:
        other = self._shared()
        other.gate = None
        return other

    def _shared(self) -> ImplicitManifold:
        """A copy that shares the constraint."""
        other = copy.copy(self)
        other._modules = dict(self._modules)
        return other

    def _project(self, x: Tensor) -> Projection:
        found = differentiable_closest(x.double(), self._sought, self.scale)
        return replace(found, points=found.points.to(x.dtype), residual=found.residual.to(x.dtype))

    def _sought(self, x: Tensor) -> tuple[Projection, Linear]:
        parts = [self._project_part(part) for part in x.split(_CHUNK)] or [self._project_part(x)]
        found = Projection(*(torch.cat(fields) for fields in zip(*((p.points, p.residual, p.converged, p.iterations) for p in parts), strict=True)))
        return found, self._derivative_at(x, found.points)

    def _derivative_at(self, x: Tensor, z: Tensor) -> Linear:
        """Dpi at points x (n, D) with projections z, its factors found when they are first asked for; NaN where no closest point is near."""

        @functools.cache
        def factors() -> tuple[Tensor, Tensor]:
            if not self.closest:
                raise NotSupportedError(
                    "project: a manifold with closest=False ends wherever Gauss-Newton lands, which has no derivative here; use one with closest=True"
                )
            basis, inverse, ok = self.closest_point_derivative(x, z)
            return basis, torch.where(ok[:, None, None], inverse, torch.nan)

        def derivative(v: Tensor) -> Tensor:
            basis, inverse = factors()
            return apply(basis, apply(inverse, apply(basis.mT, v)))

        return derivative

    def _project_part(self, x: Tensor) -> Projection:
        tolerance = self.tolerance(torch.float64)
        how = Approach(tolerance, self.predictor_steps, self.max_step, self.max_iterations, self.scale, self.closest)
        found = self._section.project(x, how)
        if self.full_tolerance < torch.inf:
            found = replace(found, converged=found.converged & (self._field(found.points).norm(dim=-1) <= self.full_tolerance))
        return found if self.gate is None else replace(found, converged=found.converged & self.gate(found.points, self._tangent_basis))

    def closest_point_derivative(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The factors of Dz = T (1 + S)^-1 T^t at points x (n, D) float64 whose closest points are z (n, D).

        T (n, D, d), (1 + S)^-1 (n, d, d), and a mask (n,) of where 1 + S is safely positive; the identity stands in elsewhere.
        """
        return self._section.closest_point_derivative(x, z)

    def _tangent_basis(self, x: Tensor) -> Tensor:
        return underived(_chunked_tensor(lambda part: kernel(self._exact_rows(part)), x.detach().double()).to(x.dtype), x, FRAMES)

    def _exact_rows(self, x: Tensor) -> Tensor:
        return self._section.rows(x)

    def _exact_normals(self, x: Tensor) -> Tensor:
        return orthonormal(self._exact_rows(x).mT)

    def _mean_curvature(self, x: Tensor) -> Tensor:
        """H = -Ds^+ tr_T D^2 s for a regular constraint; second differences of the closest point otherwise."""
        if self.outputs > self.codim:
            return underived(super()._mean_curvature(x.detach().double()).to(x.dtype), x, CURVATURE)
        y = x.detach().double()
        at = constant_rank.frame(self._field, y, self.codim)
        basis = self._tangent_basis(y)
        outputs = at.left.mT
        bends = torch.stack(
            [constant_rank.shape_operator(self._field, y, outputs[:, i], basis).diagonal(dim1=-2, dim2=-1).sum(-1) for i in range(self.codim)], -1
        )
        return underived(-apply(at.right, bends / at.values).to(x.dtype), x, CURVATURE)

    def _second_form(self, x: Tensor) -> Tensor:
        """II = -Ds^+ (T^t D^2 s T) for a regular constraint; differences of the tangent projectors otherwise."""
        if self.outputs > self.codim:
            quick = self.with_fast_projection(gated=False, predicted=False)
            return second_fundamental_form(lambda y: quick.project(y).points, self._tangent_basis, x)
        at = constant_rank.frame(self._field, x, self.codim)
        basis = self._tangent_basis(x)
        outputs = at.left.mT
        bends = torch.stack([constant_rank.shape_operator(self._field, x, outputs[:, i], basis) for i in range(self.codim)], 1)
        scaled = (bends / at.values[..., None, None]).flatten(-2)
        return -(at.right @ scaled).reshape(*x.shape, self.dim, self.dim)

    def known_points(self) -> Tensor | None:
        """The anchors (n, D) of the gate, None without them."""
        anchors = getattr(self.gate, "anchors", None)
        return anchors if torch.is_tensor(anchors) else None

    def section(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The kept section s (n, r) and its rows (n, r, D) at points (n, D), scaled so that |s| is the distance to first order; NaN off the domain."""
        return self._section.kept(y)

    def extra_repr(self) -> str:
        """`dim=d, ambient_dim=D, outputs=m`, and whether it is gated."""
        return f"{super().extra_repr()}, outputs={self.outputs}" + (", gated" if self.gate is not None else "")


def _chunked(function: Callable[[Tensor], Frame], x: Tensor) -> Frame:
    frames = [function(part) for part in x.split(_CHUNK)] or [function(x)]
    value, left, values, right = (torch.cat([getattr(f, name) for f in frames]) for name in ("value", "left", "values", "right"))
    return Frame(value, left, values, right, frames[0].rank)


def _chunked_tensor(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.cat([function(part) for part in x.split(_CHUNK)] or [function(x)])


def _section_of(constraint: Field, field: Field, rank: int) -> Section:
    if isinstance(constraint, LocalPolynomialConstraint):
        return LocalSection(constraint)
    return SpectralSection(field, rank)


def _frozen(constraint: Field) -> Field:
    if not isinstance(constraint, nn.Module):
        return constraint
    return copy.deepcopy(constraint).double().eval().requires_grad_(False)


def _cast(constraint: Field, field: Field, dtype: torch.dtype) -> Field:
    return copy.deepcopy(constraint).to(dtype) if isinstance(constraint, nn.Module) else field


def _vectorised(constraint: Field, ambient_dim: int) -> tuple[Field, int]:
    """The constraint as a map on rows and its number of outputs, found out by one call on three rows and on one point."""
    rows = torch.linspace(0.1, 0.9, 3 * ambient_dim, dtype=torch.float64).reshape(3, ambient_dim)
    found: object = None
    for candidate in (constraint, torch.func.vmap(lambda point: torch.atleast_1d(constraint(point)))):
        try:
            out = candidate(rows)
            alone = candidate(rows[1:2])
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            found = error
            continue
        if out.ndim == 2 and len(out) == 3 and alone.shape == (1, out.shape[1]) and torch.allclose(out[1:2], alone, equal_nan=True):
            return candidate, int(out.shape[1])
        found = f"output of shape {tuple(out.shape)} for input {tuple(rows.shape)}"
    raise InvalidInputError(
        f"constraint: expected a map of rows (n, {ambient_dim}) -> (n, m) or of one point ({ambient_dim},) -> (m,) in float64; found {found}"
    )
