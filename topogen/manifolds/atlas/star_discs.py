"""Star-shaped discs of a manifold in normal coordinates, as ray points with coordinates that fill a round ball.

From a centre c geodesic rays run in the directions u of T_cM. A ray ends at its cut time tau(u), the first t at which

    another ray point q with t_q <= t,      |z - z_q| > 4 |x - x_q| + three spacings of the rays,

that is where rays meet (cut points) or are focused (conjugate points), or, at an edge of M, at 1.25 times the time at which they leave it. With rho(u) a
smoothed lower envelope of .9 tau(u) and s = t / rho(u), the disc is the star {s < 1}, and its coordinates

    z = R u s (q (1 - b(s)) + b(s)),      q = rho(u) / max rho,      b(s) = s^2 (3 - 2 s),

are normal coordinates at the centre, up to scale, and fill the ball of radius R, the geometric mean of rho, at the rim; z grows along each ray, as q <= 1.
do Carmo (1992), Riemannian Geometry (normal neighbourhoods, cut locus).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.balls import sphere_points
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.exponential_map import rays
from topogen.manifolds.base import Manifold

__all__ = ["Star", "stars"]

DIRECTIONS = {1: 2, 2: 96, 3: 500}
STEPS, NET_STEPS = 48, 40
STRETCH, SPACINGS, NEIGHBOURS = 4.0, 3.0, 16
SHRINK, PAST_EDGE, BEYOND = 0.9, 1.25, 1.15


class Star(NamedTuple):
    """Ray points `x` (m, D) with coordinates `z` (m, d) of the disc |z| < `radius` around `centre` (D,), up to a little beyond its rim; `spacing`: how far
    they are apart there, `mesh`: how far their coordinates are apart."""

    centre: Tensor
    radius: float
    x: Tensor
    z: Tensor
    spacing: float
    mesh: float


def stars(sheet: Manifold, centres: Tensor, lengths: Tensor) -> list[Star]:
    """The stars of centres (k, D) on or near M, their rays no longer than `lengths` (k,)."""
    direction = _directions(sheet.dim)
    centres = sheet.project(centres).points
    velocity = direction @ sheet.tangent_basis(centres).mT
    x, on = _shot(sheet, centres, lengths[:, None, None] * velocity, STEPS)
    times = torch.arange(STEPS + 1, dtype=torch.float64)
    reach = torch.stack([_smoothed(_ends(x[k], times * (lengths[k] / STEPS), direction, on[k]), direction) for k in range(len(centres))])
    x, on = _shot(sheet, centres, BEYOND * reach.unsqueeze(2) * velocity, NET_STEPS)
    return [_star(centres[k], direction, reach[k], x[k], on[k]) for k in range(len(centres))]


def _star(centre: Tensor, direction: Tensor, reach: Tensor, x: Tensor, on: Tensor) -> Star:
    s = BEYOND * torch.arange(NET_STEPS + 1, dtype=torch.float64).unsqueeze(1) / NET_STEPS
    radius = float(reach.log().mean().exp())
    z = radius * (s * _filled(s, reach / reach.max())).unsqueeze(-1) * direction
    spacing = float(_gap(reach, direction, BEYOND * float(reach.max()) / NET_STEPS).max())
    mesh = float(_gap(reach.new_tensor(radius), direction, BEYOND * radius / NET_STEPS))
    return Star(centre, radius, x[on], z[on], spacing, mesh)


def _shot(sheet: Manifold, centres: Tensor, velocity: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Ray points (k, steps + 1, m, D) for velocities (k, m, D), and which of them (k, steps + 1, m) lie on M with all before them."""
    begin = centres.unsqueeze(1).expand_as(velocity).flatten(0, 1)
    x = rays(lambda y: sheet.project(y).points, sheet.proju, begin, velocity.flatten(0, 1), steps)
    on = sheet.project(x.flatten(0, 1)).converged.view(x.shape[:2]) & torch.isfinite(x).all(-1)
    on = on.long().cumprod(0).bool()
    return x.view(steps + 1, *velocity.shape).transpose(0, 1), on.view(steps + 1, *velocity.shape[:2]).transpose(0, 1)


def _directions(dim: int) -> Tensor:
    """Unit vectors (m, d): both of the line, even ones of the circle, spread ones (always the same) above."""
    if dim == 1:
        return torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    if dim == 2:
        angle = torch.arange(DIRECTIONS[2], dtype=torch.float64) * (2 * torch.pi / DIRECTIONS[2])
        return torch.stack([angle.cos(), angle.sin()], -1)
    return farthest_points(sphere_points(4000, dim, generator=torch.Generator().manual_seed(0)), DIRECTIONS[3]).points


def _gap(time: Tensor, direction: Tensor, step: float) -> Tensor:
    """How far ray points are apart at a time (...)."""
    dim, count = direction.shape[1], len(direction)
    if dim == 1:
        return torch.full_like(time, step)
    return (time * (2 * (dim - 1) * torch.pi / count) ** (1 / (dim - 1))).clamp_min(step)


def _ends(x: Tensor, time: Tensor, direction: Tensor, on: Tensor) -> Tensor:
    """How long the rays x (steps + 1, m, D) at even times belong to the disc (m,)."""
    steps, count = on.shape
    step = float(time[1])
    flat = on & (time > 0).unsqueeze(1)
    t = time.unsqueeze(1).expand(steps, count)[flat]
    z = t.unsqueeze(1) * direction[torch.arange(count).expand(steps, count)[flat]]
    distance, index = nearest(x[flat], NEIGHBOURS)
    gap = _gap(t, direction, step).unsqueeze(1)
    apart = (z.unsqueeze(1) - z[index]).norm(dim=-1)
    meets = torch.zeros_like(on)
    meets[flat] = ((apart > STRETCH * distance + SPACINGS * torch.maximum(gap, gap[index].squeeze(-1))) & (t[index] <= t.unsqueeze(1) + gap)).any(1)
    cut = torch.where(meets.any(0), time[meets.long().argmax(0)], time[-1])
    edge = torch.where(on.all(0), torch.inf, time[(on.sum(0) - 1).clamp_min(0)])
    return torch.where(cut <= edge, SHRINK * cut, PAST_EDGE * edge).clamp_min(2 * step)


def _smoothed(reach: Tensor, direction: Tensor) -> Tensor:
    """A smooth function of the direction, below the values (m,) up to its own variation: least values of neighbours, then means."""
    if direction.shape[1] == 1:
        return reach.min().expand_as(reach)
    near = nearest(direction, 9 if direction.shape[1] == 2 else 13, direction)[1]
    low = reach[near].amin(1)
    return low[near].mean(1)[near].mean(1)


def _filled(s: Tensor, q: Tensor) -> Tensor:
    """q (1 - b(s)) + b(s)."""
    inside = s.clamp_max(1)
    b = inside.square() * (3 - 2 * inside)
    return q * (1 - b) + b
