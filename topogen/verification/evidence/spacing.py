"""How densely the points around each point of a cloud lie, whether or not they were drawn one by one.

For points drawn independently r(x) is the distance to the k-th nearest of them, k = ln n: a ball of that radius is empty with a probability of about 1/n. Two
things make that distance tell nothing of the set that is sampled:

*Near-duplicates.* Of points drawn from a set of dimension d some .1 lie within r_K (.1 / K)^(1/d) of any one, r_K the distance to the K-th. Nearer ones are
taken as one point (the first in each cell of that side).

*Trajectories.* Rows that follow each other are as near as the step is short. A ball then counts passes, maximal runs of rows that follow each other, in
place of points: r(x) is the radius at which it holds k of them.
Theiler (1986), Spurious dimension from correlation algorithms applied to limited time-series data (rows near in time are left out there).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.clouds.point_clouds import first_occurrences

__all__ = ["separate_rows", "spacing"]

CROWD, WIDE, LOW = 0.1, 16, 0.1
MOST_PASSED = 512
CHUNK = 4_000_000


def spacing(points: Tensor, dim: int, *, ordered: bool) -> Tensor:
    """r (n,) at all points (n, D) of a set of dimension `dim`; `ordered`: their rows are those of a trajectory."""
    rows = separate_rows(points, dim)
    cloud = points[rows]
    k = min(max(2, math.ceil(math.log(len(cloud)))), len(cloud) - 1)
    if ordered:
        return _radius_of_passes(cloud, points, k)
    return nearest(cloud, k + 1, points)[0][:, -1]


def separate_rows(points: Tensor, dim: int) -> Tensor:
    """Rows (m,), ascending, of points (n, D) without duplicates and near-duplicates."""
    rows = first_occurrences(points)[0]
    cloud = points[rows]
    many = min(WIDE * max(2, math.ceil(math.log(len(cloud)))), len(cloud) // 4)
    if many < 2:
        return rows
    side = float(nearest(cloud, many)[0][:, -1].quantile(LOW)) * (CROWD / many) ** (1 / dim)
    return rows if side <= 0 else rows[first_occurrences((cloud / side).floor())[0]]


def _radius_of_passes(cloud: Tensor, points: Tensor, k: int) -> Tensor:
    """The radius (n,) at which the ball round each point holds k + 1 runs of successive rows of the cloud (m, D), the widest where none does."""
    found = points.new_full((len(points),), torch.nan)
    open_rows, many = torch.arange(len(points)), 4 * (k + 1)
    while len(open_rows):
        size = max(1, CHUNK // many**2)
        parts = [_passes(*nearest(cloud, many, points[some]), k) for some in open_rows.split(size)]
        radius = torch.cat(parts)
        last = many >= min(MOST_PASSED, len(cloud))
        done = radius.isfinite() | last
        found[open_rows[done]] = radius[done].nan_to_num(posinf=float(radius[radius.isfinite()].max()) if bool(radius.isfinite().any()) else 0.0)
        open_rows, many = open_rows[~done], 2 * many
    return found


def _passes(distance: Tensor, near: Tensor, k: int) -> Tensor:
    """The distance (q,) at which neighbours (q, K), in the order of their distances, form k + 1 runs of rows; infinite where they form fewer."""
    position = near.double()
    successive = ((position.unsqueeze(2) - position.unsqueeze(1)).abs() == 1).tril()
    runs = torch.ones_like(position).cumsum(1) - successive.sum(2).cumsum(1)
    reached = runs >= k + 1
    first = reached.double().argmax(1, keepdim=True)
    return torch.where(reached.any(1), distance.gather(1, first)[:, 0], torch.inf)
