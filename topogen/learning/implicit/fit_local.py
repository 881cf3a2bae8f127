"""Local polynomial constraints from points: a net of sheets, their bandwidth and degree by held-out points, supports that keep sheets apart.

1. A tenth of the points is held out. Near these, and for each degree, the neighbourhood size is found from place to place (`bandwidth`); the degree whose
   sheets have the smaller mean square height under the held-out points is taken.
2. Sheets of that degree are fitted around the centres of a farthest-point net (`local_sheets`): one per four points, fewer where noise asks for wide
   neighbourhoods, so that a support is no wider than half of the smallest of them.
3. Each support reaches its nearest other centres along the sheet, and half the way to what lies off the sheet across it.

Fan, Gijbels (1996), Local polynomial modelling and its applications; Aizenbud, Sober (2021), Non-parametric estimation of manifolds from noisy data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.dimension import AffineHull
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.geometry.clouds.neighbours import Tree, nearest, pairs_within
from topogen.learning.implicit.bandwidth import FLAT, Bandwidth, choose_bandwidth, heights
from topogen.learning.implicit.local_sheets import LocalSheets, coefficients, fit_sheets, joined
from topogen.manifolds.implicit.local_constraint import LocalPolynomialConstraint

__all__ = ["HIGHEST_DIM", "FittedSheets", "fit_local_constraint"]

HIGHEST_DIM = 4
# Sheets that hold a point, on average, by dimension: enough to blend, few enough to be fast.
ACTIVE = {1: 4, 2: 8, 3: 14, 4: 24}
PER_SHEET, MOST_SHEETS, NARROW = 4, 20_000, 0.5
DEGREES = (3, 2)
HELD_OUT, MOST_HELD_OUT = 0.1, 400
LEANING = 0.75
SHARE_OF_GAP = 0.5
ROUGH = 5.0


@dataclass(frozen=True)
class FittedSheets:
    """The `constraint`, and as chosen: `neighbours` k (median) and `degree` p."""

    constraint: LocalPolynomialConstraint
    neighbours: int
    degree: int


@torch.no_grad()
def fit_local_constraint(points: Tensor, dim: int, *, hull: AffineHull | None = None, generator: torch.Generator | None = None) -> FittedSheets:
    """The blend of local polynomial sheets of dimension `dim` behind distinct points (n, D), in coordinates of their affine `hull` (the whole space: None).

    Raises InvalidInputError above dimension 4 and for fewer points than a sheet is fitted to.
    """
    if not 0 < dim <= HIGHEST_DIM:
        raise InvalidInputError(f"dim: local polynomials are fitted up to dimension {HIGHEST_DIM}, found {dim}; use constraint='neural'")
    least = _least(dim, min(DEGREES))
    if len(points) <= 2 * least:
        raise InvalidInputError(f"points: {len(points)} are too few for polynomials of dimension {dim}, at least {2 * least + 1}; use constraint='neural'")
    points = points.detach().double()
    inside = points if hull is None else hull.coordinates(points)
    count = min(max(len(points) // PER_SHEET, min(len(points), 2 * ACTIVE[dim])), MOST_SHEETS)
    bandwidth, degree = _chosen(inside, dim, count, generator)
    count = min(count, _enough(len(points), dim, bandwidth))
    centre = inside[farthest_points(inside, count).indices]
    sheets = _fitted(inside, centre, dim, degree, bandwidth)
    sheets = _trusted(sheets)
    placed = {} if hull is None else {"mean": hull.mean, "hull": hull.basis}
    return FittedSheets(LocalPolynomialConstraint(sheets.charts, *_supports(sheets), **placed), int(sheets.count.median()), degree)


def _least(dim: int, degree: int) -> int:
    """Fewest neighbours that a sheet is fitted to: twice its coefficients."""
    return 2 * coefficients(dim, degree)


def _enough(n: int, dim: int, bandwidth: Bandwidth) -> int:
    """As many sheets as leave supports no wider than `NARROW` times the smallest neighbourhoods they are fitted to: more would say the same many times."""
    smallest = bandwidth.ladder[int(bandwidth.at(bandwidth.anchors).min())]
    return max(2 * ACTIVE[dim], math.ceil(ACTIVE[dim] * n / (smallest * NARROW**dim)))


def _chosen(points: Tensor, dim: int, count: int, generator: torch.Generator | None) -> tuple[Bandwidth, int]:
    """Neighbours from place to place and the degree with the smaller mean square height of held-out points."""
    apart = min(MOST_HELD_OUT, max(1, round(HELD_OUT * len(points))))
    order = torch.randperm(len(points), generator=generator)
    held, others = points[order[:apart]], points[order[apart:]]
    tree = Tree(others)
    anchors = others[tree.nearest(held, 1)[1][:, 0]]
    found: list[tuple[float, int, Bandwidth]] = []
    for degree in DEGREES:
        first = max(_least(dim, degree), ACTIVE[dim] * len(points) // (2 * count))
        bandwidth = choose_bandwidth(others, anchors, dim, degree, first, tree=tree)
        sheets = _fitted(others, anchors, dim, degree, bandwidth, tree)
        found.append((float(heights(sheets, held).square().sum(1).mean()), degree, bandwidth))
    _, degree, bandwidth = min(found, key=lambda entry: entry[0])
    return bandwidth, degree


def _fitted(points: Tensor, centre: Tensor, dim: int, degree: int, bandwidth: Bandwidth, tree: Tree | None = None) -> LocalSheets:
    """Sheets around centres (K, h), each over as many neighbours as the bandwidth says there."""
    tree, step = Tree(points) if tree is None else tree, bandwidth.at(centre)
    groups = [(step == number).nonzero().squeeze(1) for number in range(len(bandwidth.ladder))]
    first = bandwidth.ladder[0]
    parts = [
        fit_sheets(points, centre[rows], dim, k, degree, base=first, noise=bandwidth.sigma, tree=tree)
        for rows, k in zip(groups, bandwidth.ladder, strict=True)
        if len(rows)
    ]
    return _mended(points, joined(parts).subset(torch.argsort(torch.cat(groups))), centre, degree, bandwidth.sigma, tree)


def _mended(points: Tensor, sheets: LocalSheets, centre: Tensor, degree: int, noise: float, tree: Tree) -> LocalSheets:
    """Rough sheets, most often across two sheets of M, fitted again to more points, among which two sheets tell themselves apart; kept where smoother."""
    rough = _rough(sheets).nonzero().squeeze(1)
    for larger in (2, 4):
        if not len(rough):
            break
        k = min(larger * int(sheets.count.median()), len(points))
        again = fit_sheets(points, centre[rough], sheets.charts.dim, k, degree, noise=noise, tree=tree)
        better = again.spread < 0.5 * sheets.spread[rough]
        if bool(better.any()):
            sheets = sheets.replaced(rough[better], again.subset(better.nonzero().squeeze(1)))
        rough = rough[~better]
    return sheets


def _rough(sheets: LocalSheets) -> Tensor:
    return (sheets.spread > FLAT * sheets.charts.radius) & (sheets.spread > ROUGH * sheets.spread.median())


def _trusted(sheets: LocalSheets) -> LocalSheets:
    """Without the sheets beside their points (strays), and without rough ones whose centre lies in the support of another."""
    beside, rough = sheets.lean >= LEANING, _rough(sheets)
    smooth = (~beside & ~rough).nonzero().squeeze(1)
    if not len(smooth):
        return sheets
    held = torch.zeros_like(beside)
    held[pairs_within(sheets.charts.centre, sheets.charts.centre[smooth], _supports(sheets)[0][smooth])[0]] = True
    return sheets.subset((~beside & ~(rough & held)).nonzero().squeeze(1))


def _supports(sheets: LocalSheets) -> tuple[Tensor, Tensor]:
    """R (K,), the distance of the `ACTIVE`-th centre, and H (K,), at most half the height of what is off the sheet."""
    centre = sheets.charts.centre
    wide = nearest(centre, min(ACTIVE[sheets.charts.dim], len(centre) - 1))[0][:, -1]
    return wide, torch.minimum(wide, SHARE_OF_GAP * sheets.gap)
