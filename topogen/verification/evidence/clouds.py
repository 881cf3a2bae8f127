"""The side of a cloud: its homology under what is known of the set it samples, or is read off it first.

Where dimension and closedness are not given they are estimated as in `topogen.inspect`: dimension by local PCA (unless
several dimensions are present), closedness by the absence of boundary points; a set of full dimension has a boundary. What the answer then owes to
the estimate is said in its assumption, and numbers completed by Poincare duality under an estimated closedness are labelled heuristic. Where sheets cross
(`topogen.topology.strata.strata`, looked for in up to 20,000 points) the set is no manifold: nothing is completed, and claims beside say where. Elsewhere a
noisy cloud that stays undecided is looked at a second time without its noise (`denoised`). Stray points are left out and named, and points that are no
independent draw have neither confidence nor p-values (`draw_claims`). What an inspection of the same cloud has found is taken over.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from topogen.geometry.clouds.dimension import DimensionEstimate, affine_hull, estimate_dimension
from topogen.geometry.clouds.independence import dependence
from topogen.geometry.clouds.point_clouds import by_radius, distinct_rows
from topogen.geometry.clouds.scales import boundary_points, noise_level
from topogen.geometry.clouds.strays import stray_rows
from topogen.topology.inference.homology import LEVEL, Homology, homology
from topogen.topology.persistence.budget import Budget
from topogen.topology.strata.strata import Stratum, find_strata
from topogen.verification.claims import make_claim
from topogen.verification.evidence.betti_evidence import BettiEvidence, estimated_instead, evidence_of_homology
from topogen.verification.evidence.denoised import denoised, second_look
from topogen.verification.evidence.draw_claims import dependence_claims, stray_claims
from topogen.verification.evidence.loop_claims import loops_claim
from topogen.verification.evidence.singular_sets import strata_claims
from topogen.verification.verdict import Claim, each

__all__ = ["Inspected", "cloud_evidence"]

_ENOUGH, _PLENTY = 400, 50_000
_BOUNDARY_SHARE = 1e-3
_SEARCHED = 20_000
# a cloud is judged at most twice at an eps of its own: as it was read, and without the closedness that was read
LOOKS = 2


class Inspected(Protocol):
    """What is taken over of an inspection (`topogen.inspection.Inspection`)."""

    @property
    def n(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def hull_dim(self) -> int: ...
    @property
    def dimension(self) -> DimensionEstimate: ...
    @property
    def has_boundary(self) -> bool: ...
    @property
    def strata(self) -> tuple[Stratum, ...]: ...
    @property
    def homology(self) -> Homology: ...


def cloud_evidence(
    name: str,
    cloud: Tensor,
    fields: Sequence[int],
    *,
    dim: int | None = None,
    closed: bool | None = None,
    scale: float | None = None,
    density_ratio: float | None = None,
    level: float = LEVEL,
    landmarks: int | None = None,
    budget: Budget | None = None,
    generator: torch.Generator | None = None,
    inspection: Inspected | None = None,
) -> BettiEvidence:
    """The side called `name` of a cloud (n, D), by persistent homology in its affine hull at the noise level; `scale`, `density_ratio` and `landmarks` (None:
    as many as are cheap) as in `homology`.

    `level`: confidence of the side as a whole, shared by the looks that are taken.

    `inspection`: of the same cloud, whose homology is taken over where it asked what is asked here: a smooth set of one dimension, over these fields.
    Raises InvalidInputError for fewer than 12 distinct points, BudgetExceeded before the work starts.
    """
    stray: list[int] = stray_rows(cloud).tolist() if scale is None else []
    points = by_radius(distinct_rows(_without(cloud, stray)))
    drawn = dependence(cloud)
    density_ratio = None if drawn.found else density_ratio
    asked = None if any(given is not None for given in (closed, scale, density_ratio, landmarks)) else _taken_over(inspection, points, dim, fields)
    read = _read(points, dim, closed, generator) if asked is None else _inspected(asked, points, estimated=dim is None)
    stated: dict[str, Any] = {"scale": "auto" if scale is None else scale, "density_ratio": density_ratio, "level": each(level, LOOKS)}
    stated["landmarks"] = "auto" if landmarks is None else landmarks
    judge: Callable[..., Homology] = functools.partial(homology, dim=read.dim, fields=fields, budget=budget, generator=generator, **stated)
    found = judge(read.inside, closed=read.closed, crossing=bool(read.strata)) if asked is None else _over(asked.homology, fields)
    if closed is None and read.closed and "closed set" in found.reason:
        found, read = _as_no_manifold(found, read, judge)
    side = _side(name, found, read, estimated=closed is None)
    if not side.decided and density_ratio is not None and scale is None:
        side = estimated_instead(side, _side(name, judge(read.inside, closed=read.closed, density_ratio=None), read, estimated=closed is None))
    if not side.decided and scale is None:
        # nothing bounds how far moved points are from the set: a density ratio would not help
        found = _without_noise(found, read, functools.partial(judge, density_ratio=None), generator)
        side = replace(_side(name, found, read, estimated=closed is None), before=side if found.smoothed else None)
    crossings = strata_claims(name, read.inside, read.dim, read.strata) if read.dim is not None else ()
    tested = () if side.decided or drawn.found else loops_claim(name, read.inside, budget, generator)
    about = (*stray_claims(name, cloud, stray), *dependence_claims(name, drawn))
    return replace(
        side, label="heuristic" if stray else side.label, beside=(*about, *_shown(f"{name} without stray rows" if stray else name, found), *tested, *crossings)
    )


def _without(cloud: Tensor, rows: list[int]) -> Tensor:
    kept = torch.ones(len(cloud), dtype=torch.bool)
    kept[rows] = False
    return cloud[kept]


def _side(name: str, found: Homology, read: _Reading, *, estimated: bool) -> BettiEvidence:
    """The side of what was found; heuristic where duality completed it under a closedness that is `estimated`."""
    side = evidence_of_homology(name, found, read.inside.shape[1], dim=read.dim, closed=read.closed, assumption=read.assumption)
    by_duality = estimated and any("duality" in note for note in found.notes)
    return replace(side, label="heuristic") if by_duality else side


def _as_no_manifold(found: Homology, read: _Reading, judge: Callable[[Tensor], Homology]) -> tuple[Homology, _Reading]:
    """Homology without the estimated closedness, which a law of closed manifolds contradicts, where the spanning rule then decides; else as it was."""
    again = judge(read.inside)
    if "spanning" not in again.rule or None in again.betti.values():
        return found, read
    return again, replace(read, closed=None, assumption="no closed manifold, whose laws these numbers break")


def _without_noise(found: Homology, read: _Reading, judge: Callable[..., Homology], generator: torch.Generator | None) -> Homology:
    """Undecided homology of a set of known dimension whose sheets do not cross, looked at a second time without the noise, where there is some."""
    cloud = None if read.dim is None or read.strata else denoised(read.inside, read.dim, generator=generator)
    return found if cloud is None else second_look(found, cloud, functools.partial(judge, closed=read.closed))


def _shown(name: str, found: Homology) -> tuple[Claim, ...]:
    """What is a theorem about the points, whatever set they sample: Betti numbers of their complex, over the widest range of radii with a hole."""
    telling = [window for window in found.windows if any(sum(numbers) > 1 for numbers in window.betti.values())]
    return tuple(make_claim("window", f"{name}: {window.to_text()}", True, evidence=window.to_dict()) for window in telling[:1])


@dataclass(frozen=True)
class _Reading:
    """Coordinates (n, m) of a cloud, what is taken for known of its set, and the assumption where that was estimated."""

    inside: Tensor
    dim: int | None
    closed: bool | None
    assumption: str
    strata: tuple[Stratum, ...] = ()


def _read(points: Tensor, dim: int | None, closed: bool | None, generator: torch.Generator | None) -> _Reading:
    if len(points) < _ENOUGH:
        return _Reading(points, dim, closed, "")
    hull = affine_hull(points)
    inside = hull.coordinates(points) if dim is None or dim <= hull.dim else points
    # a part of the points is a sample of the same set
    some = slice(None, None, math.ceil(len(points) / _PLENTY))
    found = dim if dim is not None else _dimension(points[some], generator)
    if found is None:
        return _Reading(inside, None, closed, "")
    if closed is not None:
        return _Reading(inside, found, closed, "" if dim is not None else f"dimension {found} (estimated)")
    strata = find_strata(inside, found) if found < inside.shape[1] and len(inside) <= _SEARCHED else ()
    if strata:
        return _Reading(inside, found, None, f"dimension {found}" + (" (estimated)" if dim is None else ""), strata)
    closed = found < inside.shape[1] and not _has_boundary(inside[some], found, generator)
    kind = "no boundary (none found)" if closed else "a boundary (found)"
    return _Reading(inside, found, closed, f"{kind}, dimension {found}" + (" (estimated)" if dim is None else ""))


def _taken_over(found: Inspected | None, points: Tensor, dim: int | None, fields: Sequence[int]) -> Inspected | None:
    """The inspection where it looked at these distinct points as `_read` would; None elsewhere."""
    if found is None or len(points) < _ENOUGH or (len(points), dim or found.dim) != (found.n, found.dim):
        return None
    smooth = len(found.dimension.mixed) <= 1 and not found.strata and found.dim < found.hull_dim
    return found if smooth and set(fields) <= set(found.homology.decided) else None


def _inspected(found: Inspected, points: Tensor, *, estimated: bool) -> _Reading:
    kind = "a boundary (found)" if found.has_boundary else "no boundary (none found)"
    assumption = f"{kind}, dimension {found.dim}" + (" (estimated)" if estimated else "")
    return _Reading(affine_hull(points).coordinates(points), found.dim, not found.has_boundary, assumption)


def _over(found: Homology, fields: Sequence[int]) -> Homology:
    """What was found over `fields` alone."""
    return replace(found, decided={p: found.decided[p] for p in fields}, diagrams={p: found.diagrams[p] for p in fields})


def _dimension(points: Tensor, generator: torch.Generator | None) -> int | None:
    estimate = estimate_dimension(points, generator=generator)
    return estimate.dim if len(estimate.mixed) <= 1 else None


def _has_boundary(points: Tensor, dim: int, generator: torch.Generator | None) -> bool:
    k = noise_level(points, dim, generator=generator).k
    return int(boundary_points(points, dim, k=k).sum()) > max(1.0, _BOUNDARY_SHARE * len(points))
