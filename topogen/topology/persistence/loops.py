"""Which points run around a hole: for every lasting bar of H_1 a shortest loop that cannot be contracted while the bar lives.

Persistent cohomology over Z/2 of the Rips filtration of landmarks gives every bar [b, d) a cocycle, the set of edges a loop must cross an odd
number of times. Just before d it is read off and restricted to short edges; the loop is the shortest in the graph of those edges that crosses it
oddly, found as a shortest path from (v, 0) to (v, 1) in the double cover of the graph.

de Silva, Morozov, Vejdemo-Johansson (2011), Persistent cohomology and circular coordinates; Chen, Freedman (2010), Measuring and computing
natural generators for homology groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.geometry.clouds.point_clouds import check_cloud

__all__ = ["Loop", "loops"]

MOST_TRIANGLES = 1_500_000
Edges = NDArray[np.int64]
Lengths = NDArray[np.float64]


@dataclass(frozen=True)
class Loop:
    """A closed path through the rows `indices` (k,) int64 of a cloud, in order and without repeating the first; `birth` and `death` of its bar are
    radii of the Rips filtration of the landmarks (death inf: alive where the filtration ends), `length` is that of the path, all in data units."""

    indices: Tensor
    birth: float
    death: float
    length: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"indices": self.indices.tolist(), "birth": self.birth, "death": None if math.isinf(self.death) else self.death, "length": self.length}


def loops(points: Tensor, *, landmarks: int = 300, least: float | None = None, most: int = 8, threshold: float | None = None) -> tuple[Loop, ...]:
    """Loops around the holes of a cloud (n, D), the most lasting first, over Z/2.

    `landmarks`: farthest points that carry the filtration; `least`: shortest bar to report, a radius (None: the covering radius of the landmarks, so
    that every loop is one that the whole cloud cannot contract at once); `most`: how many loops; `threshold`: radius at which the filtration ends (None:
    when some point is joined to all). It ends after a million and a half triangles in any case. Raises InvalidInputError for unusable clouds and options.
    """
    check_cloud(points)
    _check_options(landmarks, least, most, threshold)
    chosen = farthest_points(points, landmarks)
    least = chosen.radius if least is None else least
    places = chosen.points.detach().to(device="cpu", dtype=torch.float64)
    distance = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    edges, lengths = _edges(distance, float(distance.max(1).min()) if threshold is None else 2 * threshold)
    triangles, end = _triangles(len(places), edges, lengths)
    edges, lengths = edges[lengths <= end], lengths[lengths <= end]  # what is longer has no triangles that tell which cocycles it is in
    bars = [bar for bar in _cocycles(len(places), edges, lengths, triangles) if min(bar[1], end) - bar[0] > 2 * least]
    bars.sort(key=lambda bar: bar[0] - bar[1])
    found = (_shortest(len(places), edges, lengths, birth, death, crossed) for birth, death, crossed in bars[:most])
    return tuple(Loop(chosen.indices[path], birth, death, length) for path, birth, death, length in found)


def _check_options(landmarks: int, least: float | None, most: int, threshold: float | None) -> None:
    if most < 1 or landmarks < 3:
        raise InvalidInputError(f"landmarks, most: expected at least 3 and 1, found {landmarks} and {most}")
    if (least is not None and not least >= 0) or (threshold is not None and not threshold > 0):
        raise InvalidInputError(f"least, threshold: expected radii in data units, found {least} and {threshold}")


def _edges(distance: Lengths, longest: float) -> tuple[Edges, Lengths]:
    """Pairs (m, 2), the smaller first, and their lengths, ascending, up to the longest."""
    a, b = np.triu_indices(len(distance), 1)
    lengths = distance[a, b]
    kept = np.flatnonzero(lengths <= longest)
    order = kept[np.argsort(lengths[kept], kind="stable")]
    return np.stack([a[order], b[order]], 1), lengths[order]


def _triangles(n: int, edges: Edges, lengths: Lengths) -> tuple[Edges, float]:
    """Edge numbers (m, 3) of the triangles in the order in which they appear, that of their last edge, and the length up to which all are there."""
    number = np.full((n, n), len(edges), dtype=np.int64)
    parts, total = [np.empty((0, 3), dtype=np.int64)], 0
    for last, (a, b) in enumerate(edges):
        apex = np.flatnonzero(np.maximum(number[a], number[b]) < len(edges))
        parts.append(np.stack([number[a, apex], number[b, apex], np.full(len(apex), last)], 1))
        number[a, b] = number[b, a] = last
        total += len(apex)
        if total > MOST_TRIANGLES:
            return np.concatenate(parts), float(lengths[last])
    return np.concatenate(parts), math.inf


def _cocycles(n: int, edges: Edges, lengths: Lengths, triangles: Edges) -> list[tuple[float, float, set[int]]]:
    """(birth, death, edges of the cocycle) of every bar of H_1 of positive length; births and deaths are lengths, the cocycle is the one just before death.

    A bit of values[e] is set for every living cocycle that contains the edge e; a triangle on which some are odd kills the youngest of these
    and adds it to the others. The first triangle that an edge completes kills the cocycle that the edge gave birth to, which leaves on it the
    sum of the other two edges: only edges that complete no triangle need a bit. Ripser finds the same bars in about a third of this time, a second less,
    which is no reason to depend on it.
    """
    seeds = np.setdiff1d(np.flatnonzero(_closing(n, edges)), triangles[:, 2]).tolist()
    members = {bit: {edge} for bit, edge in enumerate(seeds)}
    born = {bit: float(lengths[edge]) for bit, edge in enumerate(seeds)}
    values = [0] * len(edges)
    for bit, edge in enumerate(seeds):
        values[edge] = 1 << bit
    first = np.diff(triangles[:, 2], prepend=-1) != 0
    bars = []
    for fresh, a, b, c in zip(first.tolist(), *(column.tolist() for column in triangles.T), strict=True):
        odd = values[a] ^ values[b] ^ values[c]
        if not odd:
            continue
        if fresh:
            _toggle(odd, {c}, values, members)
            continue
        youngest = odd.bit_length() - 1
        support = set(members[youngest])
        bars.append((born.pop(youngest), float(lengths[c]), support))
        _toggle(odd, support, values, members)
    return bars + [(birth, math.inf, members[bit]) for bit, birth in born.items()]


def _closing(n: int, edges: Edges) -> NDArray[np.bool_]:
    """Which edges close a cycle when they appear, and so give birth to a cocycle: those outside the spanning tree of the shortest edges."""
    parent = list(range(n))

    def root(v: int) -> int:
        while parent[v] != v:
            parent[v] = parent[parent[v]]
            v = parent[v]
        return v

    closing = np.zeros(len(edges), dtype=bool)
    for number, (a, b) in enumerate(edges.tolist()):
        a, b = root(a), root(b)
        parent[a] = b
        closing[number] = a == b
    return closing


def _toggle(bits: int, support: set[int], values: list[int], members: dict[int, set[int]]) -> None:
    """Add the cochain with edges `support` to the cocycles whose bits are set."""
    for edge in support:
        values[edge] ^= bits
    while bits:
        bit = bits.bit_length() - 1
        members[bit] ^= support
        bits ^= 1 << bit


def _shortest(n: int, edges: Edges, lengths: Lengths, birth: float, death: float, crossed: set[int]) -> tuple[list[int], float, float, float]:
    """The shortest closed path that crosses the cocycle an odd number of times; radii, not lengths, come out.

    Edges may be twice as long as at birth, if the bar lives so long: at birth itself the only path around is a crooked one.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    alive = int(np.searchsorted(lengths, min(2 * birth, (birth + death) / 2), side="right"))
    sheet = np.array([edge in crossed for edge in range(alive)], dtype=np.int64)
    a, b = edges[:alive].T
    rows = np.concatenate([a, a + n])
    columns = np.concatenate([b + sheet * n, b + (1 - sheet) * n])
    # scipy takes a zero for no edge
    weights = np.maximum(np.concatenate([lengths[:alive]] * 2), np.finfo(float).tiny)
    cover = coo_matrix((weights, (rows, columns)), shape=(2 * n, 2 * n))
    starts = np.unique(a[sheet == 1])
    distance, before = dijkstra(cover, directed=False, indices=starts, return_predecessors=True)
    best = int(distance[np.arange(len(starts)), starts + n].argmin())
    path, place = [], int(starts[best]) + n
    while place != starts[best]:
        path.append(place % n)
        place = int(before[best, place])
    # a loop has no beginning and no direction: from the first landmark on, its earlier neighbour next
    first = path.index(min(path))
    path = path[first:] + path[:first]
    path = path if path[1] <= path[-1] else [path[0], *path[:0:-1]]
    return path, birth / 2, death / 2, float(distance[best, starts[best] + n])
