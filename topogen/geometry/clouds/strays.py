"""What does not belong to one cloud: stray points far from all others, and pieces that lie far apart.

A point is stray if its distance d to the neighbour number s + 1, s = n / 1000 between 1 and 5, is more than ten times that of 99 % of the points and more than
half of the diameter of the others: no sampling of one set, however uneven, leaves one point so far out. Up to s of them may lie together.

Pieces are the components of the graph that joins each point to its nearest fifteen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import components, nearest, nearest_distance
from topogen.geometry.clouds.scales import diameter

__all__ = ["graph_neighbours", "pieces", "stray_rows"]

FAR, WIDE = 10.0, 0.5
MOST_TOGETHER = 5
LEAST = 50
GRAPH_NEIGHBOURS = 15


def stray_rows(points: Tensor) -> Tensor:
    """The rows (m,) int64, ascending, of stray points of a cloud (n, D); none of fewer than 50 points."""
    n = len(points)
    none = torch.empty(0, dtype=torch.int64)
    if n < LEAST:
        return none
    together = max(1, min(MOST_TOGETHER, n // 1000))
    distance = nearest(points, together + 2, points)[0][:, -1]
    far = distance > FAR * float(distance.kthvalue(max(1, int(0.99 * n))).values)
    rows: Tensor = far.nonzero().squeeze(1)
    if not len(rows):
        return none
    rest = points[~far]
    apart = nearest_distance(points[rows], rest) > WIDE * diameter(rest)
    return rows[apart.to(rows.device)].cpu()


def graph_neighbours(n: int) -> int:
    """How many neighbours each of n points is joined to."""
    return max(2, min(GRAPH_NEIGHBOURS, n // 5, n - 1))


def pieces(points: Tensor) -> tuple[Tensor, ...]:
    """Rows (m,) int64 of each piece of a cloud (n, D), the largest first."""
    n = len(points)
    indices = nearest(points, graph_neighbours(n))[1]
    edges = torch.stack([torch.arange(n, device=points.device).repeat_interleave(indices.shape[1]), indices.reshape(-1)], 1)
    number, labels = components(n, edges)
    found = [(labels == c).nonzero().squeeze(1) for c in range(number)]
    return tuple(sorted(found, key=len, reverse=True))
