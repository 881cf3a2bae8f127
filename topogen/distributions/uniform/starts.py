"""Points on a manifold to start from: those it knows, else what can be found from its constraint and its unit of length alone."""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.errors import ProjectionError
from topogen.manifolds.base import Manifold

__all__ = ["random_starts"]

STARTS = 4000
ROUNDS = 3


def random_starts(manifold: Manifold, generator: torch.Generator) -> Tensor:
    """Points (n, D) float64 of M: those it knows, or what uniform starts project to.

    Starts fill the box of half-width 3 scale around 0, then twice the box of what was found enlarged by a fifth on each side.
    A zero set that runs out of the first box is cut there. Raises ProjectionError when nothing converges.
    """
    known = manifold.known_points()
    if known is not None:
        return known.detach().double()
    quick = manifold.with_fast_projection()
    high = torch.full((manifold.ambient_dim,), 3 * manifold.scale, dtype=torch.float64)
    low, wall = -high, 2 * high
    for _ in range(ROUNDS):
        start = low + (high - low) * torch.rand(STARTS, manifold.ambient_dim, dtype=torch.float64, generator=generator)
        found = quick.project(start)
        kept = found.points[found.converged & (found.points.abs() <= wall).all(1)]
        if not len(kept):
            raise ProjectionError(
                f"points: none of {STARTS} random starts within {float(high.max()):.3g} of 0 converged onto {manifold!r}; pass points near it"
            )
        margin = 0.2 * (kept.amax(0) - kept.amin(0)) + 1e-3 * manifold.scale
        low, high = kept.amin(0) - margin, kept.amax(0) + margin
    return kept
