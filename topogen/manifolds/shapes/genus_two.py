"""A smooth closed surface of genus 2 in R^3: the double of an elliptic disc with two round holes.

    F(x, y, z) = c z^2 - E A(H_-) A(H_+),   E = 1 - x^2/a^2 - y^2/b^2,   H_+- = (x -+ 1)^2 + y^2 - rho^2,   A(H) = H/(H + k)

with a = 2.4, b = 1.5, rho = .45, c = k = .7. E, H_-, H_+ vanish on three disjoint ovals, so F = 0 is regular. The reflections x, y, z -> -x, -y, -z cut
it into eight right-angled pentagons, each pentagon into five quadrangles: bilinear patches moved onto F = 0 along the gradient, which keeps the planes of
symmetry. The patches are analytic, so the area by Gauss-Legendre rules converges spectrally; they also serve to draw uniform points.
"""

from __future__ import annotations

import functools
from typing import final

import torch
from torch import Tensor

from topogen.geometry.derivatives import Linear, differentiable_closest
from topogen.geometry.frames import complement
from topogen.manifolds.base import Projection
from topogen.manifolds.shapes.base import Shape, check_positive, sample_by_rejection, uniform
from topogen.manifolds.shapes.level_set import LevelSurface, Seeds, closest_points, derivative_of_closest, onto, onto_with_tangents

__all__ = ["GenusTwo"]

_A, _B, _RHO, _C, _K = 2.4, 1.5, 0.45, 0.7, 0.7
_CORNERS = [[0.0, 0.0, 0.64], [0.0, 1.5, 0.0], [2.4, 0.0, 0.0], [1.45, 0.0, 0.0], [0.55, 0.0, 0.0]]
_EDGES = [[0.0, 0.9, 0.6], [1.7, 1.06, 0.0], [1.95, 0.0, 0.5], [1.0, 0.45, 0.0], [0.35, 0.0, 0.45]]
_CENTRE = [0.95, 0.95, 0.6]


@final
class GenusTwo(Shape):
    """Closed surface of genus 2 in R^3, `scale` (default 1) times the one of half axes 2.4, 1.5, .68 and holes of radius .45 around (+-1, 0, 0).

    Its reach is about .33 scale, measured on samples.
    """

    name = "genus_two"
    orientable = True

    def __init__(self, scale: float = 1.0) -> None:
        check_positive(scale=scale)
        super().__init__(2, 3)
        self.scale = float(scale)

    def level(self, x: Tensor) -> Tensor:
        """F(x / scale) (...) at points (..., 3), negative inside."""
        return _slope((x / self.scale).reshape(-1, 3))[0].reshape(x.shape[:-1])

    def area(self, nodes: int) -> float:
        """Area by a Gauss-Legendre rule of `nodes`^2 points on each of the 40 quadrangles; `volume` takes 48."""
        from scipy.special import roots_legendre

        t, w = (torch.from_numpy(part) for part in roots_legendre(nodes))
        square = torch.cartesian_prod((t + 1) / 2, (t + 1) / 2)
        weights = (w[:, None] * w / 4).reshape(-1)
        return 8 * self.scale**2 * sum(float((_patch(torch.full((len(square),), k), square)[1] * weights).sum()) for k in range(5))

    def _project(self, x: Tensor) -> Projection:
        found = differentiable_closest(x.double() / self.scale, self._sought, 1.0)
        residual = self.scale * found.residual
        return Projection((self.scale * found.points).to(x), residual.to(x), residual <= self.tolerance(torch.float64), found.iterations)

    def _sought(self, y: Tensor) -> tuple[Projection, Linear]:
        p, steps = closest_points(_SURFACE, y, self._seeds)
        residual, derivative = derivative_of_closest(_SURFACE, y, p)
        return Projection(p, residual, torch.isfinite(residual), steps), derivative

    def _tangent_basis(self, x: Tensor) -> Tensor:
        normal = _slope(x / self.scale)[1]
        return complement((normal / normal.norm(dim=-1, keepdim=True)).unsqueeze(-1))

    def _mean_curvature(self, x: Tensor) -> Tensor:
        normal, second = _slope(x / self.scale)[1], _bend(x / self.scale)
        length: Tensor = torch.linalg.vector_norm(normal, dim=-1, keepdim=True)
        unit = normal / length
        trace = second.diagonal(dim1=-2, dim2=-1).sum(-1) - (unit.unsqueeze(-2) @ second @ unit.unsqueeze(-1)).flatten()
        return -(trace.unsqueeze(-1) / (length * self.scale)) * unit

    def _volume(self) -> float:
        return self.area(48)

    def _diameter(self) -> float:
        return 2 * _A * self.scale

    def _betti(self, field: int) -> tuple[int, ...]:
        return (1, 4, 1)

    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        def propose(k: int) -> Tensor:
            return uniform(k, 6, generator)

        def points(u: Tensor) -> tuple[Tensor, Tensor]:
            return _patch((5 * u[:, 0]).long(), u[:, 1:3])

        u = sample_by_rejection(n, generator, propose, lambda u: points(u)[1] / self._density_bound)
        return self.scale * points(u)[0] * (1 - 2 * (u[:, 3:] < 0.5).double())

    @functools.cached_property
    def _density_bound(self) -> float:
        # The largest density on a fine grid; 5 % above it leave room for the little that lies between its points.
        axis = torch.linspace(0, 1, 60, dtype=torch.float64)
        square = torch.cartesian_prod(axis, axis)
        return 1.05 * max(float(_patch(torch.full((len(square),), k), square)[1].max()) for k in range(5))

    @functools.cached_property
    def _seeds(self) -> Seeds:
        axis = (torch.arange(9, dtype=torch.float64) + 0.5) / 9
        square = torch.cartesian_prod(axis, axis)
        octant = torch.cat([_patch(torch.full((len(square),), k), square)[0] for k in range(5)])
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
        points = (signs.unsqueeze(1) * octant).reshape(-1, 3)
        distance = torch.cdist(points, points)
        order = distance.topk(9, largest=False)
        return Seeds(points, order.indices[:, 1:], float(order.values[:, 4].max()))


