"""Learning a density on a manifold as a mixture over charts: weights by expectation-maximisation, flows inside the charts where they help.

    p(x) = sum_k pi_k p_k(x)      (`distributions.charts.chart_mixture`)

Given an atlas, `fit_charts` learns pi, and with `flows` also what is inside the charts (`flow_training`), which is kept only if it is better on points that
neither saw. `fit_fine_charts` makes the atlas itself, of tens to hundreds of small charts at one or several scales, and takes the one of the best held-out
likelihood: a concave problem for each, no training, and close to the truth where the data are dense on the scale of the charts. Few large charts, such as
those of a disc atlas, need flows: their bumps alone leave grooves.
Dempster, Laird, Rubin (1977), Maximum likelihood from incomplete data; Stone (1974), Cross-validatory choice and assessment of statistical predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from topogen.distributions.charts.ball_densities import POWER, Bump
from topogen.distributions.charts.ball_flow import BallFlow
from topogen.distributions.charts.chart_mixture import ChartMixture, Components, kept_shares
from topogen.distributions.charts.expectation_maximisation import DensityTable, Fold, Schedule, best_schedule, neighbours_of, weights_after
from topogen.distributions.charts.fine_atlas import fine_atlas, folded_share
from topogen.distributions.charts.flow_training import WARM_UP, Pairs, train_flow, weights_for
from topogen.distributions.score_comparison import paired_difference
from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.uniform import LARGEST_DIMENSION, Uniform
from topogen.errors import InvalidInputError
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.base import Manifold
from topogen.training.trainer import Settings, TrainingReport

__all__ = ["FOLDED", "ChartReport", "FittedCharts", "cover_of", "fit_charts", "fit_fine_charts"]

PARTS = 10
CROSS_VALIDATED = 40_000
# Numbers of charts and radii in covering radii, by dimension. A curve needs the square root of what a surface needs for the same resolution; in three
# dimensions as many wide charts would hold every point many times over. The last candidates are for data in clusters far finer than M.
Scales = Sequence[tuple[Sequence[int], float]]
CURVE_SCALES: Scales = (((8,), 2.4), ((16,), 2.4), ((32,), 2.4), ((64,), 3.0), ((128,), 3.0), ((256,), 3.0), ((16, 64, 256, 1024), 2.0))
SURFACE_SCALES: Scales = (((40,), 1.8), ((80,), 1.8), ((200,), 2.4), ((500,), 2.4), ((1000,), 3.0), ((100, 200, 400, 800), 2.0), ((100, 400, 1600, 6400), 2.0))
SCALES: Scales = (((60,), 1.6), ((200,), 1.6), ((600,), 1.8), ((100, 400, 1600), 1.6))
FOLDED = 1e-3
COVER = 20_000
CURVE_COVER = 5_000
LEAST = 20


@dataclass(frozen=True)
class ChartReport:
    """How a mixture was chosen.

    `chosen`: "weights" or "flows"; `held_out`: cross-validated mean log likelihood of the weights alone (nats), after `rounds` with `smoothing`;
    `flow_gain`: what flows add to it on a tenth that neither saw, None where none were trained; `training`: the report on them; `uncovered`: points left out
    because they have no projection or no chart holds it; `notes`: the same in words.
    """

    chosen: str
    held_out: float
    rounds: int
    smoothing: float
    flow_gain: Estimate | None
    training: TrainingReport | None
    uncovered: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FittedCharts:
    """The `distribution` and the `report` on how it was learned."""

    distribution: ChartMixture
    report: ChartReport


def fit_charts(
    points: Tensor,
    atlas: Atlas,
    *,
    flows: bool = False,
    power: float = POWER,
    settings: Settings | None = None,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> FittedCharts:
    """The weights pi of the charts of an atlas, from points (n, D) on or near it; bases are bumps of that power, or with `flows` flows of them.

    Tenths of the points are held out in turn for the number of rounds and the smoothing; the weights are then those of all points. Flows learn from nine tenths
    and are taken only if they gain more than their standard error on the last one; the report says what they gained. `settings` are for their training.
    Raises InvalidInputError when fewer than 20 points project onto M inside a chart, DivergenceError when training fails.
    """
    prepared = _prepare(points, atlas, power, generator)
    schedule = _best_schedule(prepared)
    plain = _weighted(prepared, schedule)
    return _with_flows(prepared, schedule, plain, settings, generator, checkpoint, quiet) if flows else plain


def fit_fine_charts(
    points: Tensor,
    manifold: Manifold,
    *,
    cover: Tensor | None = None,
    scales: Scales | None = None,
    power: float = POWER,
    generator: torch.Generator | None = None,
) -> FittedCharts:
    """A mixture over a fine atlas of M made for it, from points (n, D) on or near M.

    Every entry of `scales` is one candidate, the numbers of charts at each of its scales and their radius in covering radii (None: up to 1360 charts
    on a curve, 8500 on a surface, 2100 above); of those that fold over M at fewer
    than one pair in a thousand (`folded_share`) the best held-out likelihood decides.
    `cover` (m, D): points of M that cover it, on which centres are chosen; when None, those of an atlas,
    else uniform ones up to dimension 3 and the data above.
    Raises InvalidInputError when no candidate is left, or fewer than 20 points project onto M.
    """
    data = _on(manifold, points)
    uncovered = len(points) - len(data)
    cover = cover_of(manifold, data, generator) if cover is None else _on(manifold, cover)
    atlases = _upright(manifold, cover, _scales(manifold) if scales is None else scales)
    # The same seed holds out the same points for every candidate.
    seed = int(torch.randint(2**62, (), generator=generator))
    candidates = [_prepare(data, atlas, power, torch.Generator().manual_seed(seed)) for atlas in atlases]
    found = [_best_schedule(prepared) for prepared in candidates]
    best = max(range(len(found)), key=lambda i: found[i].held_out)
    fitted = _weighted(replace(candidates[best], uncovered=candidates[best].uncovered + uncovered), found[best])
    return replace(fitted, report=replace(fitted.report, notes=(*fitted.report.notes, *_told(fitted, atlases, found))))


def _told(fitted: FittedCharts, atlases: list[Atlas], found: list[Schedule]) -> tuple[str, ...]:
    """What there was to choose from, and what of the data and of the draws is left out."""
    radius, covered, uncovered = fitted.distribution.atlas.charts.radius, fitted.distribution.covered, fitted.report.uncovered
    others = ", ".join(f"{-schedule.held_out:.3f} of {atlas.count}" for atlas, schedule in zip(atlases, found, strict=True))
    return (
        f"density: charts of radius {float(radius.min()):.3g} to {float(radius.max()):.3g}, the best of {len(atlases)} atlases (held-out NLL {others})",
        f"density: {100 * covered.value:.3g} % of the coordinates that charts draw belong to a point; {uncovered} data points are in no chart",
    )


def _scales(manifold: Manifold) -> Scales:
    return {1: CURVE_SCALES, 2: SURFACE_SCALES}.get(manifold.dim, SCALES)


def _upright(manifold: Manifold, cover: Tensor, scales: Scales) -> list[Atlas]:
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
    power: float


def _prepare(points: Tensor, atlas: Atlas, power: float, generator: torch.Generator | None) -> _Prepared:
    data = _on(atlas, points)
    uncovered = len(points) - len(data)
    base = Bump(atlas.dim, power)
    kept, error = kept_shares(atlas, base, generator)
    mixture = ChartMixture(atlas, base=base, kept=kept, kept_error=error)
    part = torch.randperm(len(data), generator=generator) % PARTS
    return _Prepared(mixture, data, mixture.component_log_prob(data), part, uncovered, power)


def _best_schedule(prepared: _Prepared) -> Schedule:
    """Few points need all ten parts held out in turn to tell how long to climb; of many points one or two parts say as much."""
    charts, n = prepared.mixture.atlas.charts, len(prepared.points)
    folds = [_fold(prepared, prepared.part == part) for part in range(min(PARTS, max(1, CROSS_VALIDATED // n)))]
    return best_schedule(folds, neighbours_of(charts.centre, charts.radius))


def _weighted(prepared: _Prepared, found: Schedule) -> FittedCharts:
    mixture, charts = prepared.mixture, prepared.mixture.atlas.charts
    weights = weights_after(found, _table(prepared, prepared.part >= 0), neighbours_of(charts.centre, charts.radius))
    mixture = ChartMixture(mixture.atlas, weights, base=mixture.base, kept=mixture.kept, kept_error=mixture.kept_error)
    note = (
        f"density: weights of {charts.count} charts, best after {found.rounds} rounds with smoothing {found.amount:g}; held-out NLL {-found.held_out:.3f} nats"
    )
    return FittedCharts(mixture, ChartReport("weights", found.held_out, found.rounds, found.amount, None, None, prepared.uncovered, (note,)))


def _with_flows(
    prepared: _Prepared,
    schedule: Schedule,
    plain: FittedCharts,
    settings: Settings | None,
    generator: torch.Generator | None,
    checkpoint: Path | None,
    quiet: bool,
) -> FittedCharts:
    mixture, charts = prepared.mixture, prepared.mixture.atlas.charts
    weights = weights_after(schedule, _table(prepared, prepared.part != 0), neighbours_of(charts.centre, charts.radius))
    flow = BallFlow(charts.count, charts.dim, power=prepared.power, generator=generator)
    cover, learned = mixture.atlas.points, prepared.points[prepared.part != 0]
    even, _ = train_flow(_pairs(mixture, cover), len(cover), mixture.weights, flow, settings=WARM_UP, decay=0.0, even=True, generator=generator, quiet=quiet)
    pairs = _pairs(mixture, learned)
    begin = weights_for(pairs, len(learned), even, flow)
    mixed, training = train_flow(pairs, len(learned), begin, flow, settings=settings, generator=generator, checkpoint=checkpoint, quiet=quiet)
    kept, error = kept_shares(mixture.atlas, flow, generator)
    flowing = ChartMixture(mixture.atlas, mixed, base=flow, kept=kept, kept_error=error)
    bumps = ChartMixture(mixture.atlas, weights, base=mixture.base, kept=mixture.kept, kept_error=mixture.kept_error)
    held = prepared.points[prepared.part == 0]
    gain = paired_difference(flowing.log_density(held), bumps.log_density(held))
    better = gain.value > gain.standard_error
    note = f"flows in the charts gain {gain.value:.3f} +- {gain.standard_error:.3f} nats on held-out points and are {'taken' if better else 'not taken'}"
    report = replace(plain.report, chosen="flows" if better else "weights", flow_gain=gain, training=training, notes=(*plain.report.notes, note))
    return FittedCharts(flowing if better else plain.distribution, report)


def _pairs(mixture: ChartMixture, points: Tensor) -> Pairs:
    row, chart, z = mixture.atlas.members(points)
    radius = mixture.atlas.charts.radius[chart]
    return Pairs(row, chart, z / radius.unsqueeze(-1), mixture.log_stretch(points, row, chart) - z.shape[1] * radius.log())


def _fold(prepared: _Prepared, apart: Tensor) -> Fold:
    return Fold(_table(prepared, ~apart), _table(prepared, apart))


def _table(prepared: _Prepared, mask: Tensor) -> DensityTable:
    """The components at the points of a mask (n,), these numbered anew."""
    held, number = prepared.held, mask.cumsum(0) - 1
    keep = mask[held.row]
    chosen = Components(number[held.row[keep]], held.chart[keep], held.log_density[keep])
    return DensityTable(chosen, int(mask.sum()), prepared.mixture.atlas.count)


def _on(manifold: Manifold, points: Tensor) -> Tensor:
    found = manifold.project(points.detach().double())
    data = found.points[found.converged]
    if len(data) < LEAST:
        raise InvalidInputError(f"points: {len(data)} of {len(points)} project onto {manifold!r}, at least {LEAST} are needed; give points on or near it")
    return data


def cover_of(manifold: Manifold, data: Tensor, generator: torch.Generator | None) -> Tensor:
    """Points (m, D) that cover M: those that an atlas knows, uniform ones up to dimension 3, the data (n, D) above."""
    known = None if manifold.charts is None else manifold.known_points()
    if known is not None:
        return known
    if manifold.dim > LARGEST_DIMENSION:
        return data
    uniform = Uniform(manifold, points=None if manifold.closed_form else data, generator=generator)
    return uniform.sample((CURVE_COVER if manifold.dim == 1 else COVER,), generator=generator)
