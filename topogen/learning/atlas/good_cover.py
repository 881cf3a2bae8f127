"""A good cover of a sheet by tangent-plane charts, found and not given.

Centres are K farthest points among samples of M, charts the graphs over the tangent discs of radius rho = factor x covering radius, with polynomial heights
of least squares. Every point of M is within one covering radius of a centre, so the discs cover M. K grows by half until no chart turns away from its plane,

    min over charts k and samples x of chart k of   |det(T_k^t T(x))|  >=  .3 ,

until own sheets reproduce the samples to a root mean square of `accuracy`, and until `accept` (nerve homology that no longer changes, no overlap of mixed
sign) has nothing more against it.
With K balls small against the reach, patches and their intersections are geodesically convex, hence contractible, and the nerve has the homology of M.
Gonzalez (1985), Clustering to minimize the maximum intercluster distance; Niyogi, Smale, Weinberger (2008), Finding the homology of submanifolds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.balls import ball_lengths, sphere_points
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.geometry.clouds.neighbours import local_fit, nearest, pairs_within
from topogen.manifolds.atlas.atlas import Atlas, Members
from topogen.manifolds.atlas.graph_charts import DEGREE, Charts, GraphCharts, fit_heights
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.boundary_gate import Gate

__all__ = ["Cover", "chart_cover", "good_cover", "measured"]

FLATTEST = 0.3
FACTOR = 1.25
NEAR, WIDE, MARGIN, RIM = 1.1, 2.5, 1.05, 0.999
PROBES, ALL_PROBES = 48, 8000
FIRST = {1: 6, 2: 24, 3: 60}
MOST = 4000
GROWTH = 1.5
PER_CHART = 20
GATE_MARGIN = 2.0
IRREGULAR = 5e-4
NEIGHBOURS = 40


@dataclass(frozen=True)
class Cover:
    """A cover and how good it is; lengths in data units.

    `atlas`: of graph charts; `covering_radius` of its centres; `flattest`: the smallest |det| over all charts, but for
    .05 % of the points, 0 where discs were lost; `rms` of the
    offsets of samples from the own sheets of the charts that hold them; `lost`: share of the tangent discs that M does not lie over; `tried`: what came
    before, (K, flattest, objection) per round.
    """

    atlas: Atlas
    covering_radius: float
    flattest: float
    rms: float
    lost: float = 0.0
    tried: tuple[tuple[int, float, str], ...] = ()


def good_cover(
    samples: Tensor,
    dim: int,
    sheet: Manifold | None = None,
    *,
    first: int | None = None,
    factor: float = FACTOR,
    gate: Gate | None = None,
    accuracy: float = torch.inf,
    accept: Callable[[Cover], str] | None = None,
    most: int = MOST,
) -> Cover:
    """A good cover from dense samples (n, D) of M (of its `sheet`, where there is one), K growing from `first` until it passes.

    `accept(cover)` returns an objection in words, "" for none. Raises InvalidInputError when more charts would be needed than `most`, or than the
    samples can tell apart (20 for each), and says how many samples that takes.
    """
    count = FIRST.get(dim, 24 * dim) if first is None else first
    frames = None if sheet is None else sheet.tangent_basis(samples.detach().double())
    tried: list[tuple[int, float, str]] = []
    while True:
        _check_count(count, len(samples), most, dim, tried)
        cover = chart_cover(samples, dim, count, sheet, factor=factor, gate=gate, frames=frames)
        objection = _objection(cover, accuracy) or (accept(cover) if accept is not None else "")
        if not objection:
            return replace(cover, tried=tuple(tried))
        tried.append((count, cover.flattest, objection))
        count = math.ceil(GROWTH * count)


def chart_cover(
    samples: Tensor,
    dim: int,
    count: int,
    sheet: Manifold | None = None,
    *,
    factor: float = FACTOR,
    degree: int = DEGREE,
    gate: Gate | None = None,
    frames: Tensor | None = None,
) -> Cover:
    """The cover of M by `count` graph charts around farthest points of the samples (n, D), discs of `factor` covering radii.

    `frames` (n, D, d): tangent bases of the sheet at the samples, where they are known already.
    """
    samples = samples.detach().double()
    landmarks = farthest_points(samples, count)
    centre, tangent = _frames(landmarks.points, samples, dim, sheet)
    reached = landmarks.radius + float((centre - landmarks.points).norm(dim=1).max())
    radius = torch.full((len(centre),), factor * reached, dtype=torch.float64)
    charts = _fitted(GraphCharts(centre, tangent, radius, extent=NEAR * radius, degree=degree), samples)
    slack = torch.zeros_like(radius) if sheet is not None else GATE_MARGIN * _misses(charts, samples)
    return measured(charts, samples, sheet, gate=gate, slack=slack, covering_radius=reached, frames=frames)


def measured(
    charts: Charts,
    samples: Tensor,
    sheet: Manifold | None,
    *,
    gate: Gate | None = None,
    slack: Tensor | float = 0.0,
    covering_radius: float = 0.0,
    frames: Tensor | None = None,
) -> Cover:
    """The atlas of these charts, extents and gates measured on probes of their balls, and how well it covers M.

    `slack` (K,) is added to the gates: how far the samples (n, D) are from the own sheets.
    """
    wide = Atlas(charts.reaching(WIDE * charts.radius), sheet, points=samples, gate=gate)
    probe, z = _probes(charts)
    x, found = wide.decode(probe, z)
    open_ended = not wide.closed
    lost = 0.0 if open_ended else float((~found).double().mean())
    probe, x, z = probe[found], x[found], z[found]
    charts = charts.reaching(torch.maximum(MARGIN * _largest((x - charts.centre[probe]).norm(dim=1), probe, charts), charts.radius))
    tau = GATE_MARGIN * _largest(charts.offset(probe, x, z), probe, charts) + 1e-3 * charts.radius + slack
    atlas = Atlas(charts, sheet, tau=tau, points=samples, gate=gate, frames=frames)
    held = atlas.members(samples)
    rms = float(charts.offset(held.chart, samples[held.row], held.z).square().mean().sqrt())
    flattest = 0.0 if lost > 0 else _flattest(atlas, samples, held, probe, x)
    return Cover(atlas, covering_radius, flattest, rms, lost)


def _fitted(charts: GraphCharts, samples: Tensor) -> GraphCharts:
    """Heights over the samples near the centres."""
    row, chart = _held(charts, samples)
    return fit_heights(charts, chart, samples[row])


def _held(charts: GraphCharts, samples: Tensor) -> tuple[Tensor, Tensor]:
    row, chart = pairs_within(samples, charts.centre, charts.extent)
    inside = charts.encode(chart, samples[row]).norm(dim=-1) < charts.radius[chart]
    return row[inside], chart[inside]


def _misses(charts: GraphCharts, samples: Tensor) -> Tensor:
    """Largest offset (K,) of the samples that the fit used from the chart's own sheet."""
    row, chart = _held(charts, samples)
    return _largest(charts.offset(chart, samples[row], charts.encode(chart, samples[row])), chart, charts)


