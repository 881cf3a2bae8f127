"""The bandwidth of local polynomials, from place to place: as many neighbours as noise asks for and curvature allows.

At anchors, points of the cloud, sheets of growing k are fitted. With f_k their height at the anchor, of variance sigma^2 l_k (l_k the leverage), a k is taken
to be too large once it contradicts a smaller one (Lepski's rule):

    |f_k - f_j|^2  >  tau^2 r sigma^2 l_j      for some j < k in the ladder, r the number of normals.

log k is then averaged over neighbouring anchors. Clean data contradict at once and keep the smallest k, noisy ones late. sigma is the spread about the
smallest sheets.
Lepski (1990), On a problem of adaptive estimation in Gaussian white noise; Goldenshluger, Nemirovski (1997), On spatially adaptive estimation of
nonparametric regression.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import Tree
from topogen.geometry.frames import apply
from topogen.learning.implicit.local_sheets import LocalSheets, fit_sheets

__all__ = ["FLAT", "Bandwidth", "choose_bandwidth", "heights"]

TAU = 1.0
GROWTH = 1.5
FLAT, ROUGHER = 0.1, 1.5
SMOOTHED = 12
LARGEST_SHARE = 1 / 3


@dataclass(frozen=True)
class Bandwidth:
    """At `anchors` (m, h) the number `step` (m,) of an entry of the `ladder`, the numbers of neighbours k; `sigma`: the spread about the smallest sheets."""

    anchors: Tensor
    step: Tensor
    ladder: tuple[int, ...]
    sigma: float

    def at(self, x: Tensor) -> Tensor:
        """Step of the ladder (n,) int64 at points x (n, h): the mean of the anchors around, rounded."""
        index = Tree(self.anchors).nearest(x, min(SMOOTHED, len(self.anchors)))[1]
        return self.step[index].double().mean(1).round().long()


@torch.no_grad()
def choose_bandwidth(points: Tensor, anchors: Tensor, dim: int, degree: int, first: int, *, tree: Tree | None = None) -> Bandwidth:
    """Lepski's rule at anchors (m, h) among points (n, h), from `first` neighbours up to a third of the points."""
    tree = Tree(points) if tree is None else tree
    ladder, sheets = _first_flat(points, anchors, dim, degree, first, tree)
    sigma = float(sheets[0].spread.median())
    step, going = torch.zeros(len(anchors), dtype=torch.int64), torch.ones(len(anchors), dtype=torch.bool)
    while bool(going.any()) and int(GROWTH * ladder[-1]) + 1 <= LARGEST_SHARE * len(points):
        ladder.append(int(GROWTH * ladder[-1]) + 1)
        rows = going.nonzero().squeeze(1)
        new = fit_sheets(points, anchors[rows], dim, ladder[-1], degree, base=ladder[0], noise=sigma, tree=tree)
        sheets.append(sheets[-1].replaced(rows, new))
        agrees = torch.stack([_agree(new, old.subset(rows), sigma) for old in sheets[:-1]]).all(0)
        going = going.index_put((rows,), agrees)
        step[going] = len(ladder) - 1
    return Bandwidth(anchors, step, tuple(ladder), sigma)


def _first_flat(points: Tensor, anchors: Tensor, dim: int, degree: int, k: int, tree: Tree) -> tuple[list[int], list[LocalSheets]]:
    """The first k whose sheets are ten times wider than high, or else the flattest: below the width of the noise sheets stand in its directions, and agree."""
    k = min(k, len(points))
    flattest = (_flatness(sheets := fit_sheets(points, anchors, dim, k, degree, tree=tree)), k, sheets)
    height = flattest[0]
    while FLAT < height <= ROUGHER * flattest[0] and (k := int(GROWTH * k) + 1) <= LARGEST_SHARE * len(points):
        sheets = fit_sheets(points, anchors, dim, k, degree, tree=tree)
        height = _flatness(sheets)
        if height < flattest[0]:
            flattest = (height, k, sheets)
    return [flattest[1]], [flattest[2]]


def _flatness(sheets: LocalSheets) -> float:
    return float((sheets.spread / sheets.charts.radius).median())


def _agree(new: LocalSheets, old: LocalSheets, sigma: float) -> Tensor:
    off = heights(old, new.charts.centre).square().sum(1)
    normals = new.charts.ambient_dim - new.charts.dim
    return off <= TAU**2 * normals * sigma**2 * old.leverage


def heights(sheets: LocalSheets, x: Tensor) -> Tensor:
    """Heights (K, r) of one point of x (K, h) over each sheet."""
    charts, ids = sheets.charts, torch.arange(len(x))
    return apply(charts.normal.mT, x - charts.decode(ids, charts.encode(ids, x)))
