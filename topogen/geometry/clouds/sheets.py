"""The smooth sheets of a set whose sheets cross: cut along the crossings, continued straight across them.

Points within w of a crossing (w its width, `singular_points`) are taken out; what is left falls into pieces that hang together by steps up to 3 w / 4.
Around a place p of the crossing, with its tangents T there, the other points within 5 w / 2 form half-sheets h with outward directions

    u_h  =  (1 - T T^t) mean_{x in h} (x - p),  normed .

Half-sheets are paired so that the most opposite directions go together first (u_g . u_h nearest to -1), each place votes for the pieces its pairs belong
to, and pieces are joined as most places say. A sheet is what is joined; the points near the crossing go to the sheet whose quadratic continuation
(`geometry.clouds.neighbours.local_fit`) meets them best, and to every other that passes within w / 10.
Points of two sheets that cross at a small angle have no clear opposite; the share of votes that agree says so.
Martin, Thompson, Coutsias, Watson (2010), Topology of cyclo-octane energy landscape, took such a set apart by hand.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import Tree, components, local_fit, nearest, terms

__all__ = ["Crossing", "Sheets", "centred", "smooth_sheets"]

STEP, AROUND, CLOSE = 0.75, 2.5, 0.1
PROBES, LEAST = 40, 4


class Crossing(NamedTuple):
    """Rows (m,) int64 of the points near a crossing, its dimension, and its width w (data units)."""

    rows: Tensor
    dim: int
    width: float


class Sheets(NamedTuple):
    """`members` (n, s) bool: which points lie on which sheet, largest first; `agreement`: least share over the crossings of votes for how pieces were joined;
    `pieces`: into how many the set falls when it is cut."""

    members: Tensor
    agreement: float
    pieces: int


def smooth_sheets(points: Tensor, dim: int, crossings: Sequence[Crossing]) -> Sheets:
    """The smooth sheets of points (n, D) of dimension `dim`, given where they cross."""
    if not crossings:
        return Sheets(torch.ones(len(points), 1, dtype=torch.bool), 1.0, 1)
    labels = _cut(points, dim, crossings)
    count = int(labels.max()) + 1
    joined, agreement = [], 1.0
    for crossing in crossings:
        votes = _votes(points, labels, crossing)
        chosen = {pair for piece in range(count) for pair in _favourite(votes, piece)}
        joined += sorted(chosen)
        agreement = min(agreement, sum(votes[pair] for pair in chosen) / max(1, votes.total()))
    group = components(count, torch.tensor(joined, dtype=torch.int64).reshape(-1, 2))[1]
    own = torch.where(labels >= 0, group[labels.clamp_min(0)], -1)
    members = torch.stack([own == g for g in range(int(group.max()) + 1)], 1) if count else torch.ones(len(points), 1, dtype=torch.bool)
    members = _completed(points, members, dim, max(c.width for c in crossings))
    return Sheets(members[:, members.sum(0).argsort(descending=True)], agreement, count)


def centred(points: Tensor, place: Tensor, dim: int, width: float) -> tuple[Tensor, Tensor]:
    """A place (D,) moved into the middle of a crossing's points (m, D), and the crossing's tangents (D, dim) there."""
    if dim == 0:
        return points.mean(0), points.new_zeros(points.shape[1], 0)
    near = points[(points - place).norm(dim=1) < 4 * width]
    tangent = torch.linalg.svd(near - near.mean(0), full_matrices=False).Vh[:dim].T
    for _ in range(3):
        move = points[(points - place).norm(dim=1) < 2 * width].mean(0) - place
        place = place + move - tangent @ (tangent.T @ move)
    return place, tangent


def _cut(points: Tensor, dim: int, crossings: Sequence[Crossing]) -> Tensor:
    """Labels (n,) of the pieces away from the crossings, -1 near them and for pieces too small to carry a sheet."""
    away = torch.ones(len(points), dtype=torch.bool)
    for crossing in crossings:
        away &= nearest(points[crossing.rows], 1, points)[0][:, 0] > crossing.width
    rows = away.nonzero().squeeze(1)
    labels = torch.full((len(points),), -1)
    found = _pieces(points[rows], STEP * min(c.width for c in crossings))
    sizes = found.bincount()
    large = sizes >= 2 * terms(dim)
    labels[rows] = torch.where(large, large.cumsum(0) - 1, -1)[found]
    return labels


def _pieces(points: Tensor, length: float) -> Tensor:
    return components(len(points), Tree(points).pairs(length))[1]


def _votes(points: Tensor, labels: Tensor, crossing: Crossing) -> Counter[tuple[int, int]]:
    """How often two pieces are opposite each other across a crossing."""
    votes: Counter[tuple[int, int]] = Counter()
    near = points[crossing.rows]
    for start in near[:: max(1, len(near) // PROBES)]:
        place, tangent = centred(near, start, crossing.dim, crossing.width)
        halves = _halves(points, labels, place, tangent, crossing.width)
        votes.update(_pairs(halves))
    return votes


def _halves(points: Tensor, labels: Tensor, place: Tensor, tangent: Tensor, width: float) -> list[tuple[int, Tensor]]:
    """Pieces and outward directions (D,) of the half-sheets around a place."""
    rows = (((points - place).norm(dim=1) < AROUND * width) & (labels >= 0)).nonzero().squeeze(1)
    if len(rows) < LEAST:
        return []
    found = _pieces(points[rows], STEP * width)
    halves = []
    for part in range(int(found.max()) + 1):
        own = rows[found == part]
        if len(own) >= LEAST:
            mean = (points[own] - place).mean(0)
            outward = mean - tangent @ (tangent.T @ mean)
            halves.append((int(labels[own].mode().values), outward / outward.norm().clamp_min(1e-300)))
    return halves


def _pairs(halves: list[tuple[int, Tensor]]) -> list[tuple[int, int]]:
    left, pairs = list(range(len(halves))), []
    while len(left) > 1:
        i, j = min(itertools.combinations(left, 2), key=lambda pair: float(halves[pair[0]][1] @ halves[pair[1]][1]))
        pairs.append((min(halves[i][0], halves[j][0]), max(halves[i][0], halves[j][0])))
        left = [k for k in left if k not in (i, j)]
    return pairs


def _favourite(votes: Counter[tuple[int, int]], piece: int) -> list[tuple[int, int]]:
    """The pair of a piece that most places voted for; none where it does not come near."""
    own = [(count, pair) for pair, count in votes.items() if piece in pair]
    return [max(own)[1]] if own else []


def _completed(points: Tensor, members: Tensor, dim: int, width: float) -> Tensor:
    """Points of no sheet go to the one whose continuation meets them best, and to all that pass within CLOSE w."""
    rows = (~members.any(1)).nonzero().squeeze(1)
    if not len(rows):
        return members
    off = torch.stack([_off(points, members[:, s], rows, dim) for s in range(members.shape[1])], 1)
    members = members.clone()
    members[rows] = (off <= off.amin(1, keepdim=True)) | (off < CLOSE * width)
    return members


def _off(points: Tensor, on: Tensor, rows: Tensor, dim: int) -> Tensor:
    """Distance (r,) of points to the quadratic continuation of a sheet."""
    own = points[on]
    indices = nearest(own, min(4 * terms(dim), len(own)), points[rows])[1]
    return (points[rows] - local_fit(own, points[rows], indices, dim).centre).norm(dim=1)
