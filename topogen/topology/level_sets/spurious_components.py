"""Ghosts: pieces of a zero set where no data are.

Uniform starts in the bounding box of the data, enlarged by 10 %, are projected (for blended local polynomials: in their supports alone). One that
converges farther than three covering radii from the data is a ghost. The covering radius is read off the data themselves: cut at random into halves, it is
the 99 % quantile of the distance from a point to the other half (a maximum would let one outlier hide every ghost; halving and the quantile nearly cancel
on an evenly covered surface).
The share of ghosts among all starts gets a Wilson interval,

    (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n) .

Wilson (1927), Probable inference, the law of succession, and statistical inference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest_distance
from topogen.geometry.clouds.point_clouds import check_cloud
from topogen.manifolds.base import Manifold

__all__ = ["GhostAudit", "audit", "held_out_radius", "wilson_interval"]

FAR = 3.0
MARGIN = 0.1
QUANTILE = 0.99
DRAWS = 20
EXAMPLES = 10


@dataclass(frozen=True)
class GhostAudit:
    """Of `starts` uniform starts `ghosts` converged farther than `threshold` (data units) from the data, `unconverged` did not converge and `outside`
    landed beyond the gate; `share` = ghosts / starts with its 95 % Wilson `interval`, `examples` (k, D) up to ten ghosts, the farthest first; `landed` (m, D):
    where starts converged within the gate, the nearest to the data first."""

    starts: int
    ghosts: int
    unconverged: int
    outside: int
    share: float
    interval: tuple[float, float]
    threshold: float
    examples: Tensor
    landed: Tensor


def audit(manifold: Manifold, points: Tensor, *, n_starts: int = 10_000, generator: torch.Generator | None = None) -> GhostAudit:
    """Look for ghosts of a manifold learned from points (n, D), data units.

    Raises InvalidInputError for a cloud that is not finite or has fewer than four points, a wrong dimension or n_starts below 1.
    """
    check_cloud(points, least=4)
    if points.shape[1] != manifold.ambient_dim or n_starts < 1:
        raise InvalidInputError(f"points, n_starts: expected (n, {manifold.ambient_dim}) and at least 1, found {tuple(points.shape)} and {n_starts}")
    cloud = points.detach().double()
    threshold = FAR * held_out_radius(cloud, generator)
    quick = manifold.with_fast_projection(gated=False)
    projection = quick.project(_starts(manifold, cloud, threshold, n_starts, generator))
    landed = projection.points[projection.converged]
    inside = manifold.inside_boundary(landed)
    distance = nearest_distance(landed[inside], cloud)
    far = distance > threshold
    ghosts = int(far.sum())
    order = distance.argsort()
    counts = (n_starts, ghosts, n_starts - len(landed), int((~inside).sum()))
    sorted_landings = landed[inside][order]
    examples = sorted_landings[len(order) - ghosts :].flip(0)[:EXAMPLES]
    return GhostAudit(*counts, ghosts / n_starts, wilson_interval(ghosts, n_starts), threshold, examples, sorted_landings)


def held_out_radius(points: Tensor, generator: torch.Generator | None = None) -> float:
    """Covering radius of a cloud (n, D) by itself: the 99 % quantile of the distance of its points to the half they are not in."""
    order = torch.randperm(len(points), generator=generator)
    first, second = points[order[: len(points) // 2]], points[order[len(points) // 2 :]]
    distances = torch.cat([nearest_distance(first, second), nearest_distance(second, first)])
    return float(distances.sort().values[math.ceil(QUANTILE * len(distances)) - 1])


def wilson_interval(hits: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval for the share behind `hits` of `trials`; `z` is the normal quantile (95 %)."""
    p, square = hits / trials, z * z / trials
    centre = (p + square / 2) / (1 + square)
    half = z * math.sqrt(p * (1 - p) / trials + square / (4 * trials)) / (1 + square)
    return max(0.0, centre - half) if hits else 0.0, min(1.0, centre + half) if hits < trials else 1.0


def _starts(manifold: Manifold, cloud: Tensor, threshold: float, n: int, generator: torch.Generator | None) -> Tensor:
    """Uniform in the enlarged bounding box; for a constraint made of supports, outside of which it has no zeros, inside the supports only."""
    covered = getattr(manifold.constraint, "covered", None)
    if covered is None:
        low, high = cloud.amin(0), cloud.amax(0)
        margin = MARGIN * (high - low) / 2
        draw = torch.rand(n, cloud.shape[1], dtype=torch.float64, generator=generator).to(cloud.device)
        return low - margin + (high - low + 2 * margin) * draw
    found: list[Tensor] = []
    for _ in range(DRAWS):
        rows = torch.randint(len(cloud), (n,), generator=generator)
        draw = torch.rand(n, cloud.shape[1], dtype=torch.float64, generator=generator)
        around = cloud[rows] + 2 * threshold * (2 * draw - 1)
        found.append(around[covered(around)])
        if sum(map(len, found)) >= n:
            break
    return torch.cat([*found, cloud[torch.randint(len(cloud), (n,), generator=generator)]])[:n]
