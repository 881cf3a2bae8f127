"""Local homology of a cloud: what the set looks like seen from one of its points.

The points between radii r and R of p, moved onto the unit sphere round it, sample the link of p. By excision and the cone structure of a tame set

    H_k(X, X - p)  =  reduced H_(k-1)(link of p) ,

and the link of a point of a d-manifold is a sphere of dimension d - 1, in its boundary a ball. Two sheets that cross in a curve have as link two circles that
meet in two points, Betti numbers (1, 3); two curves that cross in a point, four points, (4).
The link is a set in the unit sphere, so its scale is an angle: classes of the Rips complex that live from .2 to .35. That
is for dimensions 1 and 2; a link of dimension 2 needs more points than a neighbourhood has, and no class lives so long.
Bendich, Wang, Mukherjee (2012), Local homology transfer and stratification learning; Stolz, Tanner, Harrington, Nanda (2020), Geometric anomaly
detection in data.
"""

from __future__ import annotations

from torch import Tensor

from topogen.errors import BudgetExceeded
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.topology.persistence.persistence import persistence

__all__ = ["link_betti", "sphere_betti"]

NEAR, FAR, END = 0.2, 0.35, 0.5
INNER, OUTER = 1.5, 3.0
LANDMARKS, LEAST = 150, 6


def link_betti(points: Tensor, centre: Tensor, width: float, dim: int) -> tuple[int, ...] | None:
    """Betti numbers over Z/2 of the link of a centre (D,) in points (n, D) of dimension `dim`, degrees 0 to dim - 1.

    Read off the points between 1.5 and 3 times `width` (data units). None where these are too few to tell.
    """
    offset = points - centre
    distance = offset.norm(dim=1)
    ring = (distance > INNER * width) & (distance < OUTER * width)
    if int(ring.sum()) < LEAST:
        return None
    link = farthest_points(offset[ring] / distance[ring].unsqueeze(1), LANDMARKS)
    if len(link.indices) < 2:
        return None
    near = max(NEAR, link.radius)
    try:
        diagram = persistence(link.points, max_degree=dim - 1, fields=(2,), engine="rips", threshold=END)[2]
    except BudgetExceeded:
        return None
    return tuple(diagram.spanning(k, near, max(FAR, 1.5 * near)) for k in range(dim)) if 1.5 * near < END else None


def sphere_betti(dim: int) -> tuple[int, ...]:
    """Betti numbers of the sphere of dimension dim - 1, the link in a manifold of dimension `dim`, degrees 0 to dim - 1."""
    return (2,) if dim == 1 else (1, *(0,) * (dim - 2), 1)
