"""Noisy points moved onto the sheets they came from, before anything is learned from them.

Every point goes to the foot c of a quadratic sheet of dimension d fitted to its k nearest neighbours (`neighbours.local_fit`), with k the smallest
neighbourhood that is wider than the noise. Then the sheet is fitted again, to the k points that are nearest to c *along the tangent plane*: a ball
around c cuts deeper into the noise on one side of a curved sheet than on the other, a cylinder does not, and the inward bias of the first fit, of order
sigma^2 |H|, is gone.
Levin (1998), The approximation power of moving least-squares; Alexa et al. (2003), Computing and rendering point set surfaces.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import LocalFit, local_fit, nearest

__all__ = ["onto_sheets"]

_CHUNK, _ELEMENTS = 1000, 30_000_000
_BALL_TO_CYLINDER = 1.2  # more, and on a bent curve the cylinder picks up what has bent back over its plane


def onto_sheets(points: Tensor, dim: int, k: int, queries: Tensor | None = None) -> Tensor:
    """Distinct points (n, D), or those `queries` (q, D) of them, moved to the centres of quadratic sheets of dimension `dim` fitted to `k` neighbours and
    themselves."""
    queries = points if queries is None else queries
    first = _sheets(points, queries, nearest(points, min(k + 1, len(points)), queries)[1], dim)
    around = nearest(points, min(int(_BALL_TO_CYLINDER * k), len(points)), first.centre)[1]
    size = max(1, min(_CHUNK, _ELEMENTS // (around.shape[1] * points.shape[1])))
    parts = zip(first.centre.split(size), first.tangent.split(size), around.split(size), strict=True)
    within = torch.cat([_cylinder(points, k, *part) for part in parts])
    return _sheets(points, first.centre, within, dim).centre


def _sheets(points: Tensor, queries: Tensor, indices: Tensor, dim: int) -> LocalFit:
    parts = zip(queries.split(_CHUNK), indices.split(_CHUNK), strict=True)
    fits = [local_fit(points, asked, near, dim) for asked, near in parts]
    return LocalFit(*(torch.cat(column) for column in zip(*fits, strict=True)))


def _cylinder(points: Tensor, k: int, centre: Tensor, tangent: Tensor, around: Tensor) -> Tensor:
    """Of the neighbours `around` (q, m) of centres (q, D) the k nearest along the tangent planes (q, D, d)."""
    along = ((points[around] - centre.unsqueeze(1)) @ tangent).norm(dim=-1)
    return around.gather(1, along.topk(min(k, along.shape[1]), largest=False).indices)
