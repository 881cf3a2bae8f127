"""Shapes given by a parametrisation phi: box of parameters -> R^D, covering M up to a null set.

Closest points by `closest` (grid seeds, Newton), tangents from the singular vectors of D phi, curvature and area from its derivatives:

    dA = sqrt(det J^t J) du,     H = (I - P) sum_ij g^ij d_i d_j phi,     g = J^t J

Uniform samples are exact: parameters drawn uniformly are kept with probability dA / `density_bound`, a proven maximum.
The residual of a projection p of x is |P(p) (p - x)| / (1 + |p - x| / diameter), a length that vanishes at nearest points.
A final shape writes phi, its box and what is known in closed form. Computed in float64 on the CPU,
results follow the input's dtype and device.
"""

from __future__ import annotations

import abc
import functools
import math

import torch
from torch import Tensor

from topogen.geometry.derivatives import CURVATURE, FRAMES, Linear, differentiable_closest, underived
from topogen.manifolds.base import Projection
from topogen.manifolds.shapes.base import Shape, sample_by_rejection, uniform
from topogen.manifolds.shapes.closest import ParameterGrid, nearest_parameters, nearest_points

__all__ = ["ParametricShape", "real_rows", "second_order"]


class ParametricShape(Shape):
    """A shape phi(box) of m parameters, m >= d (more than d: phi is constant along the rest and its seeds cover M).

    `box` is a list of m triples (low, high, count of seeds); `periodic` says per parameter whether phi closes up, so that it needs no bounds;
    `density_bound` is a number that the area density sqrt(det J^t J) never exceeds.
    """

    def __init__(self, dim: int, ambient_dim: int, box: list[tuple[float, float, int]], periodic: tuple[bool, ...], density_bound: float) -> None:
        super().__init__(dim, ambient_dim)
        self._box = box
        self._periodic = periodic
        self._density_bound = density_bound

    @abc.abstractmethod
    def embed(self, u: Tensor) -> Tensor:
        """phi: parameters (n, m) to points (n, D), row by row, smooth."""

    @abc.abstractmethod
    def jet(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi (n, D), D phi (n, D, m) and D^2 phi (n, D, m, m) at parameters (n, m)."""

    def density(self, u: Tensor) -> Tensor:
        """Area density sqrt(det J^t J) (n,) of phi at parameters (n, m)."""
        stretch: Tensor = torch.linalg.svdvals(self.jet(u)[1])
        return stretch[:, : self.dim].prod(-1)

    def parameters_of(self, x: Tensor) -> Tensor:
        """Parameters (n, m), float64, of the points of M nearest to x (n, D)."""
        low, high = self._bounds()
        return nearest_parameters(self.embed, self.jet, _exactly(x.detach()), self._grid, low, high)[0]

    def _parameters_on(self, x: Tensor) -> Tensor:
        """Parameters (n, m) of points (n, D), float64, that lie on M; override where phi has a closed inverse."""
        return self.parameters_of(x)

    def _project(self, x: Tensor) -> Projection:
        found = differentiable_closest(_exactly(x), self._sought, self.diameter)
        return Projection(found.points.to(x), found.residual.to(x), found.converged.to(x.device), found.iterations.to(x.device))

    def _sought(self, y: Tensor) -> tuple[Projection, Linear]:
        low, high = self._bounds()
        u, steps = nearest_parameters(self.embed, self.jet, y, self._grid, low, high)
        points, tangential, derivative = nearest_points(self.jet, y, u, low, high)
        residual = tangential / (1 + (points - y).norm(dim=-1) / self.diameter)
        return Projection(points, residual, residual <= self.tolerance(torch.float64), steps), derivative

    def _tangent_basis(self, x: Tensor) -> Tensor:
        return underived(self._frame(self.jet(self._parameters_on(_exactly(x.detach())))[1]).to(x), x, FRAMES)

    def _frame(self, first: Tensor) -> Tensor:
        left: Tensor = torch.linalg.svd(first, full_matrices=False)[0]
        return left[:, :, : self.dim]

    def _mean_curvature(self, x: Tensor) -> Tensor:
        _, first, second = self.jet(self._parameters_on(_exactly(x.detach())))
        basis = self._frame(first)
        inverse: Tensor = torch.linalg.pinv(first.mT @ first, hermitian=True, rtol=1e-10)
        total = (second * inverse.unsqueeze(1)).sum((-1, -2))
        return underived((total - (basis @ (basis.mT @ total.unsqueeze(-1))).squeeze(-1)).to(x), x, CURVATURE)

    def _sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        return self.embed(sample_by_rejection(n, generator, lambda k: self._uniform_parameters(k, generator), lambda u: self.density(u) / self._density_bound))

    def _uniform_parameters(self, n: int, generator: torch.Generator | None) -> Tensor:
        low, high = (torch.tensor(side, dtype=torch.float64) for side in list(zip(*self._box, strict=True))[:2])
        return low + (high - low) * uniform(n, len(self._box), generator)

    def _bounds(self) -> tuple[Tensor, Tensor]:
        low = [-torch.inf if free else side[0] for side, free in zip(self._box, self._periodic, strict=True)]
        high = [torch.inf if free else side[1] for side, free in zip(self._box, self._periodic, strict=True)]
        return torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)

    def _seeds(self) -> Tensor:
        """Seeds (g_1, .., g_k, m): a grid of the box, ends included where they are bounds."""
        axes = [_axis(*side, free) for side, free in zip(self._box, self._periodic, strict=True)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)

    @functools.cached_property
    def _grid(self) -> ParameterGrid:
        seeds = self._seeds()
        flat = seeds.reshape(-1, seeds.shape[-1])
        points = self.embed(flat)
        shape = tuple(seeds.shape[:-1])
        field = points.reshape(*shape, -1)
        gaps = [field.diff(dim=k).norm(dim=-1).max() for k in range(len(shape)) if shape[k] > 1]
        return ParameterGrid(flat, points, shape, 0.75 * float(sum(gaps)))

    def _diameter(self) -> float:
        return _farthest_pair(self)


def _exactly(x: Tensor) -> Tensor:
    return x.to(device="cpu", dtype=torch.float64)


def real_rows(*columns: Tensor) -> Tensor:
    """Complex columns (n,) as real rows (n, 2 k): real and imaginary part of each in turn."""
    return torch.view_as_real(torch.stack(columns, -1)).flatten(1)


def second_order(uu: Tensor, uv: Tensor, vv: Tensor) -> Tensor:
    """Second derivatives (n, D, 2, 2) from the three different ones (n, D)."""
    return torch.stack([torch.stack([uu, uv], -1), torch.stack([uv, vv], -1)], -1)


def _axis(low: float, high: float, count: int, free: bool) -> Tensor:
    return torch.linspace(low, high, count + free, dtype=torch.float64)[:count]


def _farthest_pair(shape: ParametricShape) -> float:
    """Largest distance of two points: the best pair of seeds, refined by a bounded quasi-Newton method on both parameters."""
    from scipy.optimize import minimize

    grid = shape._grid
    distance = torch.cdist(grid.points, grid.points)
    i, j = divmod(int(distance.argmax()), len(distance))
    start = torch.stack([grid.parameters[i], grid.parameters[j]])

    unit = float(distance.max())

    # Numbers leave tensors one by one: the first call may come from inside torch.func.jvp, where tensors have no storage to share with numpy.
    def objective(flat: object) -> tuple[float, list[float]]:
        point, first, _ = shape.jet(torch.as_tensor(flat, dtype=torch.float64).reshape(2, -1))
        chord = (point[0] - point[1]) / unit
        slope = first / unit
        return -float(chord.square().sum()), [float(v) for v in torch.stack([-2 * chord @ slope[0], 2 * chord @ slope[1]]).flatten()]

    low, high = shape._bounds()
    bounds = 2 * [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    found = minimize(objective, [float(v) for v in start.flatten()], jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-12})
    return unit * math.sqrt(max(-float(found.fun), 1.0))
