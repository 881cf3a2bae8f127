"""Tori with closed forms: the torus of revolution in R^3 and the flat (Clifford) torus in R^(2 d).

Torus of revolution: with rho = |(x, y)| the nearest point is found in the half-plane through x and the axis, on the circle of
radius r around (R, 0). Mean curvature vector H = -(1/r + cos v / (R + r cos v)) n, n the outer normal; area 4 pi^2 R r (Pappus).
Flat torus: a product of unit circles, each pair of coordinates is normalised; H = -x, volume (2 pi)^d.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.base import Projection
from topogen.manifolds.geodesic_solver import checked_pair
from topogen.manifolds.shapes import great_circles
from topogen.manifolds.shapes.base import Shape, check_positive, directions, exact, sample_by_rejection, uniform

__all__ = ["FlatTorus", "Torus"]


@final
class Torus(Shape):
    """Torus of revolution around the z-axis of R^3: circle of radius `R` (default 1), tube of radius `r` (default .4) < R."""

    name = "torus"
    orientable = True

    def __init__(self, R: float = 1.0, r: float = 0.4) -> None:
        check_positive(R=R, r=r)
        if r >= R:
            raise InvalidInputError(f"r: expected less than R = {R} for an embedded torus, found {r}")
        super().__init__(2, 3)
        self.R = float(R)
        self.r = float(r)

    def _project(self, x: Tensor) -> Projection:
        centre, normal, unique = self._normal(x)
        points = centre + self.r * normal
        rho = points[:, :2].norm(dim=-1)
        residual = (torch.hypot(rho - self.R, points[:, 2]) - self.r).abs()
        return exact(points, residual, unique, self.tolerance(x.dtype))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        _, normal, _ = self._normal(x)
        radial = directions(x[:, :2])[0]
        around = torch.stack([-radial[:, 1], radial[:, 0], torch.zeros_like(radial[:, 0])], -1)
        return torch.stack([around, torch.linalg.cross(normal, around)], -1)

    def _mean_curvature(self, x: Tensor) -> Tensor:
        _, normal, _ = self._normal(x)
        rho: Tensor = torch.linalg.vector_norm(x[:, :2], dim=-1)
        return -(1 / self.r + (rho - self.R) / (self.r * rho)).unsqueeze(-1) * normal

    def _normal(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        radial, off_axis = directions(x[:, :2])
        centre = torch.cat([self.R * radial, torch.zeros_like(x[:, 2:])], -1)
        normal, off_core = directions(x - centre)
        outward = torch.cat([radial, torch.zeros_like(x[:, 2:])], -1)
        return centre, torch.where(off_core.unsqueeze(-1), normal, outward), off_axis & off_core

    def _volume(self) -> float:
        return 4 * math.pi**2 * self.R * self.r

    def _diameter(self) -> float:
        return 2 * (self.R + self.r)

    def _betti(self, field: int) -> tuple[int, ...]:
        return (1, 2, 1)

    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        def density(angles: Tensor) -> Tensor:
            return (self.R + self.r * angles[:, 1].cos()) / (self.R + self.r)

        u, v = sample_by_rejection(n, generator, lambda k: 2 * math.pi * uniform(k, 2, generator), density).T
        rho = self.R + self.r * v.cos()
        return torch.stack([rho * u.cos(), rho * u.sin(), self.r * v.sin()], -1)


@final
class FlatTorus(Shape):
    """Flat torus in R^(2 dim), the product of dim (default 2) unit circles (Clifford torus for dim = 2)."""

    name = "flat_torus"
    orientable = True

    def __init__(self, dim: int = 2) -> None:
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise InvalidInputError(f"dim: expected an integer >= 1, found {dim!r}")
        super().__init__(dim, 2 * dim)

    def _project(self, x: Tensor) -> Projection:
        circles, unique = directions(self._pairs(x))
        residual = (circles.norm(dim=-1) - 1).norm(dim=-1)
        return exact(circles.reshape(x.shape), residual, unique.all(-1), self.tolerance(x.dtype))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        circles, _ = directions(self._pairs(x))
        turned = torch.stack([-circles[..., 1], circles[..., 0]], -1)
        return torch.diag_embed(turned.mT).permute(0, 2, 1, 3).reshape(len(x), self.ambient_dim, self.dim)

    def _mean_curvature(self, x: Tensor) -> Tensor:
        return -x

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """Each circle turned by its part of u (..., 2 dim), in closed form."""
        x, u = torch.broadcast_tensors(x, u)
        return great_circles.sphere_exponential(self._pairs(x), self._pairs(u), 1.0).reshape(x.shape)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Velocity (..., 2 dim) of the shortest geodesic from x to y, circle by circle, in closed form; one of many for antipodes."""
        x, y = checked_pair(self, x, y)
        return great_circles.sphere_logarithm(self._pairs(x), self._pairs(y), 1.0).reshape(x.shape)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Root of the sum of squares of the arcs (...) between x and y (..., 2 dim), in closed form."""
        x, y = checked_pair(self, x, y)
        return great_circles.sphere_distance(self._pairs(x), self._pairs(y), 1.0).norm(dim=-1, keepdim=keepdim).reshape(*x.shape[:-1], *[1] * keepdim)

    def _pairs(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.dim, 2)

    def _volume(self) -> float:
        return (2 * math.pi) ** self.dim

    def _diameter(self) -> float:
        return 2 * math.sqrt(self.dim)

    def _betti(self, field: int) -> tuple[int, ...]:
        return tuple(math.comb(self.dim, k) for k in range(self.dim + 1))

    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        angles = 2 * math.pi * uniform(n, self.dim, generator)
        return torch.stack([angles.cos(), angles.sin()], -1).reshape(n, self.ambient_dim)
