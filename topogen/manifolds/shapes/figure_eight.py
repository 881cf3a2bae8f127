"""The figure eight in R^2: not a manifold, for it crosses itself; a sampler with a known topology.

Lemniscate of Gerono phi(t) = radius (cos t, sin t cos t), |phi'|^2 = radius^2 (sin^2 t + cos^2 2t), the two strands crossing at right angles in 0.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.shapes.base import check_positive, sample_by_rejection, uniform

__all__ = ["FigureEight"]


@final
class FigureEight:
    """Lemniscate of Gerono of half width `radius` (default 1) in R^2; samples uniform for arc length, Betti numbers (1, 2)."""

    name = "figure_eight"
    dim = 1
    ambient_dim = 2

    def __init__(self, radius: float = 1.0) -> None:
        check_positive(radius=radius)
        self.radius = float(radius)

    @property
    def volume(self) -> float:
        """Arc length, by the trapezoidal rule (exact to rounding: periodic and analytic)."""
        t = torch.arange(512, dtype=torch.float64) * (2 * math.pi / 512)
        return 2 * math.pi * self.radius * float(_speed(t).mean())

    @property
    def diameter(self) -> float:
        """Largest distance of two points, 2 radius."""
        return 2 * self.radius

    def betti(self, field: int = 2) -> tuple[int, ...]:
        """(1, 2) over every field."""
        return (1, 2)

    def sample(self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """n independent points (n, 2) of `dtype`, uniform for arc length. Raises InvalidInputError for a negative n."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise InvalidInputError(f"n: expected a number of points >= 0, found {n!r}")
        t = sample_by_rejection(n, generator, lambda k: 2 * math.pi * uniform(k, 1, generator), lambda u: _speed(u[:, 0]) / math.sqrt(2))
        return (self.radius * torch.cat([t.cos(), t.sin() * t.cos()], -1)).to(dtype)


def _speed(t: Tensor) -> Tensor:
    return torch.hypot(t.sin(), (2 * t).cos())
