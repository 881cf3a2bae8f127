"""How far a manifold can be thickened: Federer's reach at points of M with their exact tangents.

    reach(x) = inf_y |y - x|^2 / (2 dist(y - x, T_xM))

Below it every point has one closest point on M. Taken over a sample it sees curvature (near pairs) and sheets that come close (far pairs).
Federer (1959), Curvature measures, theorem 4.18.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.geometry.frames import complement

__all__ = ["low_reach", "reach_at", "reach_from"]


def reach_from(x: Tensor, tangent: Tensor, points: Tensor, *, roundoff: float = 1e-7) -> Tensor:
    """Federer's quotient (n,) at points x (n, D) of M with bases (n, D, d), the infimum taken over other points (m, D) of M; see `reach_at`."""
    least = roundoff * _extent(points)
    size = max(1, 4_000_000 // max(points.numel(), 1))
    parts = zip(torch.split(x, size), torch.split(complement(tangent), size), strict=True)
    return torch.cat([_least_quotients(at, normal, points, least) for at, normal in parts])


def reach_at(points: Tensor, tangent: Tensor, *, roundoff: float = 1e-7) -> Tensor:
    """Federer's quotient (n,) at points (n, D) of M with bases (n, D, d), the infimum taken over the same points.

    Pairs whose normal distance is below `roundoff` times the cloud's extent are left out; infinite where M is flat.
    """
    return reach_from(points, tangent, points, roundoff=roundoff) if len(points) else points.new_zeros(0)


def low_reach(points: Tensor, tangent: Tensor, extent: float | None = None) -> float:
    """The 2 % quantile of `reach_at` at points (n, D) of M with bases (n, D, d), which no single bad tangent decides, or `extent` if that is less.

    `extent`: the largest reach to believe in (None: the largest distance of a point from the mean; infinite where that is 0).
    """
    quantile = float(reach_at(points, tangent).quantile(0.02).nan_to_num(nan=torch.inf, posinf=torch.inf))
    return min(quantile, extent or _extent(points) or torch.inf)


def _extent(points: Tensor) -> float:
    return float((points - points.mean(0)).norm(dim=1).max())


def _least_quotients(x: Tensor, normal: Tensor, points: Tensor, least: float) -> Tensor:
    chord = points.unsqueeze(0) - x.unsqueeze(1)
    off = (chord @ normal).norm(dim=-1)
    quotient = chord.square().sum(-1) / (2 * off.clamp_min(1e-300))
    least_of_each: Tensor = quotient.masked_fill(off <= least, torch.inf).amin(1)
    return least_of_each
