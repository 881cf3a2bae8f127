"""Balls and spheres of R^d: the volume V_d R^d, and uniform points.

    V_d = pi^(d/2) / Gamma(d/2 + 1),     x = R u^(1/d) g / |g|,  u uniform in [0, 1), g standard normal, is uniform in the ball, g / |g| on the sphere

Muller (1959), A note on a method for generating points uniformly on n-dimensional spheres.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ball_lengths", "ball_points", "ball_volume", "sphere_points"]


def ball_volume(dim: int, radius: float = 1.0) -> float:
    """Volume of the `dim`-ball."""
    half = torch.tensor(dim / 2, dtype=torch.float64)
    return float(torch.pi**half / torch.exp(torch.lgamma(half + 1))) * radius**dim


def sphere_points(*shape: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
    """Uniform points of the unit sphere of R^d, a tensor of the `shape` (..., d)."""
    g = torch.randn(*shape, dtype=dtype, generator=generator)
    return g / g.norm(dim=-1, keepdim=True)


def ball_lengths(*shape: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
    """Lengths u^(1/d) (..., 1) of uniform points (..., d) of the unit ball of R^d, `shape` being (..., d)."""
    *batch, dim = shape
    return torch.rand(*batch, 1, dtype=dtype, generator=generator) ** (1 / dim)


def ball_points(*shape: int, radius: Tensor | float = 1.0, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
    """Uniform points of the balls of a `radius`, one or (..., 1), around 0, a tensor of the `shape` (..., d): directions are drawn first, then lengths."""
    direction = sphere_points(*shape, generator=generator, dtype=dtype)
    return direction * (radius * ball_lengths(*shape, generator=generator, dtype=dtype))
