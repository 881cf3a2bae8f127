"""Learning a density on a manifold as a mixture over charts: weights by expectation-maximisation.

    p(x) = sum_k pi_k p_k(x)      (`distributions.charts`)

Given an atlas, `fit_charts` learns pi. `fit_fine_charts` makes the atlas itself, of tens to hundreds of small charts at one or several scales, and takes the
one of the best held-out likelihood: a concave problem for each, no training, and close to the truth where the data are dense on the scale of the charts.
Dempster, Laird, Rubin (1977), Maximum likelihood from incomplete data; Stone (1974), Cross-validatory choice and assessment of statistical predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from topogen.distributions.balls import Bump
from topogen.distributions.charts import ChartMixture, Components, kept_shares
from topogen.distributions.uniform import LARGEST_DIMENSION, Uniform
from topogen.errors import InvalidInputError
from topogen.learning.expectation import Fold, Schedule, best_schedule, neighbours_of, weights_after
from topogen.learning.fine_atlas import fine_atlas, folded_share
from topogen.manifolds.atlas import Atlas
from topogen.manifolds.base import Manifold

__all__ = ["ChartReport", "FittedCharts", "fit_charts", "fit_fine_charts"]

PARTS = 10
CROSS_VALIDATED = 20_000
SCALES: tuple[tuple[tuple[int, ...], float], ...] = (((80,), 1.8), ((200,), 2.4), ((500,), 2.4), ((1000,), 3.0), ((100, 200, 400, 800), 2.0))
FOLDED = 1e-3
COVER = 20_000
LEAST = 20


@dataclass(frozen=True)
class ChartReport:
    """How a mixture was chosen: mean held-out log likelihood (nats), `uncovered` points left out because no chart holds them, notes."""

    weights_only: float
    chosen: str
    rounds: int
    smoothing: float
    uncovered: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FittedCharts:
    """The `distribution` and the `report` on how it was learned."""

    distribution: ChartMixture
    report: ChartReport


def fit_charts(points: Tensor, atlas: Atlas, *, power: float = 3.0, generator: torch.Generator | None = None) -> FittedCharts:
    """The weights pi of the charts of an atlas, from points (n, D) on or near it; bases are bumps of that power.

    Tenths of the points are held out in turn for the number of rounds and the smoothing; the weights are then those of all points.
    Raises InvalidInputError when fewer than 20 points project onto M inside a chart.
    """
    prepared = _prepare(points, atlas, power, generator)
    return _weighted(prepared, _best_schedule(prepared))


def fit_fine_charts(
    points: Tensor,
    manifold: Manifold,
    *,
    cover: Tensor | None = None,
    scales: Sequence[tuple[Sequence[int], float]] = SCALES,
    power: float = 3.0,
    generator: torch.Generator | None = None,
) -> FittedCharts:
    """A mixture over a fine atlas of M made for it, from points (n, D) on or near M.

    Every entry of `scales` is one candidate, the numbers of charts at each of its scales and their radius in covering radii; of those that fold over M at fewer
    than one pair in a thousand (`folded_share`) the best held-out likelihood decides.
    `cover` (m, D): points of M that cover it, on which centres are chosen; when None, uniform ones up to dimension 3 and the points themselves above.
    Raises InvalidInputError when no candidate is left, or fewer than 20 points project onto M.
    """
    data = _on(manifold, points)
    uncovered = len(points) - len(data)
    cover = _cover(manifold, data, generator) if cover is None else _on(manifold, cover)
    atlases = _upright(manifold, cover, scales)
    # The same seed holds out the same points for every candidate.
    seed = int(torch.randint(2**62, (), generator=generator))
    candidates = [_prepare(data, atlas, power, torch.Generator().manual_seed(seed)) for atlas in atlases]
    found = [_best_schedule(prepared) for prepared in candidates]
    best = max(range(len(found)), key=lambda i: found[i].held_out)
    return _weighted(replace(candidates[best], uncovered=candidates[best].uncovered + uncovered), found[best])


def _upright(manifold: Manifold, cover: Tensor, scales: Sequence[tuple[Sequence[int], float]]) -> list[Atlas]:
    made = [fine_atlas(manifold, cover, counts, factor=factor) for counts, factor in scales if min(counts) <= len(cover)]
    if not made:
        raise InvalidInputError(f"scales: expected numbers of charts up to {len(cover)}, the points that cover M, found {[tuple(c) for c, _ in scales]}")
    folded = [folded_share(atlas) for atlas in made]
    upright = [atlas for atlas, share in zip(made, folded, strict=True) if share <= FOLDED]
    if not upright:
        raise InvalidInputError(
            f"scales: all {len(made)} atlases fold over the manifold (at {100 * min(folded):.2g} % of the pairs or more); give larger numbers of charts"
        )
    return upright


@dataclass(frozen=True)
class _Prepared:
    """Equal weights on an atlas, its components at n projected points, the tenth (n,) each is in, and how many points no chart holds."""

    mixture: ChartMixture
    points: Tensor
    held: Components
    part: Tensor
    uncovered: int


def _prepare(points: Tensor, atlas: Atlas, power: float, generator: torch.Generator | None) -> _Prepared:
    data = _on(atlas, points)
    uncovered = len(points) - len(data)
    base = Bump(atlas.dim, power)
    kept, error = kept_shares(atlas, base, generator)
    mixture = ChartMixture(atlas, base=base, kept=kept, kept_error=error)
    part = torch.randperm(len(data), generator=generator) % PARTS
    return _Prepared(mixture, data, mixture.component_log_prob(data), part, uncovered)


def _best_schedule(prepared: _Prepared) -> Schedule:
    """Few points need all ten parts held out in turn to tell how long to climb; of many points one or two parts say as much."""
    charts, n = prepared.mixture.atlas.charts, len(prepared.points)
    folds = [_fold(prepared, prepared.part == part) for part in range(min(PARTS, max(1, CROSS_VALIDATED // n)))]
    return best_schedule(folds, neighbours_of(charts.centre, charts.radius))


def _weighted(prepared: _Prepared, found: Schedule) -> FittedCharts:
    mixture, charts = prepared.mixture, prepared.mixture.atlas.charts
    weights = weights_after(found, prepared.held, len(prepared.points), neighbours_of(charts.centre, charts.radius))
    mixture = ChartMixture(mixture.atlas, weights, base=mixture.base, kept=mixture.kept, kept_error=mixture.kept_error)
    note = (
        f"density: weights of {charts.count} charts, best after {found.rounds} rounds with smoothing {found.amount:g}; held-out NLL {-found.held_out:.3f} nats"
    )
    return FittedCharts(mixture, ChartReport(found.held_out, "weights", found.rounds, found.amount, prepared.uncovered, (note,)))


def _fold(prepared: _Prepared, apart: Tensor) -> Fold:
    return Fold(_of_rows(prepared.held, ~apart), _of_rows(prepared.held, apart), int((~apart).sum()), int(apart.sum()))


def _of_rows(held: Components, mask: Tensor) -> Components:
    """The pairs of the rows of a mask (n,), these numbered anew."""
    number, keep = mask.cumsum(0) - 1, mask[held.row]
    return Components(number[held.row[keep]], held.chart[keep], held.log_density[keep])


def _on(manifold: Manifold, points: Tensor) -> Tensor:
    found = manifold.project(points.detach().double())
    data = found.points[found.converged]
    if len(data) < LEAST:
        raise InvalidInputError(f"points: {len(data)} of {len(points)} project onto {manifold!r}, at least {LEAST} are needed; give points on or near it")
    return data


def _cover(manifold: Manifold, data: Tensor, generator: torch.Generator | None) -> Tensor:
    if manifold.dim > LARGEST_DIMENSION:
        return data
    return Uniform(manifold, points=None if hasattr(manifold, "volume") else data, generator=generator).sample((COVER,), generator=generator)
