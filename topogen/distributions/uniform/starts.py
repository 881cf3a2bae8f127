"""Points on an implicit manifold of which nothing is known but its constraint and its unit of length."""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.errors import ProjectionError
from topogen.manifolds.implicit.implicit import ImplicitManifold

__all__ = ["random_starts"]

STARTS = 4000
ROUNDS = 3


def random_starts(manifold: ImplicitManifold, generator: torch.Generator) -> Tensor:
    """Points (n, D) float64 of M: the anchors of its gate, or what uniform starts project to.

    Starts fill the box of half-width 3 scale around 0, then twice the box of what was found enlarged by a fifth on each side.
    A zero set that runs out of the first box is cut there. Raises ProjectionError when nothing converges.
    """
    if manifold.gate is not None:
        return manifold.gate.get_buffer("anchors")
    quick = manifold.without_foot_points()
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
