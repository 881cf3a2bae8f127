"""The trefoil knot in R^3, the simplest curve that no motion of space unties.

    phi(t) = s (sin t + 2 sin 2t, cos t - 2 cos 2t, -sin 3t),     |phi'(t)| = s sqrt(17 + 8 cos 3t + 9 cos^2 3t)

The speed is a function of cos 3t, so the length by the trapezoidal rule is exact to rounding (periodic and analytic).
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from topogen.manifolds.shapes.base import check_positive
from topogen.manifolds.shapes.parametric import ParametricShape

__all__ = ["TrefoilKnot"]


@final
class TrefoilKnot(ParametricShape):
    """Trefoil knot in R^3, `scale` (default 1/3) times (sin t + 2 sin 2t, cos t - 2 cos 2t, -sin 3t); radius 3 scale around the z-axis."""

    name = "trefoil_knot"
    orientable = True

    def __init__(self, scale: float = 1 / 3) -> None:
        check_positive(scale=scale)
        super().__init__(1, 3, [(0.0, 2 * math.pi, 256)], (True,), scale * math.sqrt(34))
        self.scale = float(scale)

    def embed(self, u: Tensor) -> Tensor:
        """phi(t) (n, 3) at t (n, 1)."""
        t = u[:, 0]
        return self.scale * torch.stack([t.sin() + 2 * (2 * t).sin(), t.cos() - 2 * (2 * t).cos(), -(3 * t).sin()], -1)

    def jet(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi (n, 3), its velocity (n, 3, 1) and acceleration (n, 3, 1, 1)."""
        t = u[:, 0]
        velocity = self.scale * torch.stack([t.cos() + 4 * (2 * t).cos(), -t.sin() + 4 * (2 * t).sin(), -3 * (3 * t).cos()], -1)
        acceleration = self.scale * torch.stack([-t.sin() - 8 * (2 * t).sin(), -t.cos() + 8 * (2 * t).cos(), 9 * (3 * t).sin()], -1)
        return self.embed(u), velocity[:, :, None], acceleration[:, :, None, None]

    def _parameters_on(self, x: Tensor) -> Tensor:
        # With w = x + iy and e = exp(it): w = i scale (1/e - 2 e^2), |w|^2 = scale^2 (5 - 4 cos 3t), so e^3 and then e^2 = w / (i scale (1/e^3 - 2)) are known.
        w = torch.complex(x[:, 0], x[:, 1]) / (1j * self.scale)
        cube = torch.complex((5 - w.abs() ** 2) / 4, -x[:, 2] / self.scale)
        return torch.angle(cube * (cube.conj() - 2) / w).unsqueeze(-1)

    def density(self, u: Tensor) -> Tensor:
        """Speed (n,) = scale sqrt(17 + 8 cos 3t + 9 cos^2 3t)."""
        c = (3 * u[:, 0]).cos()
        return self.scale * (17 + 8 * c + 9 * c**2).sqrt()

    def _volume(self) -> float:
        t = torch.arange(256, dtype=torch.float64).unsqueeze(-1) * (2 * math.pi / 256)
        return 2 * math.pi * float(self.density(t).mean())

    def _betti(self, field: int) -> tuple[int, ...]:
        return (1, 1)
