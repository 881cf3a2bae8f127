"""Exact, rejection-free jumps between the sheets and components of a manifold: a Gibbs draw among the points of M in a random plane.

Draw Q (D, r) with r = D - d orthonormal columns from a law that does not know the point x of M, and put the plane A = x + span Q. It meets M in isolated
points. With N(y) (D, r) an orthonormal normal basis, the shadow of M across Q has the area |det(N(y)^t Q)| sigma(dy), so that for every Q

    sigma(dx) = mu(dA) sum_{y in A cap M} delta_y(dx) / |det(N(y)^t Q)|             (Crofton's formula, before averaging over Q)

mu the Lebesgue measure of the planes parallel to Q. So the law exp(-U) sigma of x becomes, given A,

    p(y) proportional to exp(-U(y)) / |det(N(y)^t Q)|      on A cap M,

and a draw from it leaves exp(-U) sigma invariant: hit-and-run with planes. Not all of A cap M need be known. Let S be any subset that is a function of A and
of random numbers w whose law given A does not depend on x: here the ends of Newton's method in A, started around the point of A nearest to a fixed centre,
with starts drawn without looking at x. Given (A, w), a draw from p restricted to S where x is in S, and no move where it is not, is Gibbs sampling on S and
the identity off it: reversible both. Starts that know x would not do: they find x more easily from x than from y.

Q is uniform (Haar) for a quarter of the planes. In high dimensions such planes reach little beyond the neighbourhood of x, so the others are uniform in the
span of a random set of coordinates, often no more than r of them: those turn few coordinates far.
Near tangency |det| goes to 0 and two points merge; a plane with |det| < 1e-6 at any of its found points is left alone, which is a condition on (A, w) only.
Belisle, Romeijn, Smith (1993), Hit-and-run algorithms for generating multivariate distributions; Santalo (1976), Integral geometry and geometric probability;
Lelievre, Stoltz, Zhang (2022), Multiple projection Markov chain Monte Carlo algorithms on submanifolds, for the draw among several projections.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.balls import ball_points
from topogen.geometry.newton import clipped, iterate, solved
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.valid_zeros import full_residual_bound, is_valid_zero
from topogen.sampling.chains import Proposal, State

__all__ = ["PlaneJump"]

MERGED = 1e-7
TANGENT = 1e-6
_SETTLED = 1e-8
_ITERATIONS = 30
_SMALLEST_DISC = 0.1
_CHUNK = 4096
_PROBES = 256
_MARGIN = 1.2
_BALLS = (2.0, 4.0, 8.0, 16.0, 32.0)
_SATURATED = 1.5
_ONE_POINT = 1e-6


class _Planes(NamedTuple):
    """n planes: the points (n, D) nearest to the centre, bases Q (n, D, r), and the radii (n,) of the discs that starts are drawn from."""

    foot: Tensor
    basis: Tensor
    radius: Tensor


@final
class PlaneJump:
    """Kernel that redraws every chain among the points of M in a random plane through it; invariant law exp(-U) against the volume of M.

    Args:
        manifold: M.
        potential: U, rows (n, D) float64 -> (n,), +inf where forbidden (walls, gate).
        centre: fixed point (D,) that starts are drawn around; None takes the mean of the first points that are seen.
        radius: of a ball around the centre that holds M or the part of interest (data units); None probes for it once, by projecting points of
            balls around the first points onto M. Points of M beyond it are found less often, which costs efficiency, not exactness.
        starts: Newton starts per plane.

    A jump alone moves within and between components but is one part of a kernel only: alternate it with a local one. `failed` counts the planes
    in which the chain's own point was not found; the chain stays, which is exact. Cost per jump: about 5 to 25 Jacobians at `starts` points per chain.
    Zeros of a learned constraint far from the data (ghosts) are components too; keep them out by the potential.
    """

    def __init__(
        self,
        manifold: Manifold,
        potential: Callable[[Tensor], Tensor],
        *,
        centre: Tensor | None = None,
        radius: float | None = None,
        starts: int = 32,
    ) -> None:
        if starts < 1 or (radius is not None and not 0 < radius < math.inf):
            raise InvalidInputError(f"starts, radius: expected at least 1 and a positive number or None, found {starts} and {radius}")
        if centre is not None and centre.shape != (manifold.ambient_dim,):
            raise InvalidInputError(f"centre: expected shape ({manifold.ambient_dim},), found {tuple(centre.shape)}")
        self.manifold, self.potential, self.starts = manifold, potential, starts
        self.centre = None if centre is None else centre.detach().double()
        self.radius = radius
        self.bound: float | None = None
        self._section = manifold.section
        self._tolerance = manifold.tolerance(torch.float64)

    def begin(self, points: Tensor) -> State:
        """State (x, U) at points (n, D) float64 of M; the first call fixes what was left open of centre, radius and the bound on |F|."""
        self._settle(points)
        return points, self.potential(points)

    def propose(self, state: State, step: float, generator: torch.Generator | None) -> Proposal:
        """The next points as a proposal to be accepted always (`log_ratio` 0); `step` does not matter. Only the points of the state are read."""
        x = state[0]
        centre, radius = self._settle(x)
        planes = _planes(x, self.manifold.ambient_dim - self.manifold.dim, centre, radius, generator)
        found, kept = self._solutions(planes, _offsets(planes, self.starts, generator), MERGED * radius)
        own = (found - x.unsqueeze(1)).norm(dim=-1) <= MERGED * radius
        weight, regular = self._log_weights(found, kept, planes.basis)
        chosen = _draw(weight, generator)
        here = (own & kept).any(1)
        possible = here & regular & torch.isfinite(weight.amax(1))
        moves = possible & ~own.gather(1, chosen.unsqueeze(1)).squeeze(1)
        y = torch.where(moves.unsqueeze(1), found[torch.arange(len(x), device=x.device), chosen], x)
        new = (y, self.potential(y)) if len(state) > 1 else (y,)
        return Proposal(new, x.new_zeros(len(x)), ~possible, torch.zeros_like(possible))

    def _settle(self, points: Tensor) -> tuple[Tensor, float]:
        if self.bound is None:
            self.bound = full_residual_bound(self.manifold, points)
        if self.centre is None:
            self.centre = points.detach().mean(0)
        if self.radius is None:
            self.radius = _extent(self.manifold, points, self.centre)
        return self.centre, self.radius

    def _solutions(self, planes: _Planes, offsets: Tensor, distance: float) -> tuple[Tensor, Tensor]:
        """Points (n, J, D) that Newton's method ended in from `offsets` (n, J, r), which are points of M, no two within a distance."""
        n, starts, r = offsets.shape
        chain = torch.arange(n, device=offsets.device).repeat_interleave(starts)
        parts = [self._newton(_Planes(*(t[rows] for t in planes)), a) for rows, a in _chunks(chain, offsets.reshape(-1, r))]
        points, found = torch.cat([p for p, _ in parts]), torch.cat([f for _, f in parts])
        rows = found.nonzero().squeeze(1)
        if len(rows):
            found[rows] = self._belongs(points[rows])
        points, found = points.reshape(n, starts, -1), found.reshape(n, starts)
        return points, found & ~_repeated(points, found, distance)

    def _newton(self, planes: _Planes, start: Tensor) -> tuple[Tensor, Tensor]:
        """Newton's method on a -> s(p + Q a): its ends (n, D) and which have settled; rows that leave a disc of three radii are given up."""

        def step(a: Tensor, _: Tensor, *fixed: Tensor) -> tuple[State, Tensor]:
            part = _Planes(*fixed)
            value, rows = self._section(_at(part, a))
            # at most half a disc's radius long, so that a flat spot does not throw a start out
            move = clipped(solved(rows @ part.basis, value), 0.5 * part.radius.unsqueeze(1))
            settled = (value.norm(dim=-1) <= self._tolerance) & (move.norm(dim=-1) <= _SETTLED * part.radius)
            a = a - move.nan_to_num(nan=torch.inf)
            return (a, settled), ~settled & (a.norm(dim=-1) <= 3 * part.radius)

        nothing = torch.zeros(len(start), dtype=torch.bool, device=start.device)
        a, found = iterate(step, (start, nothing), planes, max_iterations=_ITERATIONS).state
        return _at(planes, torch.where(found.unsqueeze(1), a, start)), found

    def _belongs(self, points: Tensor) -> Tensor:
        """Mask of the zeros of s that are points of M."""
        bound = float(self.bound if self.bound is not None else math.inf)
        if self.manifold.constraint is not None:
            bound = min(bound, self.manifold.full_tolerance)
        residual = torch.cat([self._section(part)[0].norm(dim=-1) for part in points.split(_CHUNK)])
        return (residual <= self._tolerance) & is_valid_zero(self.manifold, points, bound)

    def _log_weights(self, found: Tensor, kept: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
        """-U - log |det(N^t Q)| (n, J), -inf where nothing counts, and a mask (n,) of the planes that are nowhere tangent."""
        weight = found.new_full(kept.shape, -torch.inf)
        chain, _ = kept.nonzero(as_tuple=True)
        if not len(chain):
            return weight, kept.any(1)
        points = found[kept]
        normal = torch.cat([self.manifold.normal_basis(part) for part in points.split(_CHUNK)])
        log_det = torch.linalg.slogdet(normal.mT @ basis[chain])[1]
        weight[kept] = -self.potential(points) - log_det
        tangent = found.new_zeros(len(kept)).index_add_(0, chain, (~(log_det > math.log(TANGENT))).to(found.dtype))
        return weight.nan_to_num(nan=-torch.inf), tangent == 0


def _planes(x: Tensor, r: int, centre: Tensor, radius: float, generator: torch.Generator | None) -> _Planes:
    basis = _directions(x.shape[0], x.shape[1], r, generator).to(x)
    away = centre - x
    foot = x + (basis @ (basis.mT @ away.unsqueeze(-1))).squeeze(-1)
    square = radius**2 - (foot - centre).square().sum(-1)
    return _Planes(foot, basis, square.clamp_min((_SMALLEST_DISC * radius) ** 2).sqrt())


def _directions(n: int, ambient: int, r: int, generator: torch.Generator | None) -> Tensor:
    """Q (n, D, r): Haar in the span of a random set of coordinates, all of them with probability 1/4, else r + Geometric(1/2)."""
    level = torch.rand(n, 1, dtype=torch.float64, generator=generator)
    extra = (-(level / 0.75).log2()).floor().clamp(0, ambient - r).long()
    size = torch.where(level < 0.75, r + extra, ambient)
    rank = torch.rand(n, ambient, generator=generator).argsort(1).argsort(1)
    gauss = torch.randn(n, ambient, r, dtype=torch.float64, generator=generator)
    return torch.linalg.qr(torch.where((rank < size).unsqueeze(2), gauss, 0.0))[0]


def _offsets(planes: _Planes, starts: int, generator: torch.Generator | None) -> Tensor:
    """Newton starts (n, J, r) in the discs: evenly spaced with a random shift on lines, uniform in the r-ball otherwise."""
    n, _, r = planes.basis.shape
    if r == 1:
        shift = torch.rand(n, 1, 1, dtype=torch.float64, generator=generator)
        unit = 2 * (torch.arange(starts)[None, :, None] + shift) / starts - 1
    else:
        unit = ball_points(n, starts, r, generator=generator)
    return planes.radius[:, None, None] * unit.to(planes.foot)


def _chunks(chain: Tensor, offsets: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(chain.split(_CHUNK), offsets.split(_CHUNK), strict=True))


def _at(planes: _Planes, a: Tensor) -> Tensor:
    return planes.foot + (planes.basis @ a.unsqueeze(-1)).squeeze(-1)


def _repeated(points: Tensor, found: Tensor, distance: float) -> Tensor:
    """Mask (n, J) of the found points that an earlier found one lies next to: decided without knowing where the chain is."""
    square = torch.zeros(*found.shape, found.shape[1], dtype=points.dtype, device=points.device)
    for column in points.unbind(-1):
        square += (column.unsqueeze(1) - column.unsqueeze(2)).square()
    return ((square <= distance**2) & found.unsqueeze(1)).tril(-1).any(2)


def _draw(log_weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """An index (n,) per row with probabilities proportional to exp(log_weight): the largest after adding Gumbel noise."""
    uniform = torch.rand(log_weight.shape, dtype=log_weight.dtype, generator=generator).to(log_weight.device)
    gumbel = -(-uniform.clamp_min(torch.finfo(uniform.dtype).tiny).log()).log()
    return (log_weight + gumbel).argmax(1)


def _extent(manifold: Manifold, points: Tensor, centre: Tensor) -> float:
    """Radius around the centre that holds the points and what of M is found by projecting balls of 2, 4, .. 32 times their radius onto it.

    Points that are all one say nothing of the size of M; its own unit of length does. Where what is found grows with the ball to the end, M is taken for
    unbounded and the ball of 4 times the radius decides.
    """
    spread = float((points - centre).norm(dim=1).max())
    spread = spread if spread > _ONE_POINT * manifold.unit else manifold.unit
    probe = torch.Generator().manual_seed(0)
    ball = ball_points(_PROBES, len(centre), radius=spread, generator=probe, dtype=centre.dtype).to(centre.device)
    reach = [_reached(manifold, centre, share * ball) for share in _BALLS]
    bounded = reach[-1] <= _SATURATED * reach[-2]
    return _MARGIN * max(spread, *(reach if bounded else reach[:2]))


def _reached(manifold: Manifold, centre: Tensor, ball: Tensor) -> float:
    """The distance from the centre within which 98 % of the projections of a ball around it lie, 0 where none converges."""
    found = manifold.project(centre + ball)
    reach = (found.points - centre).norm(dim=1)[found.converged]
    return float(reach.quantile(0.98)) if len(reach) else 0.0
