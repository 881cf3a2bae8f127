"""Landmarks of a cloud by farthest points, with their exact covering radius.

Greedy farthest points l_1, l_2, ... take the point farthest from those already taken. With the covering radius

    r(L) = max_{x in X} min_{l in L} |x - l|

the landmarks are within Hausdorff distance r(L) of the cloud X (L is part of X), hence every persistence bar longer than
2 r(L) in radius units is a bar of the whole cloud (stability), and r(L) is at most twice the best radius for that many points.

Gonzalez (1985), Clustering to minimize the maximum intercluster distance; Cohen-Steiner, Edelsbrunner, Harer (2007),
Stability of persistence diagrams.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.errors import InvalidInputError

__all__ = ["Landmarks", "covering_radius", "farthest_points"]

TREE_DIMENSION = 9
LARGEST = 1e150


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
    indices = _greedy_by_tree(cloud, count, start) if cloud.shape[1] <= TREE_DIMENSION else _greedy(cloud, count, start)
    chosen = points.detach()[indices.to(points.device)]
    return Landmarks(indices, chosen, covering_radius(cloud, cloud[indices]))


def covering_radius(points: Tensor, landmarks: Tensor) -> float:
    """Exact covering radius max_x min_l |x - l| of a cloud (n, D) by landmarks (m, D), in data units, computed in float64."""
    return float(nearest_distance(points, landmarks).max())


def nearest_distance(points: Tensor, landmarks: Tensor) -> Tensor:
    """Distances (n,) float64 of points (n, D) to the nearest of the landmarks (m, D)."""
    return neighbour_distances(points, landmarks, 1)[:, 0]


def neighbour_distances(points: Tensor, others: Tensor, count: int) -> Tensor:
    """Distances (n, count) float64 of points (n, D) to their nearest `count` of the others (m, D), ascending."""
    return neighbours(points, others, count)[0]


def neighbours(points: Tensor, others: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances (n, count) float64 and rows (n, count) int64 of the nearest `count` of the others (m, D) to points (n, D), ascending."""
    points, others = (t.detach().to(device="cpu", dtype=torch.float64) for t in (points, others))
    if points.shape[1] <= TREE_DIMENSION:
        from scipy.spatial import KDTree

        distances, rows = KDTree(others.numpy()).query(points.numpy(), k=range(1, count + 1))
        return torch.from_numpy(distances), torch.from_numpy(rows)
    exact = "donot_use_mm_for_euclid_dist"
    chunks = torch.split(points, max(1, 20_000_000 // len(others)))
    parts = [torch.cdist(chunk, others, compute_mode=exact).topk(count, largest=False) for chunk in chunks]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def distinct_rows(points: Tensor) -> Tensor:
    """The different rows of points (n, D) in lexicographic order, as `torch.unique` gives them; much faster where the first column alone tells them apart."""
    order = points[:, 0].argsort()
    first = points[order, 0]
    return points[order] if bool((first[1:] > first[:-1]).all()) else torch.unique(points, dim=0)


def check_cloud(points: Tensor, least: int = 1, name: str = "points") -> None:
    """Raise InvalidInputError unless the argument `name` is a finite floating (n, D) tensor of at least `least` rows (gudhi must never see a NaN)."""
    if not torch.is_tensor(points) or not torch.is_floating_point(points) or points.ndim != 2 or points.shape[1] < 1:
        found = f"{points.dtype} of shape {tuple(points.shape)}" if torch.is_tensor(points) else type(points).__name__
        raise InvalidInputError(f"{name}: expected a floating tensor of shape (n, D), found {found}; convert with torch.as_tensor({name}, dtype=torch.float64)")
    if points.is_meta or points.layout != torch.strided:
        raise InvalidInputError(f"{name}: expected a dense tensor with values, found {'a meta tensor' if points.is_meta else points.layout}; use to_dense()")
    bad = ~torch.isfinite(points.detach()).all(1)
    if bool(bad.any()):
        raise InvalidInputError(f"{name}: {int(bad.sum())} of {len(points)} rows are not finite (first: row {int(bad.nonzero()[0])}); remove them first")
    largest = float(points.detach().abs().max()) if len(points) else 0.0
    if largest > LARGEST:
        raise InvalidInputError(f"{name}: coordinates up to {largest:.3g}, whose squares are no numbers any more; choose a larger unit of length")
    if len(points) < least:
        raise InvalidInputError(f"{name}: found {len(points)} points, need at least {least}")


def _greedy_by_tree(cloud: Tensor, count: int, start: int) -> Tensor:
    from gudhi.subsampling import choose_n_farthest_points
    from scipy.spatial import KDTree

    chosen = choose_n_farthest_points(points=cloud.numpy(), nb_points=min(count, len(cloud)), starting_point=start)
    _, rows = KDTree(cloud.numpy()).query(chosen)
    return _first_of_each(torch.as_tensor(rows, dtype=torch.int64).reshape(-1), cloud)


def _first_of_each(rows: Tensor, cloud: Tensor) -> Tensor:
    """Drop the tail of landmarks that repeat earlier ones: greedy order makes repeats come last."""
    distinct = len(torch.unique(cloud[rows], dim=0))
    return rows[:distinct]


def _greedy(cloud: Tensor, count: int, start: int) -> Tensor:
    squared = torch.full((len(cloud),), torch.inf, dtype=torch.float64)
    chosen = [start]
    while len(chosen) < min(count, len(cloud)):
        squared = torch.minimum(squared, (cloud - cloud[chosen[-1]]).square().sum(1))
        farthest = int(squared.argmax())
        if squared[farthest] == 0:
            break
        chosen.append(farthest)
    return torch.tensor(chosen)
