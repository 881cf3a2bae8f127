"""The cells of a cover by charts, and the connected parts of all intersections of charts at once.

Samples of M that lie in the same charts and hang together in the neighbour graph form a cell; the intersection U_s of the charts of a simplex s
is a union of cells. Its parts are the components of the graph of cells restricted to those whose charts contain s: n samples shrink to a few
thousand cells, and all simplices of one size are answered by one call of connected components on the disjoint union of their graphs.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.geometry.clouds.neighbours import components, nearest
from topogen.geometry.clouds.point_clouds import check_cloud

__all__ = ["Cells", "Parts", "cells", "check_members", "decode", "distinct_memberships", "graph", "links", "loose", "parts", "seams", "subsets", "thickened"]

MOST_SUBSETS = 20_000_000
LARGEST_KEY = 2**62


class Cells(NamedTuple):
    """Cells of a cover: the charts of each (`patterns` (c, K) bool), the cell `of` each sample (n,), and neighbouring cells `edges` (m, 2)."""

    patterns: Tensor
    of: Tensor
    edges: Tensor


class Parts(NamedTuple):
    """Incidences of simplices and cells: `place` (p,) sorted, key times number of cells plus cell; `key` (p,); `label` (p,) of the part of U_s."""

    place: Tensor
    key: Tensor
    label: Tensor

    def at(self, key: Tensor, cell: Tensor, count: int) -> Tensor:
        """Label of the part of U_s that holds a cell, for simplices `key` and cells of which there are `count`."""
        return self.label[torch.searchsorted(self.place, key * count + cell)]

    def pieces(self, keys: Tensor) -> Tensor:
        """Number of parts (s,) of the simplices with sorted `keys` (s,)."""
        owner = torch.zeros(int(self.label.max()) + 1, dtype=torch.int64).index_copy_(0, self.label, self.key)
        return torch.bincount(torch.searchsorted(keys, owner), minlength=len(keys))


def check_members(members: Tensor, dim: int) -> Tensor:
    """The membership (n, K) on the CPU; raises InvalidInputError unless it is boolean, not empty, and every sample is in some chart."""
    if not torch.is_tensor(members) or members.dtype != torch.bool or members.ndim != 2:
        found = f"{members.dtype} of shape {tuple(members.shape)}" if torch.is_tensor(members) else type(members).__name__
        raise InvalidInputError(f"members: expected a boolean tensor of shape (n, K), found {found}; compare distances with radii, as in distance < radius")
    if members.shape[0] < 1 or members.shape[1] < 1:
        raise InvalidInputError(f"members: expected at least one sample and one chart, found shape {tuple(members.shape)}")
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
        raise InvalidInputError(f"dim: expected the dimension of the manifold, at least 1, found {dim!r}")
    bare = ~members.any(1)
    if bool(bare.any()):
        first = int(bare.nonzero()[0])
        raise InvalidInputError(
            f"members: {int(bare.sum())} of {len(members)} samples lie in no chart (first: row {first}); enlarge the charts or drop the samples"
        )
    empty = ~members.any(0)
    if bool(empty.any()):
        raise InvalidInputError(f"members: {int(empty.sum())} charts hold no sample (first: chart {int(empty.nonzero()[0])}); drop them or add samples")
    return members.detach().cpu()


def graph(points: Tensor, members: Tensor, dim: int, count: int | None = None) -> Tensor:
    """Rows (n, k) of the nearest neighbours of each sample (n, D), ascending, k = `count` or what keeps a random sample of dimension d connected."""
    check_cloud(points, 2)
    if len(points) != len(members):
        raise InvalidInputError(f"points: expected one row for each of the {len(members)} rows of members, found {len(points)}")
    if count is not None and count < 1:
        raise InvalidInputError(f"neighbours: expected at least 1, found {count}")
    # in one dimension a gap of the sample is bridged only if it is shorter than k neighbours on one of its sides
    return nearest(points.detach().cpu().to(torch.float64), count or max(16 // dim, 4 + 3 * dim))[1]


def links(neighbours: Tensor) -> Tensor:
    """Edges (n k, 2) of the neighbour graph given by its rows (n, k)."""
    n, k = neighbours.shape
    return torch.stack([torch.arange(n).repeat_interleave(k), neighbours.reshape(-1)], 1)


def thickened(members: Tensor, neighbours: Tensor) -> Tensor:
    """Membership (n, K) in the charts thickened by one ring of neighbours: x is in if one of its neighbours is."""
    wide = members.clone()
    for column in neighbours.unbind(1):
        wide |= members[column]
    return wide


def seams(members: Tensor, neighbours: Tensor) -> Tensor:
    """Mask (n,) of the samples with one of the nearer half of their neighbours in no common chart: there the charts fail to overlap."""
    loose = torch.zeros(len(members), dtype=torch.bool)
    for column in neighbours[:, : max(2, neighbours.shape[1] // 2)].unbind(1):
        loose |= ~(members & members[column]).any(1)
    return loose


def loose(members: Tensor, neighbours: Tensor, dim: int) -> Tensor:
    """Mask (n,) of the samples that lie with their nearest d + 1 neighbours in no one chart: a simplex of samples there is in no chart, and
    the nerve can miss the common point of several charts."""
    common = members.clone()
    for column in neighbours[:, : dim + 1].unbind(1):
        common &= members[column]
    return ~common.any(1)


def cells(members: Tensor, edges: Tensor) -> Cells:
    """Cells of the cover `members` (n, K) over the graph of samples with `edges` (m, 2)."""
    same = distinct_memberships(members)[1]
    number, of = components(len(members), edges[same[edges[:, 0]] == same[edges[:, 1]]])
    patterns = torch.zeros(number, members.shape[1], dtype=torch.bool)
    patterns[of] = members
    ends = of[edges].sort(1).values
    ends = torch.unique(ends[ends[:, 0] != ends[:, 1]] @ torch.tensor([number, 1]))
    return Cells(patterns, of, torch.stack([ends // number, ends % number], 1))


def distinct_memberships(members: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows (c, K) of a membership and the number (n,) of each row among them."""
    packed = np.packbits(members.numpy(), axis=1)
    _, first, number = np.unique(packed.view(f"V{packed.shape[1]}")[:, 0], return_index=True, return_inverse=True)
    return members[torch.as_tensor(first)], torch.as_tensor(number)


