"""Where a cloud of dimension d stops being a manifold: points where several sheets meet.

Around a regular point the k nearest neighbours lie on a quadratic sheet up to noise and third order; where sheets cross or branch they do not, however
small the neighbourhood. With s^2 the residual variance of the sheet per normal direction, s_0^2 its median over the cloud and rho the
radius of the neighbourhood, a point is singular when

    sqrt((D - d) (s^2 - s_0^2)) > .15 rho .

k is the smallest neighbourhood that is wide against the noise, sqrt(D - d) s_0 < .1 rho. On a smooth sheet the left side falls like rho^3, so finer
sampling clears a false alarm and keeps a true one; sheets that cross at an angle a leave about sin(a / 2) / 2 of rho. Creases and tips are not smooth
either, but are manifolds: balls there hold as many points as on the sheet around them or fewer, where two sheets cross nearly twice as many. Clusters
of singular points below 1.45 are dropped.
The crossings of cyclooctane's conformations were found by local homology in Stolz, Tanner, Harrington, Nanda (2020), Geometric anomaly detection in data.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import LocalFit, Tree, components, local_fit, nearest, terms

__all__ = ["SingularPoints", "singular_points"]

BENT, NOISY, CROWDED = 0.15, 0.1, 1.45
CORE = 2 / 3
MOST_NEIGHBOURS = 64


class SingularPoints(NamedTuple):
    """Labels (n,) int64 of the clusters of singular points, largest first, -1 at regular points; each point's sheet `residual` in units of its
    neighbourhood's radius (n,); the `crowding` (c,) of the clusters, points per ball over that of the regular points around: about the number of sheets;
    the median `radius` of neighbourhoods, the width to which clusters are known; `k`, 0 where noise hides everything."""

    labels: Tensor
    residual: Tensor
    crowding: Tensor
    radius: float
    k: int


def singular_points(points: Tensor, dim: int) -> SingularPoints:
    """Find where distinct points (n, D) do not sample a smooth manifold of dimension `dim`.

    Clusters of fewer than half the neighbourhood's points are left out. Sheets nearer to each other than the sampling resolves may be taken for crossing.
    Costs a k-nearest-neighbour search and n small least-squares fits for each k tried, 64 at most, and a count in balls.
    """
    fit, k = _narrowest(points, dim)
    codimension = points.shape[1] - dim
    if k == 0 or codimension < 1:
        return SingularPoints(torch.full((len(points),), -1), points.new_zeros(len(points)), points.new_zeros(0), 0.0, 0)
    excess = (fit.variance - fit.variance.median()).clamp_min(0)
    residual = (codimension * excess).sqrt() / fit.radius.clamp_min(torch.finfo(points.dtype).tiny)
    radius = float(fit.radius.median())
    labels = _clusters(points, residual > BENT, 1.5 * radius, k // 2)
    crowding = _crowding(points, labels, residual, radius)
    return SingularPoints(_kept(labels, crowding >= CROWDED), residual, crowding[crowding >= CROWDED], radius, k)


def _narrowest(points: Tensor, dim: int) -> tuple[LocalFit, int]:
    """Sheets through the smallest neighbourhoods that are wide against the noise, and their k; 0 where there are none."""
    k = 2 * terms(dim) + 4
    while True:
        k = min(k, len(points) - 1)
        own = torch.arange(len(points), device=points.device).unsqueeze(1)
        fit = local_fit(points, points, torch.cat([own, nearest(points, k)[1]], 1), dim)
        noise = ((points.shape[1] - dim) * fit.variance.median()).sqrt()
        if k >= 2 * terms(dim) and float(noise / fit.radius.median().clamp_min(1e-300)) < NOISY:
            return fit, k
        if 2 * k > min(MOST_NEIGHBOURS, len(points) // 8):
            return fit, 0
        k *= 2


def _clusters(points: Tensor, mask: Tensor, length: float, least: int) -> Tensor:
    """Labels (n,) of the pieces of `mask` that hang together by steps up to `length`, largest first; -1 elsewhere and for pieces below `least`."""
    labels = torch.full((len(points),), -1, device=points.device)
    rows = mask.nonzero().squeeze(1)
    if not len(rows):
        return labels
    _, found = components(len(rows), Tree(points[rows]).pairs(length))
    sizes = found.bincount()
    order = sizes.argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.where(sizes[order] >= least, torch.arange(len(order)), -1)
    labels[rows] = rank[found].to(points.device)
    return labels


def _crowding(points: Tensor, labels: Tensor, residual: Tensor, radius: float) -> Tensor:
    """Mean count (c,) within `radius` of the worst third of each cluster over that of the regular points two to five radii away (all, where none are)."""
    if not bool((labels >= 0).any()):
        return points.new_zeros(0)
    counts = Tree(points).count(points, radius).to(points)
    regular = labels < 0
    found = []
    for label in range(int(labels.max()) + 1):
        core = (labels == label) & (residual >= residual[labels == label].quantile(CORE))
        away = Tree(points[core]).nearest(points, 1)[0][:, 0]
        around = regular & (away > 2 * radius) & (away < 5 * radius)
        found.append(counts[core].mean() / counts[around if bool(around.any()) else regular].mean())
    return torch.stack(found)


def _kept(labels: Tensor, keep: Tensor) -> Tensor:
    """The labels with those not to `keep` (c,) made -1 and the others renumbered in order."""
    new = torch.where(keep, keep.cumsum(0) - 1, -1)
    return torch.cat([new, new.new_tensor([-1])])[labels]
