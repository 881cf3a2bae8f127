"""Round shapes with closed forms: Circle, Sphere, LinkedCircles (the Hopf link) and TwoSpheres.

The nearest point of the sphere |x - c| = r is c + r (x - c)/|x - c|, of a circle in a plane the same after dropping the other
coordinates, and of a union the nearer of the two. Mean curvature vector of the d-sphere: H = -d (x - c) / r^2.
Centres and axes have no unique nearest point: one of them is returned and the row counts as not converged.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.balls import sphere_points
from topogen.geometry.frames import complement
from topogen.manifolds.base import Projection
from topogen.manifolds.geodesic_solver import checked_pair
from topogen.manifolds.shapes import great_circles
from topogen.manifolds.shapes.base import Shape, check_positive, directions, exact, uniform

__all__ = ["Circle", "LinkedCircles", "Sphere", "TwoSpheres"]


class _Round(Shape):
    """A sphere of `radius` around 0, of whatever dimension: its geodesics are great circles, in closed form."""

    radius: float

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """The great circle from x with velocity u (..., D), in closed form."""
        return great_circles.sphere_exponential(x, u, self.radius)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Velocity (..., D) of the great circle from x to y (..., D), in closed form; one of many for antipodes."""
        return great_circles.sphere_logarithm(*checked_pair(self, x, y), self.radius)

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Length (...) of the great circle from x to y (..., D), in closed form."""
        length = great_circles.sphere_distance(*checked_pair(self, x, y), self.radius)
        return length.unsqueeze(-1) if keepdim else length


@final
class Circle(_Round):
    """Circle of `radius` (default 1) around the origin of R^2; length 2 pi radius."""

    name = "circle"
    orientable = True

    def __init__(self, radius: float = 1.0) -> None:
        check_positive(radius=radius)
        super().__init__(1, 2)
        self.radius = float(radius)

    def _project(self, x: Tensor) -> Projection:
        return _onto_sphere(x, self.radius, self.tolerance(x.dtype))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        return _turned(directions(x)[0]).unsqueeze(-1)

    def _mean_curvature(self, x: Tensor) -> Tensor:
        return -x / self.radius**2

    def _volume(self) -> float:
        return 2 * math.pi * self.radius

    def _diameter(self) -> float:
        return 2 * self.radius

    def _betti(self, field: int) -> tuple[int, ...]:
        return (1, 1)

    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        return self.radius * _unit_circle(n, generator)


@final
class Sphere(_Round):
    """Sphere S^dim of `radius` (default 1) around the origin of R^(dim + 1); dim (default 2) >= 1."""

    name = "sphere"
    orientable = True

    def __init__(self, dim: int = 2, radius: float = 1.0) -> None:
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise InvalidInputError(f"dim: expected an integer >= 1, found {dim!r}")
        check_positive(radius=radius)
        super().__init__(dim, dim + 1)
        self.radius = float(radius)

    def _project(self, x: Tensor) -> Projection:
        return _onto_sphere(x, self.radius, self.tolerance(x.dtype))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        return complement(directions(x)[0].unsqueeze(-1))

    def _mean_curvature(self, x: Tensor) -> Tensor:
        return -self.dim * x / self.radius**2

    def _volume(self) -> float:
        return sphere_volume(self.dim) * self.radius**self.dim

    def _diameter(self) -> float:
        return 2 * self.radius

    def _betti(self, field: int) -> tuple[int, ...]:
        return (1, *[0] * (self.dim - 1), 1)

    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        return self.radius * sphere_points(n, self.ambient_dim, generator=generator)


@final
class LinkedCircles(Shape):
    """Hopf link in R^3: two circles of `radius` (default 1), one in the xy-plane around 0, one in the xz-plane around (radius, 0, 0).

    Each runs through the other's centre; every point of one is at distance `radius` from the other.
    """

    name = "linked_circles"
    orientable = True

    def __init__(self, radius: float = 1.0) -> None:
        check_positive(radius=radius)
        super().__init__(1, 3)
        self.radius = float(radius)

    def _project(self, x: Tensor) -> Projection:
        first, second, defined = self._both(x)
        nearer, tie = _nearer(x, first, second)
        points = torch.where(nearer.unsqueeze(-1), second, first)
        unique = torch.where(nearer, defined[1], defined[0]) & ~tie
        centre, plane = self._frame(nearer, x)
        rest = (points - centre) - (plane @ (plane.mT @ (points - centre).unsqueeze(-1))).squeeze(-1)
        residual = ((points - centre).norm(dim=-1) - self.radius).abs() + rest.norm(dim=-1)
        return exact(points, residual, unique, self.tolerance(x.dtype))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        first, second, _ = self._both(x)
        centre, plane = self._frame(_nearer(x, first, second)[0], x)
        radial = directions((plane.mT @ (x - centre).unsqueeze(-1)).squeeze(-1))[0]
        return plane @ _turned(radial).unsqueeze(-1)

    def _mean_curvature(self, x: Tensor) -> Tensor:
        first, second, _ = self._both(x)
        return (self._frame(_nearer(x, first, second)[0], x)[0] - x) / self.radius**2

    def _both(self, x: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        zero = torch.zeros_like(x[:, 0])
        flat, first_ok = directions(x[:, :2])
        upright, second_ok = directions(torch.stack([x[:, 0] - self.radius, x[:, 2]], -1))
        first = torch.stack([self.radius * flat[:, 0], self.radius * flat[:, 1], zero], -1)
        second = torch.stack([self.radius + self.radius * upright[:, 0], zero, self.radius * upright[:, 1]], -1)
        return first, second, (first_ok, second_ok)

    def _frame(self, second: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        axes = torch.eye(3, dtype=like.dtype, device=like.device)
        plane = torch.where(second[:, None, None], axes[:, [0, 2]], axes[:, :2])
        return torch.where(second.unsqueeze(-1), self.radius * axes[0], torch.zeros_like(axes[0])), plane

    def _volume(self) -> float:
        return 4 * math.pi * self.radius

    def _diameter(self) -> float:
        return 3 * self.radius

    def _betti(self, field: int) -> tuple[int, ...]:
        return (2, 2)

    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        second = uniform(n, 1, generator) < 0.5
        circle = self.radius * _unit_circle(n, generator)
        c, s = circle[:, :1], circle[:, 1:]
        zero = torch.zeros_like(c)
        return torch.where(second, torch.cat([self.radius + c, zero, s], -1), torch.cat([c, s, zero], -1))


@final
class TwoSpheres(Shape):
    """Two disjoint spheres in R^3 of `radius` (default 1) around (-offset, 0, 0) and (offset, 0, 0), offset (default 1.5) > radius."""

    name = "two_spheres"
    orientable = True

    def __init__(self, radius: float = 1.0, offset: float = 1.5) -> None:
        check_positive(radius=radius, offset=offset)
        if offset <= radius:
            raise InvalidInputError(f"offset: expected more than radius = {radius} so that the spheres are disjoint, found {offset}")
        super().__init__(2, 3)
        self.radius = float(radius)
        self.offset = float(offset)

    def _project(self, x: Tensor) -> Projection:
        centre = self._centre(x)
        normal, unique = directions(x - centre)
        points = centre + self.radius * normal
        residual = ((points - centre).norm(dim=-1) - self.radius).abs()
        return exact(points, residual, unique & (x[:, 0] != 0), self.tolerance(x.dtype))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        return complement(directions(x - self._centre(x))[0].unsqueeze(-1))

    def _mean_curvature(self, x: Tensor) -> Tensor:
        return -2 * (x - self._centre(x)) / self.radius**2

    def _centre(self, x: Tensor) -> Tensor:
        first = torch.where(x[:, :1] >= 0, self.offset, -self.offset).to(x.dtype)
        return torch.cat([first, torch.zeros_like(x[:, 1:]).detach()], -1)

    def _volume(self) -> float:
        return 8 * math.pi * self.radius**2

    def _diameter(self) -> float:
        return 2 * (self.offset + self.radius)

    def _betti(self, field: int) -> tuple[int, ...]:
        return (2, 0, 2)

    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        points = self.radius * sphere_points(n, 3, generator=generator)
        side = torch.where(uniform(n, 1, generator) < 0.5, self.offset, -self.offset).to(torch.float64)
        return torch.cat([points[:, :1] + side, points[:, 1:]], -1)


def sphere_volume(dim: int) -> float:
    """Volume 2 pi^((d + 1)/2) / Gamma((d + 1)/2) of the unit d-sphere."""
    return float(2 * math.pi ** ((dim + 1) / 2) / math.gamma((dim + 1) / 2))


def _onto_sphere(x: Tensor, radius: float, tolerance: float) -> Projection:
    normal, unique = directions(x)
    points = radius * normal
    return exact(points, (points.norm(dim=-1) - radius).abs(), unique, tolerance)


def _turned(plane: Tensor) -> Tensor:
    return torch.stack([-plane[..., 1], plane[..., 0]], -1)


def _nearer(x: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    a, b = (x - first).detach().norm(dim=-1), (x - second).detach().norm(dim=-1)
    return b < a, a == b


def _unit_circle(n: int, generator: torch.Generator | None) -> Tensor:
    angle = 2 * math.pi * uniform(n, 1, generator)
    return torch.cat([angle.cos(), angle.sin()], -1)
