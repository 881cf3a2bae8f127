"""Are the points an independent draw? Lattices, thinned meshes and trajectories are not, and no confidence of a draw holds for them.

*Spacing.* For points drawn independently from a smooth density on a set of dimension d let r_1 < r_2 be the distances to the two nearest neighbours. Then
P(r_2 / r_1 <= 1 + s) = 1 - (1 + s)^(-d), which is at most p = 1 - (1 + s)^(-D) in R^D whatever the set and the noise. s = .3 / D makes p about a quarter. On
a lattice the two neighbours are equally far, and nearly so in whatever is spread out evenly. Points are called dependent where the share of such points exceeds
p by five standard deviations of n / 4 independent counts (neighbours share their ratios).

*Order.* Rows that are drawn independently may be exchanged: row i + 1 is among the hundredth of the points that is nearest to row i once in a hundred
times, k times where the rows of k distant components follow each other. Along a trajectory it nearly always is. Rows are called consecutive above a quarter. An
independent draw that was sorted along a curve looks the same; shuffled, it does not.

Where both say nothing, nothing is shown: a shuffled trajectory that has filled its set looks like a draw.
Facco, d'Errico, Rodriguez, Laio (2017), Estimating the intrinsic dimension of datasets by a minimal neighborhood information.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.clouds.point_clouds import distinct_rows, even_rows

__all__ = ["Dependence", "dependence"]

STEP, SURE, SHARED = 0.3, 5.0, 4
MOST, MOST_PAIRS = 20_000, 400
NEAR, OFTEN = 0.01, 0.25
LEAST = 50


@dataclass(frozen=True)
class Dependence:
    """The share `even` of `n` points whose two nearest neighbours are about equally far, at most `expected` of an independent draw, and the share
    `consecutive` of rows that are followed by one of the hundredth of the points nearest to them."""

    even: float
    expected: float
    consecutive: float
    n: int

    @property
    def found(self) -> bool:
        """Whether the points are no independent draw."""
        return self.evenly_spaced or self.ordered

    @property
    def ordered(self) -> bool:
        """Whether the rows are in order along a trajectory, or were sorted along a curve."""
        return self.consecutive > OFTEN

    @property
    def evenly_spaced(self) -> bool:
        """Whether the points lie more evenly than an independent draw can."""
        return self.even > self.expected + SURE * math.sqrt(self.expected * (1 - self.expected) * SHARED / self.n)

    def to_text(self) -> str:
        """In one line; empty where nothing speaks against an independent draw."""
        if self.evenly_spaced:
            how = f"{self.even:.0%} have their two nearest neighbours equally far, of independent ones {self.expected:.0%} at most"
            return f"the points are no independent draw but evenly spaced (a lattice, a mesh): {how}"
        if self.ordered:
            how = f"{self.consecutive:.0%} of the rows are followed by a point of their near surroundings; shuffle them if they were only sorted"
            return f"the points are no independent draw but a trajectory: {how}"
        return ""


def dependence(points: Tensor) -> Dependence:
    """Look at spacing and order of points (n, D), rows in the order in which they came; of fewer than 50 distinct ones nothing is said."""
    points = points.detach().to(device="cpu", dtype=torch.float64)
    cloud = distinct_rows(points)
    if len(cloud) < LEAST:
        return Dependence(0.0, 1.0, 0.0, len(cloud))
    some = cloud[even_rows(len(cloud), MOST)]
    distance = nearest(cloud, 3, some)[0]
    step = STEP / points.shape[1]
    even = float((distance[:, 2] <= (1 + step) * distance[:, 1]).double().mean())
    return Dependence(even, 1 - (1 + step) ** -points.shape[1], _consecutive(points), len(some))


def _consecutive(points: Tensor) -> float:
    """The share of up to 400 rows, two apart at least, that are followed by one of their nearest hundredth."""
    rows = 2 * even_rows(len(points) // 2, MOST_PAIRS)
    following = (points[rows + 1] - points[rows]).norm(dim=1)
    every = points[even_rows(len(points), MOST)]
    nearer = (torch.cdist(points[rows], every) < following.unsqueeze(1)).double().mean(1)
    return float((nearer <= NEAR).double().mean())
