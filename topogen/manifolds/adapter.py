"""geoopt's own manifolds under our contract: `adapt(geoopt.Sphere(), dim=2, ambient_dim=3)`.

pi is geoopt's `projx`; a tangent basis comes from its `proju` applied to the d + (D - d) coordinate vectors: the matrix of a projector has d singular
values 1 and D - d zeros, its leading left singular vectors span T_xM. Everything else (retraction, exponential map, curvature, divergence) is ours.
Only manifolds embedded in R^D with one trailing dimension and the metric of R^D qualify; others are refused,
 by their `ndim` or because the matrix is no projector.
"""

from __future__ import annotations

from typing import final

import geoopt
import torch
from torch import Tensor

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.geometry.derivatives import FRAMES, underived
from topogen.manifolds.base import Manifold, Projection

__all__ = ["adapt"]


def adapt(geoopt_manifold: geoopt.Manifold, dim: int, ambient_dim: int) -> Manifold:
    """Wrap an embedded geoopt manifold of dimension `dim` in R^`ambient_dim` as a `Manifold`.

    Raises NotSupportedError if its points are not vectors (ndim != 1, Stiefel for one), InvalidInputError for impossible dimensions.
    Its `projx` must be differentiable and its `proju` the orthogonal projection; a `proju` of another rank than `dim` is refused when it is met.
    """
    if not isinstance(geoopt_manifold, geoopt.Manifold):
        raise InvalidInputError(f"geoopt_manifold: expected a geoopt.Manifold, found {type(geoopt_manifold).__name__}")
    if geoopt_manifold.ndim != 1:
        raise NotSupportedError(
            f"geoopt_manifold: {geoopt_manifold.name} has points of {geoopt_manifold.ndim} dimensions, only vectors (ndim = 1) can be adapted"
        )
    if not 0 < dim <= ambient_dim:
        raise InvalidInputError(f"dim: expected 0 < dim <= ambient_dim = {ambient_dim}, found {dim}")
    return _Adapted(geoopt_manifold, dim, ambient_dim)


@final
class _Adapted(Manifold):
    name = "adapted"

    def __init__(self, inner: geoopt.Manifold, dim: int, ambient_dim: int) -> None:
        super().__init__(dim, ambient_dim)
        self.adapted = inner

    def _project(self, x: Tensor) -> Projection:
        points = self.adapted.projx(x)
        again = self.adapted.projx(points.detach())
        residual = (again - points.detach()).norm(dim=-1)
        return Projection(points, residual, residual <= self.tolerance(x.dtype), torch.zeros_like(residual, dtype=torch.int64))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        y = x.detach()
        columns = [self.adapted.proju(y, axis.expand_as(y)) for axis in torch.eye(self.ambient_dim, dtype=x.dtype, device=x.device)]
        u, s, _ = torch.linalg.svd(torch.stack(columns, -1))
        expected = (torch.arange(self.ambient_dim, device=x.device) < self.dim).to(x.dtype)
        off = float((s - expected).abs().max()) if len(x) else 0.0
        if not off < 1e-2:
            raise NotSupportedError(
                f"{self.adapted.name}: proju is no orthogonal projector of rank dim = {self.dim} (singular values off by {off:.2g});"
                " check dim, or the manifold is not embedded in R^D"
            )
        return underived(u[:, :, : self.dim], x, FRAMES)

    def extra_repr(self) -> str:
        return f"{self.adapted.name}, dim={self.dim}, ambient_dim={self.ambient_dim}"
