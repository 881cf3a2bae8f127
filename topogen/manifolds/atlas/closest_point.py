"""Foot points on the charts' own sheets: the closest point of the union of the images of the charts, each found inside one chart.

In chart k the foot of x solves J^t (x - g_k(z)) = 0, by Newton's method with Hessian H = J^t J - <x - g_k, D^2 g_k>; where H is not safely positive J^t J
stands in. Of the charts whose foot is the closest, up to the gap between sheets, the one in whose middle it lies most counts: the same that `encode`
takes there. The closest point depends on x through

    Dz = J H^-1 J^t .

Foote (1984), Regularity of the distance function.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import pairs_within
from topogen.geometry.derivatives import Linear, differentiable_closest
from topogen.geometry.frames import apply
from topogen.geometry.newton import State, clipped, iterate
from topogen.geometry.projection import Projection
from topogen.manifolds.atlas.graph_charts import Charts

__all__ = ["closest_on_charts", "first_per_row"]

_STEPS = 20
_WIDENED = 1.5


def closest_on_charts(charts: Charts, x: Tensor, gate: Tensor, tolerance: float) -> Projection:
    """Project points (n, D) on the own sheets: foot points, residual = length of the last Newton step (data units); differentiable in x twice.

    A point farther than 1.5 extents from every centre, or whose foot lies outside all charts, does not converge; where no chart comes near, it comes back
    as it is. `gate` (K,): how far apart the sheets of chart k and its neighbours may be; feet farther apart are on different sheets.
    """
    found = differentiable_closest(x.double(), lambda y: _feet(charts, y, gate, tolerance), float(charts.radius.median()))
    return replace(found, points=found.points.to(x.dtype), residual=found.residual.to(x.dtype))


def _feet(charts: Charts, y: Tensor, gate: Tensor, tolerance: float) -> tuple[Projection, Linear]:
    row, chart = pairs_within(y, charts.centre, _WIDENED * charts.extent)
    z, step = _descend(charts, chart, y[row])
    inside = (z.norm(dim=-1) < charts.radius[chart]) & (step <= tolerance)
    foot = charts.decode(chart, z)
    distance = torch.where(inside, (y[row] - foot).norm(dim=-1), torch.inf)
    depth = z.norm(dim=-1) / charts.radius[chart]
    best = first_per_row(row, torch.where(_same_sheet(row, foot, distance, gate[chart], len(y)), depth, torch.inf), len(y))
    some = best >= 0
    chosen = best[some]
    points, residual = y.clone(), torch.full((len(y),), torch.inf, dtype=y.dtype)
    points[some], residual[some] = foot[chosen], step[chosen]
    converged = some.clone()
    converged[some] = inside[chosen]
    iterations = torch.full((len(y),), _STEPS, dtype=torch.int64)
    return Projection(points, residual, converged, iterations), _derivative(charts, y, converged, chart[chosen], z[chosen], some)


def _same_sheet(row: Tensor, foot: Tensor, distance: Tensor, gate: Tensor, n: int) -> Tensor:
    """Mask (m,) of the feet that are within the gate of the closest foot of their point, and as far from the point up to the gate."""
    if not len(row):
        return torch.zeros_like(row, dtype=torch.bool)
    nearest = first_per_row(row, distance, n)[row]
    return (distance <= distance[nearest] + gate) & ((foot - foot[nearest]).norm(dim=-1) <= gate) | (distance == distance[nearest])


def first_per_row(row: Tensor, value: Tensor, n: int) -> Tensor:
    """Position (n,) of the smallest value among the entries of each row; -1 where a row has none."""
    order = torch.argsort(value, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    first = torch.ones(len(order), dtype=torch.bool)
    first[1:] = row[order][1:] != row[order][:-1]
    best = torch.full((n,), -1, dtype=torch.int64)
    best[row[order][first]] = order[first]
    return best


def _descend(charts: Charts, chart: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (m, d) of the feet, and the length (m,) of the last step in data units; a foot is not sought beyond 1.5 radii."""

    def step(z: Tensor, _: Tensor, chart: Tensor, x: Tensor, limit: Tensor) -> tuple[State, Tensor]:
        move, length = _newton(charts, chart, z, x)
        moved = clipped(z + clipped(move, limit / 3), limit)
        stuck = (moved - z).norm(dim=-1) <= 1e-14 * limit[:, 0]
        return (moved, length), ~stuck & (length > 1e-13 * charts.radius[chart])

    limit = _WIDENED * charts.radius[chart].unsqueeze(-1)
    z = clipped(charts.encode(chart, x), limit)
    z, length = iterate(step, (z, torch.full((len(x),), torch.inf, dtype=x.dtype)), (chart, x, limit), max_iterations=_STEPS).state
    return z, length


def _newton(charts: Charts, chart: Tensor, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The Newton step (m, d), and its length (m,) in data units."""
    slope, offset = charts.jacobian(chart, z), x - charts.decode(chart, z)
    step = torch.linalg.solve(_hessian(charts, chart, z, offset, slope), slope.mT @ offset.unsqueeze(-1))
    return step.squeeze(-1), (slope @ step).squeeze(-1).norm(dim=-1)


def _hessian(charts: Charts, chart: Tensor, z: Tensor, offset: Tensor, slope: Tensor) -> Tensor:
    gram = slope.mT @ slope
    full = gram - charts.bend(chart, z, offset)
    safe = torch.linalg.eigvalsh((full + full.mT) / 2)[:, 0] > 0.05 * torch.linalg.eigvalsh(gram)[:, 0]
    return torch.where(safe[:, None, None], full, gram)


def _derivative(charts: Charts, x: Tensor, converged: Tensor, chart: Tensor, z: Tensor, some: Tensor) -> Linear:
    """J H^-1 J^t at points x (n, D), those of `some` (n,) with a foot at z in their chart; NaN where there is no closest point."""

    @functools.cache
    def matrices() -> Tensor:
        slope, full = charts.jacobian(chart, z), torch.full((*x.shape, x.shape[1]), torch.nan, dtype=x.dtype)
        inverse = torch.linalg.inv(_hessian(charts, chart, z, x[some] - charts.decode(chart, z), slope))
        full[some] = slope @ inverse @ slope.mT
        return torch.where(converged[:, None, None], full, torch.nan)

    return lambda v: apply(matrices(), v)
