"""A disc atlas: few large charts, star-shaped discs with coordinates close to normal ones, for densities and geodesics.

Candidates are the stars (`stars`) of farthest points among samples of M, drawn on a table of local polynomials through the samples. Greedy set cover takes the
star that holds most of the samples within `depth` of its radius that none before it does, until all are held; samples that the finished charts do not hold
become candidates. The coordinates of a star are blended from a net of its ray points (`BlendedCharts`): nothing is trained, and e_k(x) = z is solved on M.
The atlas is accepted once every z of its balls has a point of M and one only (tested at 8000 points), the discs hold all samples and the metric is bounded,
cond G <= 100 and |det A| >= .1.
Chvatal (1979), A greedy heuristic for the set-covering problem; do Carmo (1992), Riemannian Geometry (normal neighbourhoods).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.geometry.clouds.neighbours import components, linear_and_quadratic, nearest, pairs_within
from topogen.geometry.frames import apply
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.blended_charts import BlendedCharts
from topogen.manifolds.atlas.measured_cover import GATE_MARGIN, Cover, largest, measured, probes
from topogen.manifolds.atlas.star_discs import Star, stars
from topogen.manifolds.base import Manifold
from topogen.manifolds.local_polynomial import fit_local_polynomials

__all__ = ["DiscAtlas", "disc_atlas"]

DEPTH = 0.9
CANDIDATES, PER_COMPONENT = {1: 8, 2: 48, 3: 48}, 4
TABULATED, COVERED = 8000, 4000
GRAPH_NEIGHBOURS = 12
SUPPORT, SEPARATION, COHERENT, UNFIT = 1.3, 0.6, 0.9, 0.5
NEXT = {1: 2, 2: 8, 3: 20}
NEIGHBOURS = {1: 4, 2: 24, 3: 60}
HELD = 0.98
TRIMS, TRIM = 10, 0.95
LARGEST_CONDITION, FLATTEST = 100.0, 0.1
CHECKED = 4000
MOST = 60


@dataclass(frozen=True)
class DiscAtlas:
    """The `cover` (its atlas and how well it fits) and the largest condition number of the metric (`condition`)."""

    cover: Cover
    condition: float

    @property
    def atlas(self) -> Atlas:
        """The atlas itself."""
        return self.cover.atlas


def disc_atlas(samples: Tensor, sheet: Manifold, *, depth: float = DEPTH) -> DiscAtlas:
    """A disc atlas with few charts; samples (n, D) cover M = `sheet`, and each lies within `depth` of the radius of some disc where stars can reach so far.

    Raises InvalidInputError when more than 60 charts would be needed, or no atlas passes, and says why.
    """
    samples = samples.detach().double()
    source = _Stars(samples, sheet.dim)
    chosen = _greedy(source.at(source.candidates), source.some, depth)
    while True:
        if len(chosen) > MOST:
            raise InvalidInputError(f"samples: more than {MOST} discs would be needed; use many small ones, fine_atlas")
        charts = _trimmed(_blended(chosen, source.table), sheet, samples)
        left = _left_over(charts, samples)
        if not len(left):
            break
        chosen += source.at(left[len(left) // 2 :][:1])
    cover = measured(charts, samples, sheet, covering_radius=float(charts.radius.max()))
    found = DiscAtlas(cover, _condition(cover.atlas))
    objection = _objection(found, samples)
    if objection:
        raise InvalidInputError(f"samples: {len(chosen)} discs cover them, but {objection}; give more samples, or use many small ones, fine_atlas")
    return found


class _Stars:
    """Stars on a table of M through samples (n, D): `candidates` are rows of centres, `some` of the samples are to be held."""

    def __init__(self, samples: Tensor, dim: int) -> None:
        self.samples, self.some = samples, samples[:: max(1, len(samples) // COVERED)]
        self.table = fit_local_polynomials(samples[:: max(1, len(samples) // TABULATED)], dim)
        count, self._length = self._lengths(dim)
        self.candidates = farthest_points(samples, max(CANDIDATES[dim], PER_COMPONENT * count)).indices

    def at(self, rows: Tensor) -> list[Star]:
        """The stars around samples."""
        centres = self.samples[rows]
        return stars(self.table, centres, self._length[nearest(self._graphed, 1, centres)[1][:, 0]])

    def _lengths(self, dim: int) -> tuple[int, Tensor]:
        """The number of components, and how far from each of some samples its component reaches along M."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import shortest_path

        self._graphed = self.samples[:: max(1, len(self.samples) // 1000)]
        distance, index = nearest(self._graphed, GRAPH_NEIGHBOURS)
        rows = torch.arange(len(index)).repeat_interleave(index.shape[1])
        count = components(len(index), torch.stack([rows, index.flatten()], 1))[0]
        edges = coo_array((distance.flatten().numpy(), (rows.numpy(), index.flatten().numpy())), shape=(len(index),) * 2).tocsr()
        between = torch.from_numpy(shortest_path(edges, method="D", directed=False))
        return count, torch.where(torch.isfinite(between), between, 0).amax(1)


def _greedy(stars: list[Star], samples: Tensor, depth: float) -> list[Star]:
    """Stars that hold all samples within `depth` that any of them does, the most useful first, and none that the others make idle."""
    held = torch.stack([_depths(each, samples) <= depth for each in stars])
    chosen, open_ = [], held.any(0)
    while bool(open_.any()):
        chosen.append(int((held & open_).sum(1).argmax()))
        open_ &= ~held[chosen[-1]]
    for row in list(chosen):
        others = [each for each in chosen if each != row]
        if others and bool((held[others].any(0) == held.any(0)).all()):
            chosen = others
    return [stars[row] for row in chosen] or stars[:1]


def _depths(found: Star, samples: Tensor) -> Tensor:
    """|z| / R (n,) of the nearest ray point; infinite where there is none near."""
    distance, index = nearest(found.x, 1, samples)
    depth = found.z[index[:, 0]].norm(dim=1) / found.radius
    return torch.where(distance[:, 0] <= found.spacing, depth, torch.inf)


class _Net(NamedTuple):
    node: Tensor
    value: Tensor
    tilt: Tensor
    back: Tensor
    support: Tensor


def _blended(stars: list[Star], table: Manifold) -> BlendedCharts:
    nets = [_net(each, table) for each in stars]
    owner = torch.arange(len(stars)).repeat_interleave(torch.tensor([len(net.node) for net in nets]))
    centre, radius = torch.stack([each.centre for each in stars]), torch.tensor([each.radius for each in stars], dtype=torch.float64)
    extent = torch.stack([(each.x - each.centre).norm(dim=1).max() + each.spacing for each in stars])
    parts = {name: torch.cat([getattr(net, name) for net in nets]) for name in _Net._fields}
    return BlendedCharts(centre, radius, extent, owner=owner, **parts)


def _net(found: Star, table: Manifold) -> _Net:
    """Ray points whose coordinates are apart by `SEPARATION` meshes, with the slopes of the coordinates; a support holds the next nodes, and ends before ray
    points that its affine map does not fit.

    Rays crowd at the centre, so that points at half of the distance stand for all.
    """
    apart = _separated(found.z, SEPARATION / 2 * found.mesh)
    found = found._replace(x=found.x[apart], z=found.z[apart])
    chosen = _separated(found.z, SEPARATION * found.mesh)
    node, value = found.x[chosen], found.z[chosen]
    tilt, back = _slopes(found, table, node, value)
    next_ = nearest(value, NEXT[value.shape[1]])[1]
    wide = SUPPORT * (node[next_] - node.unsqueeze(1)).norm(dim=-1).amax(1)
    ray, row = pairs_within(found.x, node, wide)
    offset = found.x[ray] - node[row]
    off = (value[row] + apply(tilt[row], offset) - found.z[ray]).norm(dim=1)
    strange = off > UNFIT * torch.linalg.matrix_norm(tilt, ord=2)[row] * wide[row]
    limit = wide.scatter_reduce(0, row[strange], COHERENT * offset[strange].norm(dim=1), "amin")
    return _Net(node, value, tilt, back, limit)


def _separated(x: Tensor, distance: float) -> Tensor:
    """Rows (m,) of points (n, D) that are at least so far apart, taken in order, none of the others farther from them."""
    from scipy.spatial import cKDTree

    tree = cKDTree(x.numpy())
    free, rows = torch.ones(len(x), dtype=torch.bool).numpy(), []
    for row in range(len(x)):
        if free[row]:
            rows.append(row)
            free[tree.query_ball_point(x[row].numpy(), distance)] = False
    return torch.tensor(rows)


def _slopes(found: Star, table: Manifold, node: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """A (m, d, D) and the coefficients of the way back (m, D, q), of least squares over the ray points with the nearest coordinates."""
    index = nearest(found.z, min(NEIGHBOURS[value.shape[1]], len(found.z)), value)[1]
    tangent = table.tangent_basis(node)
    x, z = found.x[index] - node.unsqueeze(1), found.z[index] - value.unsqueeze(1)
    return _quadratic(x @ tangent, z)[..., : value.shape[1]] @ tangent.mT, _quadratic(z, x)


def _quadratic(z: Tensor, x: Tensor) -> Tensor:
    """Coefficients (m, p, q) of x (m, k, p) ~ C (z, z_i z_j for i <= j), z (m, k, d), through 0."""
    unit = z.norm(dim=-1).amax(1)[:, None, None].clamp_min(1e-300)
    design = linear_and_quadratic(z / unit)
    gram = design.mT @ design
    ridge = 1e-10 * gram.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-12)[:, None, None] * torch.eye(gram.shape[1], dtype=gram.dtype)
    powers = torch.cat([unit.expand(-1, 1, z.shape[2]), unit.square().expand(-1, 1, design.shape[2] - z.shape[2])], -1)
    return (torch.linalg.solve(gram + ridge, design.mT @ x) / powers.mT).mT


def _trimmed(charts: BlendedCharts, sheet: Manifold, samples: Tensor) -> BlendedCharts:
    """The charts with balls so small that every z of them has a point of M and one only, as far as probes and samples tell."""
    some, radius = samples[:: max(1, len(samples) // CHECKED)], charts.radius.clone()
    suspect = torch.arange(charts.count)
    for _ in range(TRIMS):
        worst = _failing(charts.trimmed(radius).subset(suspect), sheet, some)
        if not len(worst):
            break
        suspect = suspect[worst]
        radius[suspect] *= TRIM
    return charts.trimmed(radius)


def _failing(charts: BlendedCharts, sheet: Manifold, samples: Tensor) -> Tensor:
    """The charts (m,) with coordinates that have no point of M, which is no defect where M ends, or with two samples over the same coordinates."""
    chart, z = probes(charts)
    x, found = Atlas(charts, sheet, points=samples).decode(chart, z)
    lost = chart[~found] if sheet.closed else chart[:0]
    chart, x, z = chart[found], x[found], z[found]
    tau = GATE_MARGIN * largest(charts.offset(chart, x, z), chart, charts) + 1e-3 * charts.radius
    return torch.unique(torch.cat([lost, _doubled(Atlas(charts, sheet, tau=tau, points=samples), samples)]))


def _left_over(charts: BlendedCharts, samples: Tensor) -> Tensor:
    """Rows of the samples that no chart holds within `HELD` of its radius."""
    row, chart = pairs_within(samples, charts.centre, charts.extent)
    inside = charts.encode(chart, samples[row]).norm(dim=1) < HELD * charts.radius[chart]
    held = torch.zeros(len(samples), dtype=torch.bool).index_fill_(0, row[inside], True)
    return (~held).nonzero().squeeze(1)


def _condition(atlas: Atlas) -> float:
    held = atlas.members(atlas.points[:: max(1, len(atlas.points) // CHECKED)])
    values = torch.linalg.eigvalsh(atlas.metric(held.chart, held.z))
    return float((values[:, -1] / values[:, 0].clamp_min(1e-300)).max())


def _objection(found: DiscAtlas, samples: Tensor) -> str:
    cover = found.cover
    if cover.lost > 0:
        return f"{cover.lost:.2%} of the coordinates have no point of M"
    held = float(cover.atlas.encode(samples).found.double().mean())
    if held < 1:
        return f"the discs hold {held:.2%} of the samples"
    if cover.flattest < FLATTEST:
        return f"coordinates nearly fold, |det| {cover.flattest:.2g}"
    doubled = len(_doubled(cover.atlas, samples[:: max(1, len(samples) // CHECKED)]))
    if doubled:
        return f"{doubled} samples share their coordinates with another point"
    return "" if found.condition <= LARGEST_CONDITION else f"the metric has condition {found.condition:.3g}"


def _doubled(atlas: Atlas, samples: Tensor) -> Tensor:
    """The charts of the samples that do not come back from their coordinates in a chart that holds them."""
    held = atlas.members(samples)
    back = atlas.decode(held.chart, held.z)
    miss = (back.points - samples[held.row]).norm(dim=-1) > 1e-6 * atlas.charts.radius[held.chart]
    return held.chart[miss | ~back.found]
