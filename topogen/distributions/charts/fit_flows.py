"""Learning a density on a manifold as a mixture of injective flows, one in each of few large charts.

    p(x) = sum_k pi_k p_k(x),      x = g_k(z),      z = rho_k w,      w = S_k(b),      b from a bump on the unit ball

g_k goes from coordinates to the point of M over them, S_k is a spline flow of the ball (`ball_flow`), all charts are trained together by the likelihood of
the sum on minibatches, and stopped on held-out points. The charts are the star-shaped discs of a disc atlas of M, or those of an atlas that M is already,
where they have sheets of their own; where no disc atlas passes (M bends too much, or is sampled too thinly) the widest small charts that do not fold.
Brehmer, Cranmer (2020), Flows for simultaneous manifold learning and density estimation; Sidheekh, Dock, Jain, Balan, Singh (2022), VQ-Flows.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from topogen.distributions.charts.fine_atlas import fine_atlas, folded_share
from topogen.distributions.charts.fit import FOLDED, FittedCharts, cover_of, fit_charts
from topogen.errors import InvalidInputError
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.disc_atlas import disc_atlas
from topogen.manifolds.base import Manifold
from topogen.training.trainer import Settings

__all__ = ["fit_flow_charts", "few_charts"]

SMALL = {1: (4, 8, 16, 32), 2: (12, 24, 48, 96, 192, 384), 3: (24, 60, 150, 400)}


def fit_flow_charts(
    points: Tensor,
    manifold: Manifold,
    *,
    cover: Tensor | None = None,
    settings: Settings | None = None,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> FittedCharts:
    """A mixture of injective flows on M, from points (n, D) on or near it.

    Args:
        points: (n, D) data.
        manifold: M, of dimension 1 to 3; an atlas on own sheets gives its charts.
        cover: (m, D) points of M that cover it; drawn uniformly when None.
        settings: of the training of the flows; generator: of the draws and the training; checkpoint: a file that the training resumes from.

    Raises InvalidInputError where no charts are found or fewer than 20 points project onto M, DivergenceError when training fails.

    Example:
        >>> import torch
        >>> from topogen.distributions.charts.fit_flows import fit_flow_charts
        >>> from topogen.manifolds.shapes import Circle
        >>> from topogen.training.trainer import Settings
        >>> generator = torch.Generator().manual_seed(0)
        >>> fitted = fit_flow_charts(Circle().sample(200, generator), Circle(), settings=Settings(steps=20), generator=generator, quiet=True)
        >>> fitted.distribution.atlas.count
        2
    """
    atlas, note = few_charts(manifold, points, cover, generator)
    fitted = fit_charts(points, atlas, flows=True, settings=settings, generator=generator, checkpoint=checkpoint, quiet=quiet)
    return replace(fitted, report=replace(fitted.report, notes=(note, *fitted.report.notes)))


def few_charts(manifold: Manifold, points: Tensor, cover: Tensor | None, generator: torch.Generator | None) -> tuple[Atlas, str]:
    """An atlas of M with few charts, and what it is in words."""
    if manifold.charts is not None and manifold.underlying is manifold:
        own = cast(Atlas, manifold)
        return own, f"density: flows in the {own.count} charts of the manifold itself"
    sheet = manifold.underlying
    cover = cover_of(manifold, points, generator) if cover is None else cover
    try:
        atlas = disc_atlas(cover, sheet).atlas
    except InvalidInputError as error:
        return _small_charts(sheet, cover, str(error))
    return atlas, f"density: flows in {atlas.count} star-shaped discs"


def _small_charts(sheet: Manifold, cover: Tensor, why: str) -> tuple[Atlas, str]:
    for count in SMALL[sheet.dim]:
        atlas = fine_atlas(sheet, cover, (count,))
        if folded_share(atlas) <= FOLDED:
            return atlas, f"density: flows in {atlas.count} small charts; large discs do not do: {why}"
    raise InvalidInputError(f"points: no {SMALL[sheet.dim][-1]} charts cover {sheet!r} without folds; use density='energy'. Large discs do not do: {why}")