def _slope(x: Tensor) -> tuple[Tensor, Tensor]:
    """F (n,) and its gradient (n, 3)."""
    f, g = _factors(x[:, :2])
    others = _others(f)
    return _C * x[:, 2] ** 2 - f[0] * others[0], torch.cat([-(others.unsqueeze(-1) * g).sum(0), 2 * _C * x[:, 2:]], -1)


def _bend(x: Tensor) -> Tensor:
    """Hessian (n, 3, 3) of F."""
    xy = x[:, :2]
    f, g = _factors(xy)
    arms, shifted = _arms(xy)
    eye = torch.eye(2, dtype=x.dtype, device=x.device)
    first, second = (_K / shifted**2)[..., None, None], (_K / shifted**3)[..., None, None]
    holes = 2 * first * eye - 8 * second * arms.unsqueeze(-1) * arms.unsqueeze(-2)
    ellipse = torch.tensor([-2 / _A**2, -2 / _B**2], dtype=x.dtype, device=x.device).diag().expand(1, len(x), 2, 2)
    bend = (_others(f)[:, :, None, None] * torch.cat([ellipse, holes])).sum(0)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        cross = f[i, :, None, None] * g[j].unsqueeze(-1) * g[k].unsqueeze(-2)
        bend = bend + cross + cross.mT
    up = torch.tensor([0, 0, 2 * _C], dtype=x.dtype, device=x.device).diag()
    return up - torch.nn.functional.pad(bend, (0, 1, 0, 1))


def _factors(xy: Tensor) -> tuple[Tensor, Tensor]:
    """E, A(H_-), A(H_+) as values (3, n) and gradients (3, n, 2) in (x, y)."""
    half = xy.new_tensor([_A**2, _B**2])
    arms, shifted = _arms(xy)
    values = torch.cat([1 - (xy**2 / half).sum(-1).unsqueeze(0), 1 - _K / shifted])
    return values, torch.cat([(-2 * xy / half).unsqueeze(0), (2 * _K / shifted**2).unsqueeze(-1) * arms])


def _arms(xy: Tensor) -> tuple[Tensor, Tensor]:
    """(x, y) from the centres of the two holes (2, n, 2), and H + k (2, n)."""
    arms = xy - xy.new_tensor([[[-1.0, 0.0]], [[1.0, 0.0]]])
    return arms, (arms**2).sum(-1) - _RHO**2 + _K


def _others(f: Tensor) -> Tensor:
    return torch.stack([f[1] * f[2], f[0] * f[2], f[0] * f[1]])


_SURFACE = LevelSurface(_slope, _bend)


def _patch(index: Tensor, st: Tensor) -> tuple[Tensor, Tensor]:
    """Points (n, 3) and area densities (n,) of the quadrangles `index` (n,) of the first octant at (s, t) (n, 2) in the unit square."""
    corners, middles, centre = (part.to(st.dtype) for part in _pentagon())
    a, b, d = corners[index], middles[index], middles[index - 1]
    s, t = st[:, :1], st[:, 1:]
    x = (1 - s) * (1 - t) * a + s * (1 - t) * b + (1 - s) * t * d + s * t * centre
    along, across = (1 - t) * (b - a) + t * (centre - d), (1 - s) * (d - a) + s * (centre - b)
    points, tangents = onto_with_tangents(_SURFACE, x, torch.stack([along, across], -1))
    return points, torch.linalg.vector_norm(torch.linalg.cross(tangents[..., 0], tangents[..., 1]), dim=-1)


@functools.cache
def _pentagon() -> tuple[Tensor, Tensor, Tensor]:
    """Corners (5, 3), middles of the edges that follow them (5, 3) and centre (1, 3) of the pentagon in the first octant."""
    corners, middles, centre = (onto(_SURFACE, torch.tensor(part, dtype=torch.float64)) for part in (_CORNERS, _EDGES, [_CENTRE]))
    return corners, middles, centre
