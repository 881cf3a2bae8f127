"""How far a manifold can be thickened: Federer's reach at points of M with their exact tangents.

    reach(x) = inf_y |y - x|^2 / (2 dist(y - x, T_xM))

Below it every point has one closest point on M. Taken over a sample it sees curvature (near pairs) and sheets that come close (far pairs).
Federer (1959), Curvature measures, theorem 4.18.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.geometry.frames import complement

__all__ = ["ball_volume", "low_reach", "reach_at"]


def reach_at(points: Tensor, tangent: Tensor, *, roundoff: float = 1e-7) -> Tensor:
    """Federer's quotient (n,) at points (n, D) of M with bases (n, D, d), the infimum taken over the same points.

    Pairs whose normal distance is below `roundoff` times the cloud's extent are left out; infinite where M is flat.
    """
    extent = float((points - points.mean(0)).norm(dim=1).max()) if len(points) else 0.0
    size = max(1, 4_000_000 // max(points.numel(), 1))
    parts = zip(torch.split(points, size), torch.split(complement(tangent), size), strict=True)
    return torch.cat([_quotients(x, normal, points, roundoff * extent) for x, normal in parts])


def low_reach(points: Tensor, tangent: Tensor) -> float:
    """The 2 % quantile of the reach at points (n, D) of M with bases (n, D, d), at most their extent; infinite for a single flat point."""
    extent = float((points - points.mean(0)).norm(dim=1).max()) or torch.inf
    return min(float(reach_at(points, tangent).quantile(0.02)), extent)


def ball_volume(dim: int, radius: float = 1.0) -> float:
    """Volume of the `dim`-ball."""
    half = torch.tensor(dim / 2, dtype=torch.float64)
    return float(torch.pi**half / torch.exp(torch.lgamma(half + 1))) * radius**dim


def _quotients(x: Tensor, normal: Tensor, points: Tensor, least: float) -> Tensor:
    chord = points.unsqueeze(0) - x.unsqueeze(1)
    off = (chord @ normal).norm(dim=-1)
    quotient = chord.square().sum(-1) / (2 * off.clamp_min(1e-300))
    least_of_each: Tensor = quotient.masked_fill(off <= least, torch.inf).amin(1)
    return least_of_each
