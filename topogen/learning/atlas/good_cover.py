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
from dataclasses import replace

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.geometry.clouds.neighbours import local_fit, nearest, pairs_within
from topogen.manifolds.atlas.graph_charts import DEGREE, GraphCharts, fit_heights
from topogen.manifolds.atlas.measured_cover import GATE_MARGIN, Cover, largest, measured
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.boundary_gate import Gate

__all__ = ["chart_cover", "good_cover"]

FLATTEST = 0.3
FACTOR = 1.25
NEAR = 1.1
FIRST = {1: 6, 2: 24, 3: 60}
MOST = 4000
GROWTH = 1.5
PER_CHART = 20
NEIGHBOURS = 40


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
    return largest(charts.offset(chart, samples[row], charts.encode(chart, samples[row])), chart, charts)


def _frames(centres: Tensor, samples: Tensor, dim: int, sheet: Manifold | None) -> tuple[Tensor, Tensor]:
    """Centres on the sheet with its tangents; without one, both from local quadratic fits to the samples."""
    if sheet is not None:
        return centres, sheet.tangent_basis(centres)
    fitted = local_fit(samples, centres, nearest(samples, min(NEIGHBOURS, len(samples)), centres)[1], dim)
    return fitted.centre, fitted.tangent


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
