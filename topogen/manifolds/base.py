"""What a manifold is: a d-dimensional subset M of R^D that one can project to, with tangents and curvature.

`Manifold` extends `geoopt.Manifold` (so geoopt's optimisers run on every one of ours) by pure geometry: no randomness lives here.
A subclass is final and writes two methods on flat float tensors of shape (n, D), `_project` and `_tangent_basis`;
the public face checks, flattens and masks. The metric is the one induced by R^D.

With P(x) the orthogonal projector on T_xM and T an orthonormal basis of it, for a field f: M -> R^D:

    H(x)        = sum_i (D_{T_i} P) T_i                  mean curvature vector, the trace of the second fundamental form
    div_M (P f) = tr(P Df) + <f, H>                      divergence of the tangential part

do Carmo (1992), Riemannian Geometry; Boumal (2023), An Introduction to Optimization on Smooth Manifolds.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import geoopt
import torch
from torch import Tensor

from topogen.errors import InvalidInputError, ProjectionError
from topogen.geometry.curvature import divergence, mean_curvature
from topogen.geometry.frames import complement
from topogen.geometry.geodesics import exponential
from topogen.geometry.projection import Projection

__all__ = ["Manifold", "Projection"]


class Manifold(geoopt.Manifold):
    """A d-dimensional manifold M in R^D, closed under geoopt's contract and ours.

    Points are (..., D) tensors of float32 or float64; outputs follow the input's dtype and device.
    `dim` is d, `ambient_dim` is D; `tolerance(dtype)` is the residual up to which a point counts as on M.
    """

    name = "manifold"
    ndim = 1
    reversible = False

    def __init__(self, dim: int, ambient_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.ambient_dim = ambient_dim

    @abc.abstractmethod
    def _project(self, x: Tensor) -> Projection:
        """Project finite points (n, D); differentiable in x."""

    @abc.abstractmethod
    def _tangent_basis(self, x: Tensor) -> Tensor:
        """Orthonormal tangent bases (n, D, d) at points (n, D) of M."""

    def _mean_curvature(self, x: Tensor) -> Tensor:
        """Mean curvature vectors (n, D) at points (n, D) of M; override where a closed form exists."""
        return mean_curvature(self._project_points, self._tangent_basis, x)

    def _project_points(self, x: Tensor) -> Tensor:
        return self._project(x).points

    def tolerance(self, dtype: torch.dtype) -> float:
        """Residual (units of the data) up to which a projection counts as converged: 1e-9 in float64, 1e-5 in float32."""
        return 1e-9 if dtype == torch.float64 else 1e-5

    def project(self, x: Tensor) -> Projection:
        """Project points (..., D) onto M, per sample and without silence.

        Returns a `Projection` whose tensors have the leading shape of x: `points` (..., D), `residual` (...),
        `converged` (...) bool and `iterations` (...) int. Rows that are not finite come back as they are, not converged.
        `points` is differentiable in x. Raises InvalidInputError for a wrong last dimension or a dtype that is not floating.
        """
        flat = self._flat(x)
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
        return self._tangent_basis(self._flat(x)).reshape(*x.shape, self.dim)

    def normal_basis(self, x: Tensor) -> Tensor:
        """Orthonormal bases (..., D, D - d) of the normal spaces at points (..., D) of M."""
        return complement(self._tangent_basis(self._flat(x))).reshape(*x.shape, self.ambient_dim - self.dim)

    def mean_curvature(self, x: Tensor) -> Tensor:
        """Mean curvature vectors H (..., D) at points of M, the trace of the second fundamental form (-d x on the unit d-sphere)."""
        return self._mean_curvature(self._flat(x)).reshape(x.shape)

    def divergence(self, field: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """div_M (P f) (...) at points (..., D) of M of a differentiable field f: (n, D) -> (n, D) given near M."""
        flat = self._flat(x)
        return divergence(field, flat, self._tangent_basis(flat), self._mean_curvature(flat)).reshape(x.shape[:-1])

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """P(x) u = T T^t u, the orthogonal projection of vectors u (..., D) to the tangent spaces at x."""
        x, u = torch.broadcast_tensors(x, u)
        basis = self.tangent_basis(x)
        return (basis @ (basis.mT @ u.unsqueeze(-1))).squeeze(-1)

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
        """Exponential map by integration: projected chords of the geodesic equation, Richardson extrapolated, then projected."""
        return exponential(self.projx, self.proju, x, u)

    def _flat(self, x: Tensor) -> Tensor:
        if not torch.is_tensor(x) or not torch.is_floating_point(x):
            found = x.dtype if torch.is_tensor(x) else type(x).__name__
            raise InvalidInputError(
                f"x: expected a floating tensor of shape (..., {self.ambient_dim}), found {found}; convert with torch.as_tensor(x, dtype=torch.float64)"
            )
        if x.ndim == 0 or x.shape[-1] != self.ambient_dim:
            raise InvalidInputError(f"x: expected shape (..., {self.ambient_dim}) for points of {self!r}, found {tuple(x.shape)}")
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
