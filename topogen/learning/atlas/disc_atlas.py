"""A disc atlas: few charts, each a geodesic ball with coordinates close to normal ones, for densities and geodesics.

Centres solve the K-centre problem for graph distances on samples of M (farthest points, then each moved to the middle of its cell, best of several starts).
The disc of centre c is exp_c of the ball of radius rho, a little more than the distance of the farthest point of its cell; geodesic rays, run on beyond the
rim, give pairs (z, exp_c(T z)). K grows from one per component until no disc runs into itself,

    |z_i - z_j| <= 4 |x_i - x_j| + three ray spacings       for neighbouring points of the rays,

that is until the radii are below the injectivity radius, so that every disc is contractible. A flow (`FlowCharts`) then learns e_k(exp_c(T z)) = z; it is
accepted once every z of its ball has a point of M and one only, the discs hold all samples and the metric is bounded, cond G <= 100 and |det A| >= .1.
Gonzalez (1985), Clustering to minimize the maximum intercluster distance; do Carmo (1992), Riemannian Geometry (normal neighbourhoods).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from topogen.errors import InvalidInputError
from topogen.geometry.balls import sphere_points
from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.exponential_map import rays
from topogen.geometry.frames import complement
from topogen.learning.atlas.good_cover import Cover, measured
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.flow_charts import FlowCharts
from topogen.manifolds.base import Manifold
from topogen.training.trainer import Settings, TrainingReport, train

__all__ = ["DiscAtlas", "disc_atlas"]

GRAPH_POINTS, GRAPH_NEIGHBOURS = 2000, 12
STARTS, ROUNDS = 6, 6
OVERLAP, BEYOND = 1.06, 1.06
PAIRS = 4000
DIRECTIONS = {1: 2, 2: 96, 3: 400}
STEPS = 40
STRETCH, SPACINGS = 4.0, 3.0
LARGEST_CONDITION, FLATTEST = 100.0, 0.1
CHECKED = 4000
MOST = 60
DEFAULTS = Settings(steps=2500, batch_size=1024, rate=5e-3, held_out=0.05, measure_every=250)


@dataclass(frozen=True)
class DiscAtlas:
    """The `cover` (its atlas and how well it fits), the largest condition number of the metric (`condition`), the trainer's `report`, and `tried`:
    (K, objection) for the numbers of charts that did not do."""

    cover: Cover
    condition: float
    report: TrainingReport
    tried: tuple[tuple[int, str], ...]

    @property
    def atlas(self) -> Atlas:
        """The atlas itself."""
        return self.cover.atlas


def disc_atlas(
    samples: Tensor,
    sheet: Manifold,
    *,
    least: int = 1,
    settings: Settings | None = None,
    generator: torch.Generator | None = None,
    quiet: bool = False,
) -> DiscAtlas:
    """The disc atlas with the fewest charts, at least `least`, that passes; samples (n, D) cover M = `sheet`.

    Raises InvalidInputError when more than 60 charts would be needed.
    """
    graph = _Graph(samples.detach().double()[:: max(1, len(samples) // GRAPH_POINTS)])
    tried: list[tuple[int, str]] = []
    for count in range(max(least, graph.components), MOST + 1):
        rows, reach = graph.centres(count, generator)
        discs = _discs(sheet, graph.points[rows], OVERLAP * reach)
        objection = _runs_into_itself(discs)
        if not objection:
            found = _learned(discs, samples, sheet, (settings or Settings()).filled(DEFAULTS), generator, quiet, tuple(tried))
            objection = _objection(found, samples)
            if not objection:
                return found
        tried.append((count, objection))
    raise InvalidInputError(f"samples: more than {MOST} discs would be needed; with {tried[-1][0]}: {tried[-1][1]}")


@dataclass(frozen=True)
class _Discs:
    """Ray points of K discs: `centre` (K, D), `frame` (K, D, D), `radius` (K,), and pairs `chart` (m,), `z` (m, d), `x` (m, D) up to a little beyond it;
    `spacing` (K,) at the rim."""

    centre: Tensor
    frame: Tensor
    radius: Tensor
    chart: Tensor
    z: Tensor
    x: Tensor
    spacing: Tensor


class _Graph:
    """Graph distances `between` (n, n) of points (n, D) on M."""

    def __init__(self, points: Tensor) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components, shortest_path

        self.points = points
        distance, index = nearest(points, GRAPH_NEIGHBOURS)
        rows = torch.arange(len(points)).repeat_interleave(index.shape[1])
        edges = coo_array((distance.flatten().numpy(), (rows.numpy(), index.flatten().numpy())), shape=(len(points),) * 2).tocsr()
        self.components = int(connected_components(edges, directed=False)[0])
        self.between = torch.from_numpy(shortest_path(edges, method="D", directed=False))

    def centres(self, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Rows (K,) of the centres and the radii (K,) of their cells, the best of several starts by the largest radius."""
        starts = torch.randint(len(self.points), (STARTS,), generator=generator)
        return min((self._improved(self._farthest(int(start), count)) for start in starts), key=lambda found: float(found[1].max()))

    def _farthest(self, start: int, count: int) -> Tensor:
        rows = [start]
        least = self.between[start]
        while len(rows) < count:
            rows.append(int(least.argmax()))
            least = torch.minimum(least, self.between[rows[-1]])
        return torch.tensor(rows)

    def _improved(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        best, radii = rows, self._radii(rows)
        for _ in range(ROUNDS):
            cell = self.between[rows].argmin(0)
            rows = torch.stack([self._middle((cell == k).nonzero().squeeze(-1)) for k in range(len(rows))])
            found = self._radii(rows)
            if found.max() < radii.max():
                best, radii = rows, found
        return best, radii

    def _radii(self, rows: Tensor) -> Tensor:
        distance, cell = self.between[rows].min(0)
        return torch.zeros(len(rows), dtype=torch.float64).scatter_reduce(0, cell, distance, "amax").clamp_min(1e-12)

    def _middle(self, members: Tensor) -> Tensor:
        """The point of a cell from which its farthest point is nearest."""
        return members[self.between[members][:, members].amax(1).argmin()]


def _discs(sheet: Manifold, centre: Tensor, radius: Tensor) -> _Discs:
    centre = sheet.project(centre).points
    tangent = sheet.tangent_basis(centre)
    direction = _directions(sheet.dim)
    count, each = len(centre), len(direction)
    length = BEYOND * radius
    u = (length[:, None, None] * direction) @ tangent.mT
    x = rays(sheet.projx, sheet.proju, centre.repeat_interleave(each, 0), u.reshape(count * each, -1), STEPS)
    time = torch.arange(STEPS + 1, dtype=torch.float64)[:, None, None, None] / STEPS
    z = time * (length[:, None, None] * direction)
    chart = torch.arange(count)[None, :, None].expand(STEPS + 1, count, each)
    spacing = length * torch.maximum(torch.tensor(1 / STEPS), 2 * torch.pi / torch.tensor(float(each)) ** (1 / max(sheet.dim - 1, 1)) * float(sheet.dim > 1))
    return _Discs(
        centre, torch.cat([tangent, complement(tangent)], -1), radius, chart.reshape(-1), z.reshape(-1, sheet.dim), x.reshape(-1, sheet.ambient_dim), spacing
    )


def _directions(dim: int) -> Tensor:
    """Unit vectors (m, d): both of the line, even ones of the circle, random ones (always the same) above."""
    if dim == 1:
        return torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    if dim == 2:
        angle = torch.arange(DIRECTIONS[2], dtype=torch.float64) * (2 * torch.pi / DIRECTIONS[2])
        return torch.stack([angle.cos(), angle.sin()], -1)
    return sphere_points(DIRECTIONS.get(dim, 800), dim, generator=torch.Generator().manual_seed(0))


def _runs_into_itself(discs: _Discs) -> str:
    for k in range(len(discs.centre)):
        own = discs.chart == k
        z, x = discs.z[own], discs.x[own]
        distance, index = nearest(x, 8)
        apart = (z.unsqueeze(1) - z[index]).norm(dim=-1)
        if bool((apart > STRETCH * distance + SPACINGS * discs.spacing[k]).any()):
            return f"the disc of radius {float(discs.radius[k]):.3g} runs into itself"
    return ""


class _Learner(nn.Module):
    """Rows are (chart, z, x); the loss is the miss of the coordinates and of the decoder, in units of the disc's radius."""

    def __init__(self, charts: FlowCharts) -> None:
        super().__init__()
        self.charts = charts

    def loss(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mean square misses."""
        dim = self.charts.dim
        chart, z, x = points[:, 0].long(), points[:, 1 : 1 + dim], points[:, 1 + dim :]
        target = torch.cat([z, z.new_zeros(len(z), x.shape[1] - dim)], -1)
        unit = self.charts.radius[chart, None].to(x.dtype)
        miss = (self.charts.coordinates(chart, x) - target) / unit
        return miss.square().sum(-1).mean() + ((self.charts.decode(chart, z) - x) / unit).square().sum(-1).mean()


def _learned(
    discs: _Discs, samples: Tensor, sheet: Manifold, settings: Settings, generator: torch.Generator | None, quiet: bool, tried: tuple[tuple[int, str], ...]
) -> DiscAtlas:
    charts = FlowCharts(discs.centre, discs.frame, discs.radius, discs.radius, sheet.dim, generator=generator)
    rows = torch.cat([discs.chart.unsqueeze(-1), discs.z, discs.x], -1)[_evenly(discs, generator)].float()
    report = train(_Learner(charts), rows, settings, generator=generator, label="charts", quiet=quiet)
    cover = measured(charts.frozen(), samples.detach().double(), sheet, covering_radius=float(discs.radius.max()) / OVERLAP)
    return DiscAtlas(cover, _condition(cover.atlas, discs), report, tried)


def _evenly(discs: _Discs, generator: torch.Generator | None) -> Tensor:
    """Rows of the pairs, drawn so that they fill the balls evenly; on rays they crowd at the centres."""
    weight = discs.z.norm(dim=-1) ** (discs.z.shape[1] - 1) / discs.radius[discs.chart] ** discs.z.shape[1]
    return torch.multinomial(weight, PAIRS * len(discs.centre), replacement=True, generator=generator)


def _condition(atlas: Atlas, discs: _Discs) -> float:
    inside = (discs.z.norm(dim=-1) < discs.radius[discs.chart]).nonzero().squeeze(-1)
    some = inside[:: max(1, len(inside) // 2000)]
    values = torch.linalg.eigvalsh(atlas.metric(discs.chart[some], discs.z[some]))
    return float((values[:, -1] / values[:, 0].clamp_min(1e-300)).max())


def _objection(found: DiscAtlas, samples: Tensor) -> str:
    cover = found.cover
    if cover.lost > 0:
        return f"{cover.lost:.2%} of the coordinates have no point of M"
    held = float(cover.atlas.encode(samples.double()).found.double().mean())
    if held < 1:
        return f"the discs hold {held:.2%} of the samples"
    if cover.flattest < FLATTEST:
        return f"coordinates nearly fold, |det| {cover.flattest:.2g}"
    doubled = _doubled(cover.atlas, samples)
    if doubled:
        return f"{doubled:.2%} of the samples share their coordinates with another point"
    return "" if found.condition <= LARGEST_CONDITION else f"the metric has condition {found.condition:.3g}"


def _doubled(atlas: Atlas, samples: Tensor) -> float:
    """Share of the samples that do not come back from the coordinates of a chart that holds them."""
    x = samples[:: max(1, len(samples) // CHECKED)].double()
    held = atlas.members(x)
    back = atlas.decode(held.chart, held.z)
    miss = (back.points - x[held.row]).norm(dim=-1) > 1e-6 * atlas.charts.radius[held.chart]
    return float((miss | ~back.found).double().mean())
