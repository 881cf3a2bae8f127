"""Fine atlases for densities: farthest points of a manifold with tangent-plane charts on balls wider than the covering radius, at one or several scales.

    x = c + T z + N f(z),   |z| < rho = factor delta,      delta the covering radius of the centres c

With many small charts the bumps of a mixture are a partition fine enough that its weights alone carry the density. Scales are stacked: an atlas may hold charts
of several radii, the coarse ones cover, the fine ones follow detail.
Gonzalez (1985), Clustering to minimize the maximum intercluster distance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.geometry.clouds.neighbours import pairs_within
from topogen.geometry.frames import determinant
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.graph_charts import GraphCharts, fit_heights
from topogen.manifolds.base import Manifold

__all__ = ["FACTOR", "fine_atlas", "folded_share"]

FACTOR = 2.4
LEAST_FACTOR = 1.15
LEAST_STRETCH = 0.4
_GATE_SHARE = 1.5
_LEAST_GATE = 0.1
_FOLD_POINTS = 4000


def fine_atlas(manifold: Manifold, cover: Tensor, counts: Sequence[int], *, factor: float = FACTOR) -> Atlas:
    """Tangent-plane charts of M around farthest points of `cover` (n, D), points of M that cover it, for each of the counts one scale.

    A ball ends before the points where M leans away from the chart (|det A| < .4), but is never below 1.15 covering radii; where that is too wide for M,
    `folded_share` tells. The gate of a chart is 1.5 times the largest distance of its covering points from its own sheet, and at least a tenth of its radius.
    Raises InvalidInputError for no counts, counts below 1, or a factor below 1.15, which would leave M uncovered.
    """
    if not counts or min(counts) < 1 or factor < LEAST_FACTOR:
        raise InvalidInputError(f"counts, factor: expected counts >= 1 and a factor >= {LEAST_FACTOR}, found {tuple(counts)} and {factor}")
    points = cover.detach().double()
    centres, radii = zip(*(_level(points, count) for count in counts), strict=True)
    centre, covering = torch.cat(centres), torch.cat(radii)
    charts = GraphCharts(centre, manifold.tangent_basis(centre), _radius(manifold, centre, covering, points, factor))
    row, chart = _near(charts, points)
    fitted = fit_heights(charts, chart, points[row])
    offset = fitted.offset(chart, points[row], fitted.encode(chart, points[row]))
    tau = torch.zeros_like(covering).scatter_reduce(0, chart, offset, "amax") * _GATE_SHARE
    return Atlas(fitted, manifold, tau=tau.maximum(_LEAST_GATE * charts.radius), points=points)


def folded_share(atlas: Atlas) -> float:
    """Share of the pairs of a point and a chart that holds it where the chart's coordinates lead back to another point of M, or to none.

    There two points share coordinates, and a mixture over the atlas has too much mass by about this share. At up to 4000 of the atlas's points.
    """
    some = atlas.points[:: max(1, len(atlas.points) // _FOLD_POINTS)]
    held = atlas.members(some)
    back = atlas.decode(held.chart, held.z)
    astray = (back.points - some[held.row]).norm(dim=-1) > 1e-5 * atlas.charts.radius[held.chart]
    return float((astray | ~back.found).double().mean()) if len(astray) else 0.0


def _level(points: Tensor, count: int) -> tuple[Tensor, Tensor]:
    found = farthest_points(points, count)
    # Where every point is a centre the covering radius is 0; any positive radius will do.
    radius = found.radius or float((points - points.mean(0)).norm(dim=1).max()) or 1.0
    return found.points, torch.full((len(found.points),), radius, dtype=torch.float64)


def _radius(manifold: Manifold, centre: Tensor, covering: Tensor, points: Tensor, factor: float) -> Tensor:
    """rho (K,): at most `factor` and at least 1.15 covering radii, ending before M leans away."""
    widest = GraphCharts(centre, manifold.tangent_basis(centre), factor * covering)
    row, chart = _near(widest, points)
    stretch = determinant(widest.slope(chart, points[row]) @ manifold.tangent_basis(points)[row]).abs()
    reach = torch.where(stretch < LEAST_STRETCH, widest.encode(chart, points[row]).norm(dim=-1), torch.inf)
    upright = torch.full_like(covering, torch.inf).scatter_reduce(0, chart, reach, "amin")
    return torch.minimum(upright, factor * covering).maximum(LEAST_FACTOR * covering)


def _near(charts: GraphCharts, points: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of a point and a chart whose ball it is over, on the same side: no farther from the tangent plane than the radius."""
    row, chart = pairs_within(points, charts.centre, charts.extent)
    z = charts.encode(chart, points[row])
    height = ((points[row] - charts.centre[chart]).square().sum(-1) - z.square().sum(-1)).clamp_min(0).sqrt()
    near = (z.norm(dim=-1) < charts.radius[chart]) & (height < charts.radius[chart])
    return row[near], chart[near]
