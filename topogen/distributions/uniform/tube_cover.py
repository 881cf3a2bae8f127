"""Anchors on a manifold whose balls cover a tube around it, and uniform points in the union of those balls.

A net of anchors a_1 .. a_n, every point of M within rho of one, is grown from known points like a flood over their connected components. The tube
{dist < delta} then lies in the union U of the balls of radius R ~ (delta^2 + rho^2)^(1/2). A uniform point of a uniformly chosen ball has density
q(y) = c(y) / (n V_D R^D), c(y) the number of anchors within R; keeping it with probability 1 / c(y) makes it uniform on U, and

    vol(U) = n V_D R^D E[1 / c(y)].

Karp, Luby, Madras (1989), Monte-Carlo approximation algorithms for enumeration problems (the union of sets).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.balls import ball_points, ball_volume, sphere_points
from topogen.geometry.clouds.neighbours import Tree
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.manifolds.implicit.valid_zeros import is_valid_zero

__all__ = ["Balls", "grow_net"]

LARGEST_NET = 8000
COARSENINGS, FILLED = 5, 0.8
RUNAWAY = 4.0


@dataclass(frozen=True)
class Balls:
    """The union U of the balls of `radius` around `anchors` (n, D), n >= 1."""

    anchors: Tensor
    radius: float

    def count(self, y: Tensor) -> Tensor:
        """Number c(y) (m,) of anchors within the radius of points (m, D)."""
        return Tree(self.anchors).count(y, self.radius).double()

    def propose(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """n points (n, D) of density q and their inverse counts 1 / c (n,)."""
        dim = self.anchors.shape[1]
        chosen = self.anchors[torch.randint(len(self.anchors), (n,), generator=generator)]
        y = chosen + ball_points(n, dim, radius=self.radius, generator=generator)
        return y, 1 / self.count(y).clamp_min(1)

    def uniform(self, n: int, generator: torch.Generator) -> Tensor:
        """Independent uniform points of U (m, D), what is left of n proposals."""
        y, inverse = self.propose(n, generator)
        return y[torch.rand(n, dtype=torch.float64, generator=generator) < inverse]

    def volume(self, n: int, generator: torch.Generator) -> tuple[float, float]:
        """vol(U) and its relative standard error, from n proposals."""
        _, inverse = self.propose(n, generator)
        mean = float(inverse.mean())
        total = len(self.anchors) * ball_volume(self.anchors.shape[1], self.radius)
        return total * mean, float(inverse.std()) / mean / n**0.5


def grow_net(manifold: ImplicitManifold, points: Tensor, spacing: float, bound: float, generator: torch.Generator) -> tuple[Tensor, float]:
    """A net of the components of M that hold `points` (n, D), and its spacing rho: `spacing`, or up to 2^(5/d) times that, if it took more than 8000 anchors.

    A flood that is given up costs as much as one that succeeds, so the coarsest net comes second, and says how coarse one has to be: the size of a net
    is as rho^-d. Raises InvalidInputError when M runs far out of the box of the points, as an unbounded zero set does, or takes more anchors than that.
    """
    quick = manifold.with_fast_projection()
    first = _flood(quick, points, spacing, bound, generator)
    if first is not None:
        return first, spacing
    coarsest = spacing * 2 ** (COARSENINGS / manifold.dim)
    net = _flood(quick, points, coarsest, bound, generator)
    if net is None:
        raise InvalidInputError(f"manifold: more than {LARGEST_NET} balls of radius {coarsest:.3g} are needed to cover it; pass points= and method='walk'")
    for doublings in range(min(int(math.log2(FILLED * LARGEST_NET / len(net))), COARSENINGS - 1), 0, -1):
        finer = coarsest * 2 ** (-doublings / manifold.dim)
        found = _flood(quick, points, finer, bound, generator)
        if found is not None:
            return found, finer
    return net, coarsest


def _flood(manifold: ImplicitManifold, points: Tensor, spacing: float, bound: float, generator: torch.Generator) -> Tensor | None:
    centre = points.mean(0)
    horizon = RUNAWAY * float((points - centre).norm(dim=1).max()) + 20 * spacing
    anchors = frontier = _thin(points, spacing)
    while len(frontier):
        if len(anchors) > LARGEST_NET:
            return None
        children = _children(manifold, frontier, spacing, bound, generator)
        if bool(((children - centre).norm(dim=1) > horizon).any()):
            raise InvalidInputError(f"manifold: it runs on past {horizon:.3g} from the middle of the known points; give it a gate, or points that span it")
        frontier = _thin(children[_distance(children, anchors) > spacing], spacing)
        anchors = torch.cat([anchors, frontier])
    return anchors


def _children(manifold: ImplicitManifold, parents: Tensor, spacing: float, bound: float, generator: torch.Generator) -> Tensor:
    """Points of M between one and two spacings from their parents, in random tangent directions."""
    each = 6 * manifold.dim
    tangent = manifold.tangent_basis(parents)
    u = sphere_points(len(parents), each, manifold.dim, generator=generator)
    length = spacing * (1 + torch.rand(len(parents), each, 1, dtype=torch.float64, generator=generator))
    start = parents.unsqueeze(1) + (u * length) @ tangent.mT
    found = manifold.project(start.reshape(-1, parents.shape[1]))
    near = (found.points.reshape(start.shape) - parents.unsqueeze(1)).norm(dim=-1).reshape(-1) < 3 * spacing
    keep = found.converged & near
    kept = found.points[keep]
    return kept[is_valid_zero(manifold, kept, bound)]


def _thin(points: Tensor, spacing: float) -> Tensor:
    """A subset that is `spacing` apart and within `spacing` of all points: each point in turn, unless an earlier one is near."""
    from scipy.spatial import KDTree

    if not len(points):
        return points
    tree = KDTree(points.numpy())
    free = torch.ones(len(points), dtype=torch.bool).numpy()
    chosen = []
    for i, point in enumerate(points.numpy()):
        if free[i]:
            chosen.append(i)
            free[tree.query_ball_point(point, spacing)] = False
    return points[chosen]


def _distance(points: Tensor, anchors: Tensor) -> Tensor:
    return Tree(anchors).nearest(points, 1)[0][:, 0]
