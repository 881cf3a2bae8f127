"""What known points say about an implicit manifold before anything is drawn: their projections, and the reach around them."""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.errors import ProjectionError
from topogen.geometry.clouds.point_clouds import even_rows
from topogen.geometry.clouds.reach import low_reach
from topogen.manifolds.implicit.implicit import ImplicitManifold

__all__ = ["known_points", "reach_around"]

KNOWN = 1500


def known_points(manifold: ImplicitManifold, points: Tensor, generator: torch.Generator) -> Tensor:
    """Points (k, D) of M that points (n, D) near it project to, in random order. Raises ProjectionError when there are none."""
    found = manifold.with_fast_projection().project(points)
    known = found.points[found.converged]
    if not len(known):
        raise ProjectionError(f"points: none of {len(points)} could be projected onto {manifold!r}; pass points near it")
    return known[torch.randperm(len(known), generator=generator)]


def reach_around(manifold: ImplicitManifold, known: Tensor) -> float:
    """Reach of M at known points and around each (two short tangent steps), so that even one known point shows its curvature; at most their extent."""
    some = known[:KNOWN]
    extent = float((known - known.mean(0)).norm(dim=1).max()) or manifold.scale
    near = [some]
    for share in (0.02, 0.1):
        tangent = manifold.tangent_basis(some[:500])
        found = manifold.with_fast_projection().project((some[:500].unsqueeze(1) + share * extent * tangent.mT).reshape(-1, some.shape[1]))
        near.append(found.points[found.converged])
    cloud = torch.cat(near)
    cloud = cloud[even_rows(len(cloud), 2 * KNOWN)]
    return low_reach(cloud, manifold.tangent_basis(cloud), extent)