def _largest(value: Tensor, chart: Tensor, charts: Charts) -> Tensor:
    return torch.zeros_like(charts.radius).scatter_reduce(0, chart, value, "amax")


def _probes(charts: Charts) -> tuple[Tensor, Tensor]:
    """Coordinates in every ball, at least 48 for each and 8000 in all, half of them at its rim where a chart turns away most: charts (m,) and z (m, d)."""
    source = torch.Generator().manual_seed(0)
    each = max(PROBES, ALL_PROBES // charts.count)
    direction = sphere_points(charts.count * each, charts.dim, generator=source)
    length = ball_lengths(charts.count * each, charts.dim, generator=source)
    length[::2] = RIM
    chart = torch.arange(charts.count).repeat_interleave(each)
    return chart, direction * length * charts.radius[chart, None]


def _frames(centres: Tensor, samples: Tensor, dim: int, sheet: Manifold | None) -> tuple[Tensor, Tensor]:
    """Centres on the sheet with its tangents; without one, both from local quadratic fits to the samples."""
    if sheet is not None:
        return centres, sheet.tangent_basis(centres)
    fitted = local_fit(samples, centres, nearest(samples, min(NEIGHBOURS, len(samples)), centres)[1], dim)
    return fitted.centre, fitted.tangent


def _flattest(atlas: Atlas, samples: Tensor, held: Members, probe: Tensor, x: Tensor) -> float:
    """|det(T_k^t T(x))| that all but IRREGULAR of the pairs of a chart and a sample or probe that it holds exceed.

    At the edge of a learned zero set, and at defects, single points have no clear tangents.
    """
    chart, points = torch.cat([held.chart, probe]), torch.cat([samples[held.row], x])
    if atlas.sheet is None:
        return _low(atlas.stretch(chart, points))
    basis = torch.cat([atlas.frames[held.row], atlas.sheet.tangent_basis(x)])
    return _low(atlas.stretch(chart, points, basis))


def _low(determinants: Tensor) -> float:
    return float(determinants.abs().sort().values[int(IRREGULAR * len(determinants))])


def _objection(cover: Cover, accuracy: float) -> str:
    if cover.lost > 0:
        return f"{cover.lost:.2%} of the points of the tangent discs have no point of M above them"
    if cover.flattest < FLATTEST:
        return f"a chart turns away from its plane, |det| {cover.flattest:.2f}"
    return "" if cover.rms <= accuracy else f"the charts miss the samples by {cover.rms:.3g}"


def _check_count(count: int, n: int, most: int, dim: int, tried: list[tuple[int, float, str]]) -> None:
    last = f"; with {tried[-1][0]}: {tried[-1][2]}" if tried else ""
    if count > most:
        raise InvalidInputError(f"samples: a good cover needs more than {most} charts{last}; M may be singular, topogen.inspect lists where")
    if n < PER_CHART * count:
        way_out = f"give at least {PER_CHART * count}, or look for singular places with topogen.inspect"
        raise InvalidInputError(f"samples: {n} cannot tell {count} charts of dimension {dim} apart{last}; {way_out}")
