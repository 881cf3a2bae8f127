"""Surfaces in R^3 with a boundary: the Moebius band and the Swiss roll. Points beyond the edge project to the edge.

Moebius: phi(u, v) = ((R + v cos u/2) cos u, (R + v cos u/2) sin u, v sin u/2), dA = sqrt(v^2/4 + (R + v cos u/2)^2) du dv.
Swiss roll: phi(t, h) = s (t cos t, h, t sin t), dA = s^2 sqrt(1 + t^2) dt dh, area by the arc length of the spiral of Archimedes,
L(t) = (t sqrt(1 + t^2) + asinh t)/2.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.shapes.base import check_positive
from topogen.manifolds.shapes.parametric import ParametricShape, real_rows, second_order

__all__ = ["MoebiusBand", "SwissRoll"]


@final
class MoebiusBand(ParametricShape):
    """Moebius band in R^3 around a circle of radius `R` (default 1), of half width `w` (default .4) < R; its boundary is one curve."""

    name = "moebius_band"
    orientable = False
    closed = False

    def __init__(self, R: float = 1.0, w: float = 0.4) -> None:
        check_positive(R=R, w=w)
        if w >= R:
            raise InvalidInputError(f"w: expected less than R = {R} for an embedded band, found {w}")
        super().__init__(2, 3, [(0.0, 2 * math.pi, 96), (-w, w, 9)], (True, False), math.hypot(w / 2, R + w))
        self.R = float(R)
        self.w = float(w)

    def embed(self, u: Tensor) -> Tensor:
        """phi(u, v) (n, 3)."""
        turn, half, v = *_turns(u[:, 0]), u[:, 1]
        return real_rows((self.R + v * half.real) * turn, v * half.imag)[:, :3]

    def jet(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi (n, 3), D phi (n, 3, 2) and D^2 phi (n, 3, 2, 2)."""
        turn, half, v = *_turns(u[:, 0]), u[:, 1]
        c, s = half.real, half.imag
        rho = self.R + v * c
        along = real_rows((-v * s / 2 + 1j * rho) * turn, v * c / 2)
        across = real_rows(c * turn, s)
        bend = real_rows((-v * c / 4 - rho - 1j * v * s) * turn, -v * s / 4)
        mixed = real_rows((-s / 2 + 1j * c) * turn, c / 2)
        return self.embed(u), torch.stack([along, across], -1)[:, :3], second_order(bend, mixed, torch.zeros_like(bend))[:, :3]

    def _parameters_on(self, x: Tensor) -> Tensor:
        angle = torch.atan2(x[:, 1], x[:, 0])
        v = (x[:, :2].norm(dim=-1) - self.R) * (angle / 2).cos() + x[:, 2] * (angle / 2).sin()
        return torch.stack([angle, v.clamp(-self.w, self.w)], -1)

    def density(self, u: Tensor) -> Tensor:
        """sqrt(v^2/4 + (R + v cos u/2)^2) (n,)."""
        angle, v = u[:, 0], u[:, 1]
        return torch.hypot(v / 2, self.R + v * (angle / 2).cos())

    def _volume(self) -> float:
        from scipy.special import roots_legendre

        nodes, weights = (torch.from_numpy(part) for part in roots_legendre(48))
        angles = torch.arange(256, dtype=torch.float64) * (4 * math.pi / 256)
        u = torch.cartesian_prod(angles, self.w * nodes)
        return 2 * math.pi * self.w * float((self.density(u).reshape(256, -1) * weights).sum(-1).mean())

    def _betti(self, field: int) -> tuple[int, ...]:
        return (1, 1, 0)


@final
class SwissRoll(ParametricShape):
    """Swiss roll in R^3: (t cos t, h, t sin t) times `scale` (default .1), t from 1.5 pi to 4.5 pi, h from 0 to `height` (default 21)."""

    name = "swiss_roll"
    orientable = True
    closed = False

    def __init__(self, scale: float = 0.1, height: float = 21.0) -> None:
        check_positive(scale=scale, height=height)
        box = [(1.5 * math.pi, 4.5 * math.pi, 256), (0.0, float(height), 1)]
        super().__init__(2, 3, box, (False, False), scale**2 * math.hypot(1, 4.5 * math.pi))
        self.scale = float(scale)
        self.height = float(height)

    def embed(self, u: Tensor) -> Tensor:
        """phi(t, h) (n, 3)."""
        t, h = u[:, 0], u[:, 1]
        return self.scale * torch.stack([t * t.cos(), h, t * t.sin()], -1)

    def jet(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi (n, 3), D phi (n, 3, 2) and D^2 phi (n, 3, 2, 2)."""
        t, zero = u[:, 0], torch.zeros_like(u[:, 0])
        c, s = t.cos(), t.sin()
        along = torch.stack([c - t * s, zero, s + t * c], -1)
        bend = torch.stack([-2 * s - t * c, zero, 2 * c - t * s], -1)
        up, flat = torch.stack([zero, zero + 1, zero], -1), torch.zeros_like(bend)
        return self.embed(u), self.scale * torch.stack([along, up], -1), self.scale * second_order(bend, flat, flat)

    def _parameters_on(self, x: Tensor) -> Tensor:
        t = (x[:, ::2].norm(dim=-1) / self.scale).clamp(1.5 * math.pi, 4.5 * math.pi)
        return torch.stack([t, (x[:, 1] / self.scale).clamp(0, self.height)], -1)

    def density(self, u: Tensor) -> Tensor:
        """scale^2 sqrt(1 + t^2) (n,)."""
        return self.scale**2 * (1 + u[:, 0] ** 2).sqrt()

    def _volume(self) -> float:
        low, high = ((t * math.hypot(1, t) + math.asinh(t)) / 2 for t in (1.5 * math.pi, 4.5 * math.pi))
        return self.scale**2 * self.height * (high - low)

    def _diameter(self) -> float:
        return math.hypot(_spiral_diameter(self.scale), self.scale * self.height)

    def _betti(self, field: int) -> tuple[int, ...]:
        return (1, 0, 0)


def _turns(angle: Tensor) -> tuple[Tensor, Tensor]:
    """exp(i u) and exp(i u/2)."""
    half = torch.polar(torch.ones_like(angle), angle / 2)
    return half * half, half


def _spiral_diameter(scale: float) -> float:
    """Farthest point of the spiral from its outer end: t with d/dt |phi(t) - phi(4.5 pi)|^2 = 0 near t = 3.5 pi."""
    from scipy.optimize import minimize_scalar

    end = 4.5 * math.pi
    found = minimize_scalar(
        lambda t: -(t * t + end * end - 2 * t * end * math.cos(end - t)), bounds=(3 * math.pi, 4 * math.pi), method="bounded", options={"xatol": 1e-12}
    )
    return scale * math.sqrt(-found.fun)
