"""The least reach that a cloud shows: how sharply it bends, and how near to each other its sheets come, noise taken off.

    q(x) = min over |y - x| >= c of |y - x|^2 / (2 (dist(y - x, T_x) - 2 noise)+),

Federer's quotient with a plane T_x fitted to the neighbours of x in place of the tangent space. Up to the error of that plane the reach is at
most q: a cloud can show that a reach is small, and never that it is large, since what lies between the points stays unseen.
Federer (1959), Curvature measures, theorem 4.18; Aamari, Kim, Chazal, Michel, Rinaldo, Wasserman (2019), Estimating the reach of a manifold.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.topology.landmarks import neighbours

__all__ = ["seen_reach"]

PROBES, PARTNERS, MOST_NEIGHBOURS = 500, 5000, 200
SHARE = 0.01


def seen_reach(points: Tensor, dim: int, chord: float, noise: float = 0.0) -> float:
    """The 1 % quantile of q (data units) over up to 500 points of a cloud (n, D) of a set of dimension d < D; infinite where nothing bends.

    `chord` c is the least distance of pairs, and the radius of the patches (4 (d + 2) to 200 points) that planes are fitted to.
    """
    some, others = (points[torch.linspace(0, len(points) - 1, min(len(points), most)).long()] for most in (PROBES, PARTNERS))
    distance, rows = neighbours(some, points, min(len(points), MOST_NEIGHBOURS))
    within = int((distance <= chord).sum(1).median())
    patch = points[rows[:, : max(4 * (dim + 2), within)]]
    normal = torch.linalg.svd(patch - patch.mean(1, keepdim=True), full_matrices=True)[2][:, dim:].mT
    size = max(1, 4_000_000 // max(others.numel(), 1))
    parts = zip(torch.split(some, size), torch.split(normal, size), strict=True)
    return float(torch.cat([_least_quotient(x, off, others, chord, noise) for x, off in parts]).quantile(SHARE, interpolation="lower"))


def _least_quotient(x: Tensor, normal: Tensor, points: Tensor, chord: float, noise: float) -> Tensor:
    between = points.unsqueeze(0) - x.unsqueeze(1)
    length, off = between.norm(dim=-1), (between @ normal).norm(dim=-1) - 2 * noise
    quotient: Tensor = (length.square() / (2 * off.clamp_min(1e-300))).masked_fill((off <= 0) | (length < chord), torch.inf).amin(1)
    return quotient
