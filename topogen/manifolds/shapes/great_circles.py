"""Geodesics of round spheres in closed form, for vectors along the last dimension.

    exp_x(u) = cos(t) x + r sin(t) u/|u|,  t = |u|/r;     dist(x, y) = 2 r atan2(|x - y|, |x + y|);     log_x(y) = dist(x, y) P(x) y / |P(x) y|

The arc tangent keeps its digits for near and for antipodal points, where the arc cosine of <x, y> loses half of them
(Kahan 2006, How futile are mindless assessments of roundoff).
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.geometry.frames import complement

__all__ = ["sphere_distance", "sphere_exponential", "sphere_logarithm"]


def sphere_exponential(x: Tensor, u: Tensor, radius: float) -> Tensor:
    """exp_x(u) (..., D) on the sphere of `radius` around 0 for tangent u (..., D)."""
    turn = u.norm(dim=-1, keepdim=True) / radius
    return turn.cos() * x + torch.sinc(turn / torch.pi) * u


def sphere_distance(x: Tensor, y: Tensor, radius: float) -> Tensor:
    """Distance (...) along the great circle through x and y (..., D)."""
    return 2 * radius * torch.atan2((x - y).norm(dim=-1), (x + y).norm(dim=-1))


def sphere_logarithm(x: Tensor, y: Tensor, radius: float) -> Tensor:
    """log_x(y) (..., D); of the many velocities that reach the antipode one is chosen."""
    along = y - x * (x * y).sum(-1, keepdim=True) / radius**2
    length = along.norm(dim=-1, keepdim=True)
    defined = length > 16 * torch.finfo(x.dtype).eps * radius
    any_tangent = complement((x / x.norm(dim=-1, keepdim=True)).detach().unsqueeze(-1))[..., 0]
    direction = torch.where(defined, along / torch.where(defined, length, 1.0), any_tangent)
    near = ((x - y).norm(dim=-1) < radius).unsqueeze(-1)
    # The chord itself is the better answer where P(x) y has no direction left, except at the antipode.
    return torch.where(near & ~defined, along, sphere_distance(x, y, radius).unsqueeze(-1) * direction)