def subsets(patterns: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """All `size`-subsets of the charts of each row (c, K): row numbers (p,) and keys (p,), the charts a < b < ... as digits of base K.

    Raises BudgetExceeded before it starts where there are more than twenty million of them.
    """
    charts = patterns.shape[1]
    several = patterns.sum(1)
    most = int(several.max()) if len(several) else 0
    total = sum(math.comb(int(q), size) * int(c) for q, c in zip(*torch.unique(several, return_counts=True), strict=True))
    if total > MOST_SUBSETS or charts**size > LARGEST_KEY:
        raise BudgetExceeded(f"members: {total} intersections of {size} charts to look at, up to {most} in one sample; use smaller charts or fewer of them")
    rows, keys = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
    for q in range(size, most + 1):
        here = (several == q).nonzero()[:, 0]
        if len(here):
            choices = torch.tensor(list(itertools.combinations(range(q), size)))
            digits = patterns[here].nonzero()[:, 1].view(-1, q)[:, choices]
            rows.append(here.repeat_interleave(len(choices)))
            keys.append((digits @ charts ** torch.arange(size - 1, -1, -1)).reshape(-1))
    return torch.cat(rows), torch.cat(keys)


def decode(keys: Tensor, size: int, charts: int) -> Tensor:
    """Charts (p, size) of keys (p,)."""
    return torch.stack([keys // charts**power % charts for power in range(size - 1, -1, -1)], 1)


def parts(found: Cells, size: int) -> Parts:
    """The connected parts of the intersections of `size` charts."""
    count = len(found.patterns)
    cell, key = subsets(found.patterns, size)
    place, order = (key * count + cell).sort()
    edge, shared = subsets(found.patterns[found.edges[:, 0]] & found.patterns[found.edges[:, 1]], size)
    ends = torch.searchsorted(place, shared.unsqueeze(1) * count + found.edges[edge])
    return Parts(place, key[order], components(len(place), ends)[1])
