"""Where geodesics start: shortest paths in a neighbour graph of known points of M, several per pair.

An edge (p, q) joins nearby points whose chord stays near M: with m = (p + q)/2 it is kept where |pi(m) - m| <= |p - q| / 4, which drops the short
cuts between sheets, and weighs |p - pi(m)| + |pi(m) - q|. From Dijkstra's distances D_x, D_y to all points,

    f(w) = D_x(w) + D_y(w)

is the length of the shortest path from x to y through w. A shortest path is cut at its middle into two shortest paths, so the waypoints w with
D_x(w) near D_y(w) and small f, far from each other, give starts in the different homotopy classes that can win.
Tenenbaum, de Silva, Langford (2000), A global geometric framework for nonlinear dimensionality reduction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.projection import Projection

__all__ = ["PathGraph", "Starts", "path_graph", "starts"]

Project = Callable[[Tensor], Projection]
_PAIRS = 256  # pairs whose distances to all points are held at once


class PathGraph(NamedTuple):
    """Known points (n, D) of M, the directed edges (m, 2) between them with `lengths` (m,), and `spacing`, the median length of an edge."""

    points: Tensor
    edges: Tensor
    lengths: Tensor
    neighbours: int
    spacing: float


class Starts(NamedTuple):
    """Polygons `nodes` (r, m, D) that join the pairs `pair` (r,) int64; a pair that the graph does not join has none."""

    nodes: Tensor
    pair: Tensor


def path_graph(project: Project, points: Tensor, neighbours: int = 12) -> PathGraph:
    """Graph of the `neighbours` nearest neighbours of points (n, D) of M, without the edges whose chord leaves M."""
    _, indices = nearest(points, neighbours)
    rows = torch.arange(len(points), device=points.device).repeat_interleave(indices.shape[1])
    pairs = torch.stack([rows, indices.flatten()], -1)
    pairs = torch.unique(pairs.sort(-1).values, dim=0)
    spacing = float((points[pairs[:, 0]] - points[pairs[:, 1]]).norm(dim=-1).median()) if len(pairs) else 0.0
    keep, lengths = _links(project, points[pairs[:, 0]], points[pairs[:, 1]], 1e-6 * spacing)
    edges, lengths = pairs[keep], lengths[keep]
    return PathGraph(points, torch.cat([edges, edges.flip(-1)]), torch.cat([lengths, lengths]), neighbours, spacing)


def starts(graph: PathGraph, project: Project, x: Tensor, y: Tensor, *, count: int = 3, nodes: int = 65) -> Starts:
    """Up to `count` polygons of `nodes` nodes through the graph for each pair of x, y (n, D), and the chord where it stays near M."""
    parts = [_starts(graph, project, a, b, count, nodes) for a, b in zip(x.split(_PAIRS), y.split(_PAIRS), strict=True)]
    found = torch.cat([part.nodes for part in parts]) if parts else x.new_zeros(0, nodes, x.shape[-1])
    pair = torch.cat([part.pair + i * _PAIRS for i, part in enumerate(parts)]) if parts else torch.zeros(0, dtype=torch.int64, device=x.device)
    return Starts(found, pair)


def _links(project: Project, p: Tensor, q: Tensor, slack: float) -> tuple[Tensor, Tensor]:
    """Which chords stay near M (n,), and the lengths (n,) of their arcs."""
    middle = (p + q) / 2
    found = project(middle)
    ok = found.converged & ((found.points - middle).norm(dim=-1) <= 0.25 * (p - q).norm(dim=-1) + slack)
    return ok, (found.points - p).norm(dim=-1) + (found.points - q).norm(dim=-1)


def _starts(graph: PathGraph, project: Project, x: Tensor, y: Tensor, count: int, nodes: int) -> Starts:
    slack = 1e-6 * graph.spacing
    straight = _links(project, x, y, slack)[0].nonzero().squeeze(-1)
    t = torch.linspace(0, 1, nodes, dtype=x.dtype, device=x.device)[:, None]
    chords = x[straight].unsqueeze(1) * (1 - t) + y[straight].unsqueeze(1) * t
    if not len(graph.points):
        return Starts(chords, straight)
    distances, before = _shortest(graph, project, torch.cat([x, y]))
    ways = _waypoints(graph, distances[: len(x)], distances[len(x) :], count)
    pair, column = (ways >= 0).nonzero(as_tuple=True)
    polygons = [_through(graph, before[i], before[len(x) + i], int(ways[i, c]), x[i], y[i], nodes) for i, c in zip(pair.tolist(), column.tolist(), strict=True)]
    return Starts(torch.cat([chords, *(polygon.unsqueeze(0) for polygon in polygons)]), torch.cat([straight, pair]))


def _shortest(graph: PathGraph, project: Project, sources: Tensor) -> tuple[Tensor, Any]:
    """Graph distances (s, n) from sources (s, D) to all points, and Dijkstra's predecessors; sources have edges out only, so no path passes through one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    n, s = len(graph.points), len(sources)
    _, indices = nearest(graph.points, graph.neighbours, sources)
    rows = torch.arange(s, device=sources.device).repeat_interleave(indices.shape[1])
    keep, lengths = _links(project, sources[rows], graph.points[indices.flatten()], 1e-6 * graph.spacing)
    ends = torch.cat([graph.edges, torch.stack([rows + n, indices.flatten()], -1)[keep]]).cpu().numpy()
    # An edge of length zero would be no edge.
    weights = torch.cat([graph.lengths, lengths[keep]]).clamp_min(1e-9 * graph.spacing + 1e-300).cpu().numpy()
    matrix = coo_array((weights, (ends[:, 0], ends[:, 1])), shape=(n + s, n + s)).tocsr()
    distances, before = dijkstra(matrix, directed=True, indices=list(range(n, n + s)), return_predecessors=True)
    return torch.as_tensor(distances[:, :n]).to(sources), before


