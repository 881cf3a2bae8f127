"""Noisy points moved onto the sheets they came from, before anything is learned from them.

Every point goes to the foot of a quadratic sheet of dimension d fitted to its k nearest neighbours (`neighbours.local_fit`), with k the smallest
neighbourhood that is wider than the noise. A quadratic sheet has no curvature bias to second order, where averaging at noise sigma moves points inwards by
sigma^2 |H| / 2. Levin (1998), The approximation power of moving least-squares; Alexa et al. (2003), Computing and rendering point set surfaces.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.geometry.neighbours import local_fit, nearest

__all__ = ["onto_sheets"]

_CHUNK = 1000


def onto_sheets(points: Tensor, dim: int, k: int) -> Tensor:
    """Points (n, D) moved to the centres of quadratic sheets of dimension `dim` fitted to `k` neighbours and themselves."""
    others = nearest(points, min(k, len(points) - 1))[1]
    own = torch.arange(len(points), device=points.device).unsqueeze(1)
    indices = torch.cat([own, others], 1)
    parts = zip(points.split(_CHUNK), indices.split(_CHUNK), strict=True)
    return torch.cat([local_fit(points, queries, near, dim).centre for queries, near in parts])
