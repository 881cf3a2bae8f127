"""Exact uniform samples and the volume of an implicit manifold from uniform points of a tube around it.

For delta below the reach every y with dist(y, M) < delta is y = z + nu with one closest point z = pi(y) and nu normal at z, and the map (z, nu) -> y
has Jacobian det(1 + S_nu(z)), S_nu the shape operator. So for y uniform on a set U that contains the tube

    int_M f dsigma = vol(U) / V_r(delta) E[ f(pi(y)) 1{|y - pi(y)| < delta} / det(1 + S) ] ,   r = D - d .

f = 1 is the volume; keeping pi(y) with probability proportional to 1 / det(1 + S) leaves independent points that are exactly uniform on M.
To first order in delta this is the co-area weight det(J J^t)^(1/2) of the band {|F| < delta}; here nothing is expanded.
U is the union of balls of `cover`. Whether delta is below the reach is tested by going back: z + nu, nu uniform in the normal ball, must project to z
and lie in U. The share that does not bounds the relative bias of the volume and enters its standard error.

Weyl (1939), On the volume of tubes; Federer (1959), Curvature measures.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.known_points import known_points, reach_around
from topogen.distributions.uniform.rejection import BATCH, Mass, rejection_sample
from topogen.distributions.uniform.tube_cover import Balls, grow_net
from topogen.geometry.balls import ball_points, ball_volume
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.manifolds.implicit.valid_zeros import full_residual_bound, is_valid_zero

__all__ = ["Tube", "tube_around"]

REACH_SHARE = 0.4
IRREVERSIBLE = 2e-3
SAME_BRANCH = 0.03
HALVINGS = 6
PROBES = 2000
BALL_PROPOSALS = 400_000


@final
@dataclass(frozen=True)
class Tube:
    """The tube of `radius` delta around the part of M that `balls` reach.

    `bound`: full residual up to which a zero belongs to M; `irreversible`: share of z + nu that did not lead back to z; `heaviest`: the largest
    weight 1 / det(1 + S) expected, by which rejection is scaled.
    """

    manifold: ImplicitManifold
    radius: float
    balls: Balls
    bound: float
    irreversible: float
    heaviest: float

    def sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """n independent uniform points (n, D) float64 of M. Raises ProjectionError when no point can be found."""
        failure = f"points near {self.manifold!r} projected into its tube of radius {self.radius:.3g}"
        draw = lambda k, source: self.hits(self.balls.uniform(k, source))  # noqa: E731
        return rejection_sample(draw, n, self.heaviest, self.balls.anchors[:0], generator, rate=0.1, failure=failure)

    def hits(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Closest points z (k, D) of those y (n, D) that lie in the tube, and their weights 1 / det(1 + S) (k,)."""
        found = self.manifold.project(y)
        inside = found.converged & ((y - found.points).norm(dim=1) < self.radius)
        inside[inside.clone()] = is_valid_zero(self.manifold, found.points[inside], self.bound)
        y, z = y[inside], found.points[inside]
        parts = [self._weight(a, b) for a, b in zip(torch.split(y, 4096), torch.split(z, 4096), strict=True)]
        weight = torch.cat(parts) if parts else y.new_zeros(0)
        usable = weight > 0
        return z[usable], weight[usable]

    def volume(self, generator: torch.Generator, accuracy: float = 5e-3, most: int = 60_000) -> Estimate:
        """Volume of M, from as many points of U as a relative standard error of `accuracy` takes, `most` at the most."""
        union, union_error = self.balls.volume(BALL_PROPOSALS, generator)
        weights, mass = torch.zeros(0, dtype=torch.float64), Mass(self.heaviest)
        while True:
            y = self.balls.uniform(BATCH, generator)
            _, weight = self.hits(y)
            mass.add(weight)
            weights = torch.cat([weights, weight, y.new_zeros(len(y) - len(weight))])
            mean = float(weights.mean())
            error = float(weights.std()) / max(mean, 1e-300) / len(weights) ** 0.5
            if len(weights) >= most or error <= accuracy:
                break
        value = union * mean / ball_volume(self.manifold.codim, self.radius)
        relative = (error**2 + union_error**2 + self.irreversible**2) ** 0.5
        return Estimate(value, value * relative, f"tube of radius {self.radius:.3g}, {100 * self.irreversible:.2g} % of it not reversible{mass.words()}")

    def _weight(self, y: Tensor, z: Tensor) -> Tensor:
        """1 / det(1 + S) (n,), 0 where 1 + S is not safely positive."""
        _, inverse, ok = self.manifold.closest_point_derivative(y, z)
        return torch.where(ok, torch.linalg.det(inverse), 0.0)


def tube_around(manifold: ImplicitManifold, points: Tensor, generator: torch.Generator) -> Tube:
    """The tube around the components of M that hold `points` (n, D) float64, points near M (they are projected).

    Its radius is .4 times the reach (its 2 % quantile), halved until fewer than .2 % of it is irreversible; what remains is reported.
    Raises ProjectionError when no point can be projected, InvalidInputError when M is unbounded or too large to cover.
    """
    exact = copy.copy(manifold)
    exact.closest = True
    known = known_points(manifold, points, generator)
    bound = full_residual_bound(manifold, known)
    radius = REACH_SHARE * reach_around(manifold, known)
    for halving in range(HALVINGS + 1):
        net, spacing = grow_net(manifold, known, 0.7 * radius, bound, generator)
        tube = Tube(exact, radius, Balls(net, 1.05 * (radius**2 + spacing**2) ** 0.5), bound, 0.0, 1.0)
        tube = _checked(tube, generator)
        if tube.irreversible <= IRREVERSIBLE or halving == HALVINGS:
            break
        radius /= 2
    return tube


def _checked(tube: Tube, generator: torch.Generator) -> Tube:
    """The tube with its reversal failures measured, its heaviest weight, and its balls enlarged until they hold every z + nu drawn.

    A point on another branch is about a radius away from z; foot points of overcomplete constraints may stop 1 % of it short, which is harmless.
    """
    z, weight = tube.hits(tube.balls.uniform(4 * PROBES, generator))
    if not len(z):
        return replace(tube, irreversible=1.0)
    y = z + tube.radius * _normal_ball(tube.manifold, z, generator)
    balls = tube.balls
    while not bool((balls.count(y) > 0).all()):
        balls = replace(balls, radius=1.1 * balls.radius)
    found = tube.manifold.project(y)
    back = found.converged & ((found.points - z).norm(dim=1) <= SAME_BRANCH * tube.radius)
    return replace(tube, balls=balls, irreversible=float((~back).double().mean()), heaviest=1.1 * float(weight.max()))


def _normal_ball(manifold: ImplicitManifold, z: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform vectors (n, D) in the unit balls of the normal spaces at z."""
    normal = manifold.normal_basis(z)
    drawn: Tensor = normal @ ball_points(len(z), manifold.codim, generator=generator).unsqueeze(-1)
    return drawn.squeeze(-1)