def _waypoints(graph: PathGraph, from_x: Tensor, from_y: Tensor, count: int) -> Tensor:
    """Indices (n, count) of points near the middle of short paths and far from each other; -1 where there is none."""
    through = from_x + from_y
    best = through.amin(-1, keepdim=True)
    middle = (from_x - from_y).abs() <= 0.25 * through
    allowed = torch.where(middle & (through <= 1.3 * best) & torch.isfinite(through), through, torch.inf)
    # Points nearer than the spacing have no middle: any shortest path will do.
    none = torch.isinf(allowed.amin(-1, keepdim=True))
    allowed = torch.where(none, through, allowed)
    ways = []
    for _ in range(count):
        value, index = allowed.min(-1)
        ways.append(torch.where(torch.isfinite(value), index, -1))
        near = torch.cdist(graph.points[index], graph.points) <= 0.25 * best + graph.spacing
        allowed = torch.where(near, torch.inf, allowed)
    return torch.stack(ways, -1)


def _through(graph: PathGraph, before_x: Any, before_y: Any, way: int, x: Tensor, y: Tensor, nodes: int) -> Tensor:
    there, back = (_trace(before, way, len(graph.points)) for before in (before_x, before_y))
    polygon = torch.cat([x.unsqueeze(0), graph.points[there[::-1] + back[1:]], y.unsqueeze(0)])
    return _resampled(polygon, nodes)


def _trace(before: Any, way: int, n: int) -> list[int]:
    """Points from `way` back to the source, which is no point of the graph."""
    path = [way]
    while 0 <= before[path[-1]] < n:
        path.append(int(before[path[-1]]))
    return path


def _resampled(polygon: Tensor, nodes: int) -> Tensor:
    """`nodes` points (nodes, D) at equal steps of length along a polygon (k, D)."""
    along = torch.cat([polygon.new_zeros(1), (polygon[1:] - polygon[:-1]).norm(dim=-1).cumsum(0)])
    at = torch.linspace(0, 1, nodes, dtype=polygon.dtype, device=polygon.device) * along[-1]
    i = torch.searchsorted(along, at).clamp(1, len(polygon) - 1)
    share = ((at - along[i - 1]) / (along[i] - along[i - 1]).clamp_min(1e-300)).clamp(0, 1).unsqueeze(-1)
    return polygon[i - 1] * (1 - share) + polygon[i] * share
