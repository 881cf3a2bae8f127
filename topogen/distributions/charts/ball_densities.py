"""Densities with compact support on the unit ball of R^d, one for each of K charts: what a chart mixture is made of.

    b(w) = c (1 - |w|^2)^a,  |w| < 1,      c = Gamma(d/2 + a + 1) / (pi^(d/2) Gamma(a + 1)),      |w|^2 ~ Beta(d/2, a + 1)

The bump has a - 1 continuous derivatives across the rim, so sums of overlapping charts have no seams. A base is anything with `log_density` and `draw`; another
one is `BallFlow`, the same bump behind a learned diffeomorphism of the ball.
Wand, Jones (1995), Kernel smoothing, for the kernels (1 - |w|^2)^a.
"""

from __future__ import annotations

import math
from typing import Protocol, final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError

__all__ = ["BallBase", "Bump", "log_bump_constant"]

POWER = 3.0


class BallBase(Protocol):
    """Densities on the unit ball against Lebesgue measure, one for each chart."""

    def log_density(self, chart: Tensor, w: Tensor) -> Tensor:
        """log b_k(w) (n,) for charts (n,) int64 at w (n, d), |w| < 1; -inf on and outside the unit sphere."""

    def draw(self, chart: Tensor, generator: torch.Generator | None) -> Tensor:
        """One point (n, d) float64 of b_k for each of the charts (n,)."""


@final
class Bump:
    """b(w) = c (1 - |w|^2)^a on the unit ball of R^d, the same for all charts.

    Raises InvalidInputError unless d >= 1 and the power a > 0, without which the density would jump at the rim.
    """

    def __init__(self, dim: int, power: float = POWER) -> None:
        if dim < 1 or not 0 < power < math.inf:
            raise InvalidInputError(f"dim, power: expected dim >= 1 and a finite power > 0, found {dim} and {power}")
        self.dim, self.power = dim, float(power)

    def log_density(self, chart: Tensor, w: Tensor) -> Tensor:
        """log b(w) (n,)."""
        room = 1 - w.square().sum(-1)
        return torch.where(room > 0, self.power * room.clamp_min(1e-300).log() + log_bump_constant(self.dim, self.power), -torch.inf)

    def draw(self, chart: Tensor, generator: torch.Generator | None) -> Tensor:
        """|w|^2 = u^2 / (u^2 + v^2) for independent chi variables u, v of d and 2 (a + 1) degrees of freedom."""
        n = len(chart)
        direction = torch.randn(n, self.dim, dtype=torch.float64, generator=generator)
        squared = direction.square().sum(-1)
        other = 2 * _gamma(torch.full((n,), self.power + 1, dtype=torch.float64), generator)
        return direction / (squared + other).sqrt().unsqueeze(-1)


def log_bump_constant(dim: int, power: float) -> float:
    """log c of the bump on the unit ball of R^d."""
    return math.lgamma(dim / 2 + power + 1) - dim / 2 * math.log(math.pi) - math.lgamma(power + 1)


def _gamma(shape: Tensor, generator: torch.Generator | None) -> Tensor:
    # torch.distributions.Gamma takes no generator; this is what it calls.
    return torch._standard_gamma(shape, generator=generator)
