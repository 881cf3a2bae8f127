"""Pieces of a cloud of visited points: single linkage with a cut that the spacing sets, checked on the manifold where it is given.

Positions of Markov chains repeat and cluster: they are made distinct and thinned to some thousand, the rest follows its nearest one. The minimum spanning
tree of the graph of nearest neighbours is cut at edges longer than max(3 q, .05 diameter), q the 99 % quantile of its edges. On a manifold two pieces are
one if the straight path between near points of them, projected onto M in 200 steps, moves by no more than four steps at a time.
Gower, Ross (1969), Minimum spanning trees and single linkage cluster analysis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import components, nearest
from topogen.manifolds.base import Manifold

__all__ = ["connected_components"]

_CORE = 3000
_NEIGHBOURS = 20
_SPACINGS = 3.0
_LEAST = 0.05
_PATH_STEPS = 200
_TEAR = 4.0
_TRIED = 3
_CANDIDATES = 2000


def connected_components(points: Tensor, manifold: Manifold | None = None) -> Tensor:
    """Labels (n,) int64, 0 to c - 1, of the pieces that points (n, D) float64 fall into."""
    distinct, back = points.unique(dim=0, return_inverse=True)
    core = _spread(len(distinct), _CORE, points.device)
    labels, limit = _linked(distinct[core])
    far = (nearest(distinct[core], 1, distinct)[0][:, 0] > limit).nonzero().squeeze(1)
    if len(far):  # places that thinning has missed
        core = torch.cat([core, far[_spread(len(far), _CORE, points.device)]]).unique()
        labels, limit = _linked(distinct[core])
    if manifold is not None:
        labels = _joined(distinct[core], labels, manifold)
    return labels[nearest(distinct[core], 1, distinct)[1][:, 0]][back]


def _spread(n: int, most: int, device: torch.device) -> Tensor:
    """Up to `most` of n row numbers: rows are in lexicographic order, a fixed draw among them follows the density."""
    if n <= most:
        return torch.arange(n, device=device)
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:most].sort().values.to(device)


def _linked(points: Tensor) -> tuple[Tensor, float]:
    """Labels of the pieces of the cut tree and the length it was cut at."""
    if len(points) < 2:
        return torch.zeros(len(points), dtype=torch.int64, device=points.device), torch.inf
    distances, indices = nearest(points, min(_NEIGHBOURS, len(points) - 1))
    edges, lengths = _tree(len(points), distances, indices)
    diameter = float((points.amax(0) - points.amin(0)).norm())
    limit = max(_SPACINGS * float(lengths.quantile(0.99)), _LEAST * diameter)
    return components(len(points), edges[lengths <= limit])[1], limit


def _tree(n: int, distances: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Edges (m, 2) and lengths (m,) of the minimum spanning forest of the graph of nearest neighbours."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    rows = torch.arange(n).repeat_interleave(indices.shape[1]).numpy()
    graph = coo_array((distances.cpu().reshape(-1).numpy(), (rows, indices.cpu().reshape(-1).numpy())), shape=(n, n))
    forest = minimum_spanning_tree(graph.tocsr()).tocoo()
    edges = torch.stack([torch.as_tensor(forest.row, dtype=torch.int64), torch.as_tensor(forest.col, dtype=torch.int64)], 1)
    return edges.to(distances.device), torch.as_tensor(forest.data).to(distances)


def _joined(points: Tensor, labels: Tensor, manifold: Manifold) -> Tensor:
    """Labels after joining pieces between which a path in M is found, the nearest pairs of pieces first."""
    number = int(labels.max()) + 1
    bridges = [(i, j, *_near_pairs(points[labels == i], points[labels == j])) for i in range(number) for j in range(i)]
    joined = torch.arange(number, device=labels.device)
    for i, j, starts, ends in sorted(bridges, key=lambda bridge: float((bridge[2] - bridge[3]).norm(dim=1).min())):
        if joined[i] != joined[j] and bool(_connected(starts, ends, manifold).any()):
            joined = torch.where(joined == joined[i], joined[j], joined)
    return joined.unique(return_inverse=True)[1][labels]


def _near_pairs(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Up to three pairs (p, D), (p, D) of points of two pieces, the nearest ones."""
    some = one[_spread(len(one), _CANDIDATES, one.device)]
    distances, indices = nearest(other, 1, some)
    order = distances[:, 0].argsort()[:_TRIED]
    return some[order], other[indices[order, 0]]


def _connected(starts: Tensor, ends: Tensor, manifold: Manifold) -> Tensor:
    """Mask (p,) of the pairs between which the projected straight path exists and does not tear."""
    t = torch.linspace(0, 1, _PATH_STEPS + 1, dtype=starts.dtype, device=starts.device)[:, None, None]
    line = starts + t * (ends - starts)
    found = manifold.project(line)
    steps = found.points.diff(dim=0).norm(dim=-1)
    off = (found.points[[0, -1]] - line[[0, -1]]).norm(dim=-1)
    longest = _TEAR * (ends - starts).norm(dim=-1) / _PATH_STEPS
    return found.converged.all(0) & (steps <= longest).all(0) & (off <= longest).all(0)
