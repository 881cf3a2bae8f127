"""The least reach that a cloud shows: how far the middle of two points is from the set, whatever its dimension, boundary and all.

If M has reach R, then for x, y in M at distance c < 2 R the middle is no farther from M than a circle of radius R sags,

    d((x + y) / 2, M)  <=  R - sqrt(R^2 - c^2 / 4),        so a sag s shows        R <= s / 2 + c^2 / (8 s).

Of the distance of the middle to the cloud is taken off what noise explains, and the widest gap that n independent points leave, with confidence .95 where
they lie evenly and t is the median distance to the next one,

    g = t ((log n + (d - 1) log log n + 3) / log 2)^(1/d),

or the largest such distance if that is more. Thus a cloud can show that a reach is small, never that it is large: what lies between the points stays unseen.
Federer (1959), Curvature measures; Attali, Lieutier, Salinas (2013), Vietoris-Rips complexes also provide topologically correct reconstructions of sampled
shapes; Boissonnat, Lieutier, Wintraecken (2019), The reach, metric distortion, geodesic convexity and the variation of tangent spaces; Berenfeld, Harvey,
Hoffmann, Shankar (2022), Estimating the reach of a manifold via its convexity defect function.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest, nearest_distance
from topogen.geometry.clouds.point_clouds import even_rows

__all__ = ["reach_upper_bound"]

PROBES, FEWER_PROBES, CANDIDATES, PARTNERS = 1000, 200, 5000, 40
SURE = 3.0
LOW_DIMENSION = 9


def reach_upper_bound(points: Tensor, dim: float, most: float, noise: float = 0.0) -> float:
    """The least reach (data units) below `most` that pairs of a cloud (n, D) of a set of dimension d show; infinite where none does.

    Up to 1000 points (200 above nine dimensions) are paired with 40 others each, near and far up to 2 `most`; `noise` is how far points are off the set.
    """
    count = PROBES if points.shape[1] <= LOW_DIMENSION else FEWER_PROBES
    some, others = (points[even_rows(len(points), k)] for k in (count, CANDIDATES))
    middle, chord = _pairs(some, others, 2 * most)
    if not len(middle):
        return torch.inf
    sag = (nearest_distance(middle, points) - _gap(nearest(points, 2, others)[0][:, 1], len(points), dim) - noise).clamp_min(0)
    reach = sag / 2 + chord.square() / (8 * sag.clamp_min(1e-300))
    least = float(reach.masked_fill(sag == 0, torch.inf).min())
    return least if least < most else torch.inf


def _gap(nearest: Tensor, n: int, dim: float) -> float:
    """g from distances (m,) of some of n points to the next one."""
    d, logarithm = max(1.0, dim), math.log(max(n, 3))
    factor = ((logarithm + (d - 1) * math.log(logarithm) + SURE) / math.log(2)) ** (1 / d)
    return max(factor * float(nearest.median()), float(nearest.max()))


def _pairs(some: Tensor, others: Tensor, longest: float) -> tuple[Tensor, Tensor]:
    """Middles (m, D) and lengths (m,) of chords up to `longest`: from each point to others whose ranks by distance grow geometrically."""
    ranks = torch.from_numpy(np.unique(np.geomspace(1, len(others) - 1, PARTNERS).round().astype(np.int64)))
    parts = [torch.cdist(part, others).sort(dim=1) for part in torch.split(some, max(1, 20_000_000 // len(others)))]
    distance = torch.cat([part.values[:, ranks] for part in parts])
    rows = torch.cat([part.indices[:, ranks] for part in parts])
    row, column = ((distance <= longest) & (distance > 0)).nonzero(as_tuple=True)
    return (some[row] + others[rows[row, column]]) / 2, distance[row, column]
