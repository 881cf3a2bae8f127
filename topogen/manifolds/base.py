"""What a manifold is: a d-dimensional subset M of R^D that one can project to, with tangents and curvature.

`Manifold` extends `geoopt.Manifold` (so geoopt's optimisers run on every one of ours) by pure geometry: no randomness lives here.
A subclass is final and writes two methods on flat float tensors of shape (n, D), `_project` and `_tangent_basis`;
the public face checks, flattens and masks. The metric is the one induced by R^D. What else a manifold may know of itself (a gate, a constraint, charts,
its topology, uniform samples, a section) has a default, so that the rest of the library asks and never looks at the class.

With P(x) the orthogonal projector on T_xM and T an orthonormal basis of it, for a field f: M -> R^D:

    H(x)        = sum_i (D_{T_i} P) T_i                  mean curvature vector, the trace of the second fundamental form
    div_M (P f) = tr(P Df) + <f, H>                      divergence of the tangential part

do Carmo (1992), Riemannian Geometry; Boumal (2023), An Introduction to Optimization on Smooth Manifolds.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import geoopt
import torch
from torch import Tensor

from topogen.errors import InvalidInputError, NotSupportedError, ProjectionError
from topogen.geometry.curvature import divergence, gauss_curvature, mean_curvature, second_fundamental_form
from topogen.geometry.derivatives import CURVATURE, tangential, underived, with_jacobians
from topogen.geometry.exponential_map import differentials, exponential_map, transported
from topogen.geometry.frames import apply, complement
from topogen.geometry.projection import Projection
from topogen.manifolds.geodesic_solver import GeodesicSolver, distance, logarithm, solver_near

if TYPE_CHECKING:
    from topogen.manifolds.atlas.graph_charts import Charts
    from topogen.manifolds.implicit.boundary_gate import Gate

__all__ = ["Manifold", "Projection"]

_SECOND_OF_EXP = "expmap: geodesics have first derivatives in x and u only; compute second ones by differences"


class Manifold(geoopt.Manifold):
    """A d-dimensional manifold M in R^D, closed under geoopt's contract and ours.

    Points are (..., D) tensors of float32 or float64 on the CPU, where everything here runs; outputs follow the input's dtype.
    `dim` is d, `ambient_dim` is D; `tolerance(dtype)` is the residual up to which a point counts as on M.
    `gate`: where M ends, None without one.
    `constraint`: F, where M is a zero set {F = 0}, None elsewhere. Such a manifold has, like `ImplicitManifold`, also `outputs`, `scale`, `full_tolerance`,
    `value`, `frame`, `spectrum`, `kept_residual`, `full_residual` and `tilt`.
    `core`: M in the coordinates of an affine subspace of R^D that it lies in, None where M is not given so. `coordinates` and
    `embedded` go there and back.
    `charts`: the charts that cover M, None without any. Such a manifold has, like `Atlas`, also `members`, `holds`, `decode`, `stretch` and `stretches`.
    `closed_form`: whether M has exact uniform samples `sample(n, generator=)` (n, D) and its d-dimensional `volume`.
    """

    name = "manifold"
    ndim = 1
    reversible = False
    closed_form = False

    def __init__(self, dim: int, ambient_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.ambient_dim = ambient_dim
        self.gate: Gate | None = None
        self.constraint: Callable[[Tensor], Tensor] | None = None
        self.charts: Charts | None = None
        self.core: Manifold | None = None

    @abc.abstractmethod
    def _project(self, x: Tensor) -> Projection:
        """Project finite points (n, D); differentiable in x."""

    @abc.abstractmethod
    def _tangent_basis(self, x: Tensor) -> Tensor:
        """Orthonormal tangent bases (n, D, d) at points (n, D) of M."""

    def _mean_curvature(self, x: Tensor) -> Tensor:
        """Mean curvature vectors (n, D) at points (n, D) of M; override where a closed form exists."""
        return mean_curvature(self._project_points, self._tangent_basis, x)

    def _second_form(self, x: Tensor) -> Tensor:
        """Second fundamental forms (n, D, d, d) at points (n, D) of M; override where a closed form exists."""
        return second_fundamental_form(self._project_points, self._tangent_basis, x)

    def _project_points(self, x: Tensor) -> Tensor:
        return self._project(x).points

    @property
    def codim(self) -> int:
        """r = D - d, the number of normals."""
        return self.ambient_dim - self.dim

    @property
    def closed(self) -> bool:
        """Compact and without boundary, as far as M knows: by default where there is no gate."""
        return self.gate is None

    @property
    def orientable(self) -> bool | None:
        """Whether M is orientable; None where that is not known."""
        return None

    @property
    def regular(self) -> bool:
        """Whether M is the zero set of a constraint with as many outputs as normals."""
        return False

    @property
    def unit(self) -> float:
        """A length of the order of M, which differences are taken in shares of; by default the spread of its known points, 1 without any."""
        known = self.known_points()
        return 1.0 if known is None else float((known - known.mean(0)).norm(dim=1).max()) or 1.0

    @property
    def underlying(self) -> Manifold:
        """The manifold whose point set this is: the shared sheet of an atlas, else M itself."""
        return self

    def betti(self, field: int = 2) -> tuple[int, ...] | None:
        """Betti numbers (b_0, ..., b_d) over Z/`field`, field prime; None where they are not known."""
        return None

    def known_points(self) -> Tensor | None:
        """Points (n, D) that cover M, from which geodesics and samplers start; None where none are known."""
        return None

    def with_fast_projection(self, *, gated: bool = True, predicted: bool = True) -> Manifold:
        """The same set with a cheaper projection that may miss the closest point in third order, without gate or predictor steps; by default M itself."""
        return self

    def inside_boundary(self, x: Tensor) -> Tensor:
        """Mask (n,) of the points x (n, D) of the zero set that the gate admits; all of them without a gate."""
        if self.gate is None or not len(x):
            return torch.ones(len(x), dtype=torch.bool, device=x.device)
        inside: Tensor = self.gate(x, self.tangent_basis)
        return inside

    def section(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """A section s (n, r) with zero set M and its derivative Ds (n, r, D) at points y (n, D) near M; NaN where it is not defined.

        By default s(y) = N(p)^t (y - p), p the projection of y and N(p) a normal basis, with N(p)^t for Ds: exact along normals.
        """
        projection = self.project(y)
        rows = complement(self.tangent_basis(projection.points)).mT
        return torch.where(projection.converged[:, None], apply(rows, y - projection.points), torch.nan), rows

    def tolerance(self, dtype: torch.dtype) -> float:
        """Residual (units of the data) up to which a projection counts as converged: 1e-9 in float64, 1e-5 in float32."""
        return 1e-9 if dtype == torch.float64 else 1e-5

    def project(self, x: Tensor) -> Projection:
        """Project points (..., D) onto M, per sample and without silence.

        Returns a `Projection` whose tensors have the leading shape of x: `points` (..., D), `residual` (...),
        `converged` (...) bool and `iterations` (...) int. Rows that are not finite come back as they are, not converged.
        `points` is differentiable in x. Raises InvalidInputError for a wrong last dimension or a dtype that is not floating.
        """
        flat = self.as_rows(x)
        finite = torch.isfinite(flat.detach()).all(-1)
        if bool(finite.all()):
            return self._project(flat).reshape(x.shape[:-1])
        return self._project(flat[finite]).scatter(finite, flat).reshape(x.shape[:-1])

    def projx(self, x: Tensor) -> Tensor:
        """`project` with a strict face: raises ProjectionError naming how many of the points did not converge."""
        projection = self.project(x)
        failed = int((~projection.converged).sum())
        if failed:
            raise ProjectionError(
                f"projx: {failed} of {projection.converged.numel()} points did not converge onto {self!r}"
                f" (largest residual {float(projection.residual.max()):.3g}); call project(x) and use its mask `converged`"
            )
        return projection.points

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Orthonormal bases (..., D, d) of the tangent spaces at points (..., D) of M."""
        return self._tangent_basis(self.as_rows(x)).reshape(*x.shape, self.dim)

    def normal_basis(self, x: Tensor) -> Tensor:
        """Orthonormal bases (..., D, D - d) of the normal spaces at points (..., D) of M."""
        return complement(self._tangent_basis(self.as_rows(x))).reshape(*x.shape, self.ambient_dim - self.dim)

    def mean_curvature(self, x: Tensor) -> Tensor:
        """Mean curvature vectors H (..., D) at points of M, the trace of the second fundamental form (-d x on the unit d-sphere)."""
        return self._mean_curvature(self.as_rows(x)).reshape(x.shape)

    def second_fundamental_form(self, x: Tensor) -> Tensor:
        """II (..., D, d, d) at points (..., D) of M, in the basis `tangent_basis(x)`: the normal acceleration of curves."""
        form = self._second_form(self.as_rows(x).detach().double()).reshape(*x.shape, self.dim, self.dim).to(x.dtype)
        return underived(form, x, CURVATURE)

    def tangent_and_mean_curvature(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tangent bases (n, D, d) and mean curvature vectors (n, D) at points (n, D) of M; override where they come cheaper together."""
        return self._tangent_basis(x), self._mean_curvature(x)

    def tangent_and_second_form(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tangent bases (n, D, d) and second fundamental forms (n, D, d, d) in them at points (n, D) of M; override where they come cheaper together."""
        return self._tangent_basis(x), self._second_form(x)

    def divergence(self, field: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """div_M (P f) (...) at points (..., D) of M of a differentiable field f: (n, D) -> (n, D) given near M."""
        flat = self.as_rows(x)
        return divergence(field, flat, self._tangent_basis(flat), self._mean_curvature(flat)).reshape(x.shape[:-1])

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """P(x) u = T T^t u, the orthogonal projection of vectors u (..., D) to the tangent spaces at x.

        Differentiable in u, and once in x along M.
        """
        x, u = torch.broadcast_tensors(x, u)
        rows = self.as_rows(x)
        return tangential(rows, u.reshape(rows.shape), self._tangent_basis, lambda y: self._second_form(y.double()).to(y.dtype)).reshape(x.shape)

    def egrad2rgrad(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian gradient of the induced metric: the tangential part of the ambient gradient u."""
        return self.proju(x, u)

    def inner(self, x: Tensor, u: Tensor, v: Tensor | None = None, *, keepdim: bool = False) -> Tensor:
        """Induced metric <u, v>, the Euclidean inner product of R^D, broadcast over leading dimensions."""
        v = u if v is None else v
        product = (u * v).sum(-1, keepdim=keepdim)
        leading = torch.broadcast_shapes(x.shape[:-1], u.shape[:-1], v.shape[:-1])
        return product.expand((*leading, 1) if keepdim else leading)

    def retr(self, x: Tensor, u: Tensor) -> Tensor:
        """Retraction x + u projected onto M; raises ProjectionError where the projection does not converge."""
        return self.projx(x + u)

    def transp(self, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
        """Vector transport of v from T_xM to T_yM by orthogonal projection."""
        return self.proju(y, v)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Exponential map by integration of the tangential part of u: projected chords of the geodesic equation, Richardson extrapolated, then projected.

        Differentiable in x along M and in u, by differences of geodesics beside it; a second derivative raises NotSupportedError.
        """
        x, u = torch.broadcast_tensors(x, u)
        rows = self.as_rows(x)
        return with_jacobians(self._exponential, (rows, u.reshape(rows.shape)), _SECOND_OF_EXP).reshape(x.shape)

    def _exponential(self, x: Tensor, u: Tensor) -> tuple[Tensor, Callable[[], tuple[Tensor, ...]]]:
        v = self.proju(x, u)

        def jacobians() -> tuple[Tensor, ...]:
            y, w, normal = x.double(), v.double(), (u - v).double()
            basis = self._tangent_basis(y)
            change = differentials(self._project_points, self.proju, y, w, basis, self.unit)
            # What moves with x is P(x')u: P(x')v, and what P(x') takes from the normal part of u.
            gained = torch.einsum("nDij,nD->nij", self._second_form(y), normal)
            return tuple((rows @ basis.mT).to(x.dtype) for rows in (change.moved + change.along @ gained, change.along))

        return exponential_map(self.projx, self.proju, x, v), jacobians

    def geodesics(self, points: Tensor | None = None, **settings: Any) -> GeodesicSolver:
        """The minimal geodesics of M, searched from known `points` (n, D): `.dist`, `.logmap`, `.paths`, `.interpolate`.

        Without points the manifold's own are taken (samples of a shape, anchors of a gate). `settings` go to `GeodesicSolver`.
        Raises InvalidInputError where none are given and the manifold knows none.
        """
        points = points if points is not None else self.known_points()
        if points is None:
            raise InvalidInputError(f"points: {self!r} knows no points of its own; pass data or samples of it")
        return GeodesicSolver(self, points, **settings)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Geodesic distances (...) of points x and y (..., D) of M, by `GeodesicSolver.dist`; infinite where no path was found."""
        return distance(self, lambda a, b: solver_near(self, a, b), x, y, keepdim=keepdim)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Velocities (..., D) at x with expmap(x, logmap(x, y)) = y and length dist(x, y), by `GeodesicSolver.logmap`; NaN where no path was found."""
        return logarithm(self, lambda a, b: solver_near(self, a, b), x, y)

    def geodesic(self, x: Tensor, y: Tensor, n_nodes: int = 33) -> Tensor:
        """`n_nodes` points (..., n_nodes, D), ends included, at equal steps of length along the shortest geodesics from x to y (..., D)."""
        if isinstance(n_nodes, bool) or not isinstance(n_nodes, int) or n_nodes < 2:
            raise InvalidInputError(f"n_nodes: expected at least the 2 ends, found {n_nodes!r}")
        return solver_near(self, x, y).interpolate(x, y, torch.linspace(0, 1, n_nodes, dtype=torch.float64))

    def parallel_transport(self, nodes: Tensor, v: Tensor) -> Tensor:
        """Tangent vectors v (..., D) or (..., k, D) carried along the nodes (..., m, D) by `geometry.exponential_map.transported`."""
        if nodes.ndim < 2 or v.ndim < nodes.ndim - 1 or v.shape[-1] != self.ambient_dim:
            raise InvalidInputError(
                f"nodes, v: expected (..., m, {self.ambient_dim}) and (..., {self.ambient_dim}), found {tuple(nodes.shape)}, {tuple(v.shape)}"
            )
        return transported(self.tangent_basis(nodes), v)

    def gauss_curvature(self, x: Tensor) -> Tensor:
        """Gauss curvatures K (...) at points (..., D) of a surface: <II(1, 1), II(2, 2)> - |II(1, 2)|^2 (Gauss 1827, 1 on the unit sphere).

        Raises NotSupportedError unless d = 2.
        """
        if self.dim != 2:
            raise NotSupportedError(f"gauss_curvature: defined on surfaces, {self!r} has dimension {self.dim}; use mean_curvature")
        found = gauss_curvature(self._second_form(self.as_rows(x).detach().double())).reshape(x.shape[:-1]).to(x.dtype)
        return underived(found, x, CURVATURE)

    def coordinates(self, x: Tensor) -> Tensor:
        """The coordinates (..., m) of points x (..., D) that `core` is given in; the points themselves where there is none."""
        return x

    def embedded(self, y: Tensor) -> Tensor:
        """The points (..., D) with coordinates y (..., m); back from `coordinates`."""
        return y

    def as_rows(self, x: Tensor) -> Tensor:
        """Points (..., D) as rows (n, D); raises InvalidInputError for another last dimension, a dtype not floating, or points not on the CPU."""
        if not torch.is_tensor(x) or not torch.is_floating_point(x):
            found = x.dtype if torch.is_tensor(x) else type(x).__name__
            raise InvalidInputError(
                f"x: expected a floating tensor of shape (..., {self.ambient_dim}), found {found}; convert with torch.as_tensor(x, dtype=torch.float64)"
            )
        if x.ndim == 0 or x.shape[-1] != self.ambient_dim:
            raise InvalidInputError(f"x: expected shape (..., {self.ambient_dim}) for points of {self!r}, found {tuple(x.shape)}")
        if x.device.type != "cpu":
            raise InvalidInputError(f"x: expected points on the CPU, where manifolds compute, found them on {x.device}; call .cpu() first")
        return x.reshape(-1, self.ambient_dim)

    def _check_point_on_manifold(self, x: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        offset = (self.project(x).points - x).norm(dim=-1)
        bound = atol + rtol * x.norm(dim=-1)
        ok = bool((offset <= bound).all())
        return ok, None if ok else f"'x' is off the manifold by up to {float(offset.max()):.3g}"

    def _check_vector_on_tangent(self, x: Tensor, u: Tensor, *, atol: float = 1e-5, rtol: float = 1e-5) -> tuple[bool, str | None]:
        normal = (u - self.proju(x, u)).norm(dim=-1)
        bound = atol + rtol * u.norm(dim=-1)
        ok = bool((normal <= bound).all())
        return ok, None if ok else f"'u' has a normal part of up to {float(normal.max()):.3g}"

    def extra_repr(self) -> str:
        """`dim=d, ambient_dim=D`."""
        return f"dim={self.dim}, ambient_dim={self.ambient_dim}"
