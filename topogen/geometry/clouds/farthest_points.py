"""Farthest points of a cloud, with their exact covering radius.

Greedy farthest points l_1, l_2, ... take the point farthest from those already taken. With the covering radius

    r(L) = max_{x in X} min_{l in L} |x - l|

they are within Hausdorff distance r(L) of the cloud X (L is part of X), hence every persistence bar longer than
2 r(L) in radius units is a bar of the whole cloud (stability), and r(L) is at most twice the best radius for that many points.

Gonzalez (1985), Clustering to minimize the maximum intercluster distance; Cohen-Steiner, Edelsbrunner, Harer (2007),
Stability of persistence diagrams.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest, nearest_distance
from topogen.geometry.clouds.point_clouds import check_cloud

__all__ = ["Landmarks", "covering_radius", "farthest_points", "farthest_rows", "spread_out"]

TREE_DIMENSION = 9


@dataclass(frozen=True)
class Landmarks:
    """Farthest points of a cloud: `indices` (m,) int64 into it, `points` (m, D) and the exact covering `radius` in data units."""

    indices: Tensor
    points: Tensor
    radius: float


def farthest_points(points: Tensor, count: int, start: int = 0) -> Landmarks:
    """Greedy farthest points of a cloud (n, D), beginning with row `start`.

    Deterministic. Returns fewer than `count` landmarks when the cloud has fewer distinct points (the radius is then 0).
    Raises InvalidInputError for a cloud that is not a finite (n, D) tensor, a count below 1 or a start outside the cloud.
    """
    check_cloud(points)
    if count < 1:
        raise InvalidInputError(f"count: expected at least 1 landmark, found {count}")
    if not 0 <= start < len(points):
        raise InvalidInputError(f"start: expected a row of the cloud, 0 to {len(points) - 1}, found {start}")
    cloud = points.detach().to(device="cpu", dtype=torch.float64)
    indices = _by_tree(cloud, count, start) if cloud.shape[1] <= TREE_DIMENSION else farthest_rows(cloud, count, start)
    chosen = points.detach()[indices.to(points.device)]
    return Landmarks(indices, chosen, covering_radius(cloud, cloud[indices]))


def covering_radius(points: Tensor, landmarks: Tensor) -> float:
    """Exact covering radius max_x min_l |x - l| of a cloud (n, D) by landmarks (m, D), in data units, computed in float64."""
    return float(nearest_distance(points, landmarks).max())


def farthest_rows(points: Tensor, count: int, start: int = 0) -> Tensor:
    """The rows (m,) int64 of greedy farthest points of a cloud (n, D), the first of those equally far; at most `count` and none twice."""
    squared = points.new_full((len(points),), torch.inf)
    chosen = [start]
    while len(chosen) < min(count, len(points)):
        squared = torch.minimum(squared, (points - points[chosen[-1]]).square().sum(-1))
        farthest = int(squared.argmax())
        if squared[farthest] == 0:
            break
        chosen.append(farthest)
    return torch.tensor(chosen)


def spread_out(points: Tensor, count: int) -> Tensor:
    """The points (n, D) where they are at most `count`, `farthest_rows` of them otherwise."""
    return points if len(points) <= count else points[farthest_rows(points, count)]


def _by_tree(cloud: Tensor, count: int, start: int) -> Tensor:
    """`farthest_rows` up to ties, ten times faster in few dimensions."""
    from gudhi.subsampling import choose_n_farthest_points

    chosen = choose_n_farthest_points(points=cloud.numpy(), nb_points=min(count, len(cloud)), starting_point=start)
    return _first_of_each(nearest(cloud, 1, torch.as_tensor(chosen, dtype=torch.float64))[1][:, 0], cloud)


def _first_of_each(rows: Tensor, cloud: Tensor) -> Tensor:
    """Drop the tail of landmarks that repeat earlier ones: greedy order makes repeats come last."""
    distinct = len(torch.unique(cloud[rows], dim=0))
    return rows[:distinct]
