"""The rotation group SO(n) as a manifold in R^(n n), with the metric of the Frobenius norm.

Nearest rotation of X = U S V^t: U D V^t, D = diag(1, .., 1, det U V^t) (Kabsch 1976), unique iff s_(n-1) + det(U V^t) s_n > 0. Its derivative
solves the Sylvester equation W P + P W = M - M^t, M = R^t dX, P = R^t X, dR = R W: finite at equal singular values, where autograd through SVD is not.
Volume 2^(n (n-1)/4) prod_(k<n) vol(S^k) (fibration over spheres); mean curvature vector H = -(n - 1)/2 R. SO(3) is the projective 3-space.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.derivatives import Linear, differentiable_closest
from topogen.manifolds.base import Projection
from topogen.manifolds.shapes.base import Shape, exact
from topogen.manifolds.shapes.spheres import sphere_volume

__all__ = ["SpecialOrthogonal"]


@final
class SpecialOrthogonal(Shape):
    """Rotation matrices SO(n), n (default 3) >= 2, flattened row by row into R^(n n); dim n (n - 1)/2."""

    name = "special_orthogonal"
    orientable = True

    def __init__(self, n: int = 3) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 2:
            raise InvalidInputError(f"n: expected an integer >= 2, found {n!r}")
        super().__init__(n * (n - 1) // 2, n * n)
        self.n = n

    def _project(self, x: Tensor) -> Projection:
        return differentiable_closest(x, self._sought, 1.0)

    def _sought(self, x: Tensor) -> tuple[Projection, Linear]:
        rotation, v, s = _nearest_rotation(x.reshape(-1, self.n, self.n))
        residual = _departure(rotation)
        unique = s[:, -1] + s[:, -2] > 0

        def derivative(change: Tensor) -> Tensor:
            return (rotation @ _turn(rotation, v, s, change.unflatten(-1, (self.n, self.n)))).flatten(-2)

        return exact(rotation.flatten(1), residual, unique, self.tolerance(x.dtype)), derivative

    def _tangent_basis(self, x: Tensor) -> Tensor:
        rotation, _, _ = _nearest_rotation(x.reshape(-1, self.n, self.n))
        i, j = torch.triu_indices(self.n, self.n, 1, device=x.device)
        k = torch.arange(self.dim, device=x.device)
        skew = torch.zeros(self.dim, self.n, self.n, dtype=x.dtype, device=x.device)
        skew[k, i, j], skew[k, j, i] = -math.sqrt(0.5), math.sqrt(0.5)
        return (rotation.unsqueeze(1) @ skew).flatten(2).mT

    def _mean_curvature(self, x: Tensor) -> Tensor:
        return -(self.n - 1) / 2 * x

    def _volume(self) -> float:
        return 2 ** (self.dim / 2) * math.prod(sphere_volume(k) for k in range(1, self.n))

    def _diameter(self) -> float:
        return 2 * math.sqrt(self.n - self.n % 2)

    def _betti(self, field: int) -> tuple[int, ...]:
        degrees = list(range(1, self.n)) if field == 2 else [4 * k - 1 for k in range(1, (self.n + 1) // 2)] + [self.n - 1] * (self.n % 2 == 0)
        polynomial = [1] + [0] * self.dim
        for degree in degrees:
            polynomial = [b + (polynomial[k - degree] if k >= degree else 0) for k, b in enumerate(polynomial)]
        return tuple(polynomial)

    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        gaussian = torch.randn(n, self.n, self.n, generator=generator, dtype=torch.float64)
        q, r = torch.linalg.qr(gaussian)
        q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
        last = q[:, :, -1:] * torch.linalg.det(q)[:, None, None].sign()
        return torch.cat([q[:, :, :-1], last], -1).flatten(1)


def _nearest_rotation(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotations R, with R^t X = V diag(s) V^t and s signed."""
    u, s, vh = torch.linalg.svd(matrices)
    sign = torch.linalg.det(u @ vh).sign().unsqueeze(-1)
    s = torch.cat([s[:, :-1], s[:, -1:] * sign], -1)
    u = torch.cat([u[:, :, :-1], u[:, :, -1:] * sign.unsqueeze(-1)], -1)
    return u @ vh, vh.mT, s


def _turn(rotation: Tensor, v: Tensor, s: Tensor, change: Tensor) -> Tensor:
    """Skew W with W P + P W = M - M^t, M = R^t change, P = V diag(s) V^t."""
    m = v.mT @ rotation.mT @ change @ v
    total = s.unsqueeze(-1) + s.unsqueeze(-2)
    floor = torch.finfo(s.dtype).eps * s[:, :1, None].abs().clamp_min(torch.finfo(s.dtype).tiny)
    return v @ ((m - m.mT) / torch.where(total.abs() > floor, total, torch.inf)) @ v.mT


def _departure(rotation: Tensor) -> Tensor:
    gram = rotation.mT @ rotation - torch.eye(rotation.shape[-1], dtype=rotation.dtype, device=rotation.device)
    departure: Tensor = torch.linalg.vector_norm(gram.flatten(1), dim=-1) / 2 + (torch.linalg.det(rotation) - 1).abs()
    return departure
