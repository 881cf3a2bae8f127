"""An atlas for a learned manifold: uniform samples of it, then the cover that is asked for.

"good": tangent-plane charts, so many that all intersections are contractible (`good_cover`, judged by its nerve): what certificates are read off.
"discs": few large charts, star-shaped discs (`disc_atlas`): for densities and geodesics.
Both lie on the shared sheet, so that they describe the same set.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError, NotSupportedError
from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.frames import determinant
from topogen.learning.atlas.good_cover import good_cover
from topogen.manifolds.atlas.atlas import Atlas, regular
from topogen.manifolds.atlas.disc_atlas import disc_atlas
from topogen.manifolds.atlas.measured_cover import Cover
from topogen.manifolds.base import Manifold
from topogen.topology.covers.nerve import nerve
from topogen.topology.covers.orientation import sign_cocycle

__all__ = ["LearnedAtlas", "learn_atlas", "objection_to"]

SAMPLES = {1: 5_000, 2: 20_000, 3: 40_000}
KINDS = ("good", "discs")
NEIGHBOURS, AGREEMENT = 9, 0.5


@dataclass(frozen=True)
class LearnedAtlas:
    """The `atlas` and notes in words."""

    atlas: Atlas
    notes: tuple[str, ...]


def learn_atlas(sheet: Manifold, points: Tensor, *, charts: str = "good", samples: int | None = None, generator: torch.Generator | None = None) -> LearnedAtlas:
    """An atlas of the components of `sheet` that hold some of the known points (n, D), from `samples` uniform samples (5,000 to 40,000 by dimension).

    Raises NotSupportedError above dimension 3, InvalidInputError for an unknown kind of charts or where no cover passes.
    """
    if charts not in KINDS:
        raise InvalidInputError(f"charts: expected one of {', '.join(KINDS)}, found {charts!r}")
    if sheet.dim not in SAMPLES:
        raise NotSupportedError(f"manifold: atlases are made for dimensions 1 to 3, found {sheet.dim}; use manifold='implicit'")
    drawn, odd = _even(sheet, Uniform(sheet, points=points, generator=generator).sample((samples or SAMPLES[sheet.dim],), generator=generator))
    strange = (f"atlas: {odd:.2%} of the samples turn against their neighbours (singular places, edges) and are left out",) if odd else ()
    if charts == "discs":
        discs = disc_atlas(drawn, sheet)
        said = f"atlas: {discs.atlas.count} star-shaped discs, condition of the metric at most {discs.condition:.3g}"
        return LearnedAtlas(discs.atlas, (said, *strange))
    cover = good_cover(drawn, sheet.dim, sheet, accept=objection_to)
    said = f"atlas: {cover.atlas.count} tangent-plane charts, a good cover; |det| against their planes is at least {cover.flattest:.2f}"
    return LearnedAtlas(cover.atlas, (said, *strange, *(f"atlas: not with {count}, {why}" for count, _, why in cover.tried[-1:])))


def _even(sheet: Manifold, samples: Tensor) -> tuple[Tensor, float]:
    """Samples whose tangents agree with most of their neighbours', |det(T(x)^t T(y))| >= .5 in the median, and the share of the others."""
    basis = sheet.tangent_basis(samples)
    index = nearest(samples, NEIGHBOURS)[1]
    agreement = determinant(basis.mT.unsqueeze(1) @ basis[index]).abs().median(1).values
    keep = agreement >= AGREEMENT
    return samples[keep], float((~keep).double().mean())


def objection_to(cover: Cover) -> str:
    """Why a cover is not good: intersections that are not contractible, or overlaps where charts turn both alike and against each other; "" if it is."""
    atlas = cover.atlas
    samples = atlas.points
    holds = atlas.holds(samples)
    if not bool(holds.any(1).all()):
        return f"{int((~holds.any(1)).sum())} samples lie in no chart"
    determinants = atlas.stretches(samples, atlas.frames)
    clear = regular(holds, determinants)
    holds, determinants, samples = holds[clear], determinants[clear], samples[clear]
    ambiguous = sign_cocycle(holds, determinants, samples, atlas.dim).ambiguous
    if ambiguous:
        return f"{len(ambiguous)} overlaps of mixed sign"
    found = nerve(holds, atlas.dim, points=samples, coordinates=lambda k, rows: atlas.charts.encode(torch.full_like(rows, k), samples[rows]))
    if found.good is not False:
        return ""
    return f"{len(found.bad)} intersections of charts are not contractible" if found.bad else f"{found.seams} samples have near neighbours in no common chart"
