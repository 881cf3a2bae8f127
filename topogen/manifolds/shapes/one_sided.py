"""Closed surfaces without an orientation, in R^4: the Klein bottle and the real projective plane.

Klein bottle: phi(u, v) = (rho cos u, rho sin u, r sin v cos u/2, r sin v sin u/2), rho = R + r cos v, dA = r sqrt(rho^2 + (r sin v)^2/4) du dv.
Projective plane: unit vectors s = (a, b, c) up to sign, phi = (ab, ac, b^2 - c^2, 2bc); at angle p from the a-axis dA = sin p sqrt(1 + 3 sin^2 p) dp dq,
so the area is pi + 4 pi^2 / (3 sqrt 3). Over Z/2 both have a fundamental class, over other fields not.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.balls import sphere_points
from topogen.manifolds.shapes.base import check_positive
from topogen.manifolds.shapes.parametric import ParametricShape, real_rows, second_order

__all__ = ["KleinBottle", "ProjectivePlane"]


_FORMS = [
    [[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]],
    [[0, 0, 0.5], [0, 0, 0], [0.5, 0, 0]],
    [[0, 0, 0], [0, 1, 0], [0, 0, -1]],
    [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
]


@final
class KleinBottle(ParametricShape):
    """Klein bottle in R^4: circle of radius `R` (default 1), tube of radius `r` (default .5) < R."""

    name = "klein_bottle"
    orientable = False

    def __init__(self, R: float = 1.0, r: float = 0.5) -> None:
        check_positive(R=R, r=r)
        if r >= R:
            raise InvalidInputError(f"r: expected less than R = {R} for an embedded bottle, found {r}")
        turn = 2 * math.pi
        super().__init__(2, 4, [(0.0, turn, 80), (0.0, turn, 32)], (True, True), r * (R + r))
        self.R = float(R)
        self.r = float(r)

    def embed(self, u: Tensor) -> Tensor:
        """phi(u, v) (n, 4)."""
        half = torch.polar(torch.ones_like(u[:, 0]), u[:, 0] / 2)
        return real_rows((self.R + self.r * u[:, 1].cos()) * half * half, self.r * u[:, 1].sin() * half)

    def jet(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi (n, 4), D phi (n, 4, 2) and D^2 phi (n, 4, 2, 2)."""
        half = torch.polar(torch.ones_like(u[:, 0]), u[:, 0] / 2)
        turn, c, s = half * half, self.r * u[:, 1].cos(), self.r * u[:, 1].sin()
        rho = self.R + c
        first = torch.stack([real_rows(1j * rho * turn, 0.5j * s * half), real_rows(-s * turn, c * half)], -1)
        bend = real_rows(-rho * turn, -0.25 * s * half), real_rows(-1j * s * turn, 0.5j * c * half), real_rows(-c * turn, -s * half)
        return real_rows(rho * turn, s * half), first, second_order(*bend)

    def _parameters_on(self, x: Tensor) -> Tensor:
        angle = torch.atan2(x[:, 1], x[:, 0])
        across = x[:, 2] * (angle / 2).cos() + x[:, 3] * (angle / 2).sin()
        return torch.stack([angle, torch.atan2(across, x[:, :2].norm(dim=-1) - self.R)], -1)

    def density(self, u: Tensor) -> Tensor:
        """r sqrt(rho^2 + (r sin v)^2/4) (n,), at most r (R + r)."""
        v = u[:, 1]
        return self.r * torch.hypot(self.R + self.r * v.cos(), 0.5 * self.r * v.sin())

    def _volume(self) -> float:
        v = torch.arange(1024, dtype=torch.float64) * (2 * math.pi / 1024)
        return 4 * math.pi**2 * float(self.density(torch.stack([v, v], -1)).mean())

    def _betti(self, field: int) -> tuple[int, ...]:
        return (1, 2, 1) if field == 2 else (1, 1, 0)


@final
class ProjectivePlane(ParametricShape):
    """Real projective plane in R^4, `scale` (default 1) times (ab, ac, b^2 - c^2, 2bc) for unit vectors (a, b, c) up to sign."""

    name = "projective_plane"
    orientable = False

    def __init__(self, scale: float = 1.0) -> None:
        check_positive(scale=scale)
        super().__init__(2, 4, [(-math.inf, math.inf, 0)] * 3, (True, True, True), 2 * scale**2)
        self.scale = float(scale)

    def embed(self, u: Tensor) -> Tensor:
        """phi(s/|s|) (n, 4) at vectors s (n, 3)."""
        a, b, c = (u / u.norm(dim=-1, keepdim=True)).unbind(-1)
        return self.scale * torch.stack([a * b, a * c, b * b - c * c, 2 * b * c], -1)

    def jet(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi (n, 4), D phi (n, 4, 3) and the part of D^2 phi (n, 4, 3, 3) tangent to the sphere |s| = const, which fixes the rest."""
        size = u.norm(dim=-1)[:, None, None]
        s = (u / size[:, 0]).unsqueeze(-1)
        sphere = torch.eye(3, dtype=u.dtype) - s @ s.mT
        form = self.scale * torch.tensor(_FORMS, dtype=u.dtype)
        point = (s.mT.unsqueeze(1) @ form @ s.unsqueeze(1)).flatten(1)
        first = 2 * (form @ s.unsqueeze(1)).squeeze(-1) @ sphere / size
        second = sphere.unsqueeze(1) @ (2 * form - 2 * point[:, :, None, None] * torch.eye(3, dtype=u.dtype)) @ sphere.unsqueeze(1) / size.unsqueeze(1) ** 2
        return point, first, second

    def _parameters_on(self, x: Tensor) -> Tensor:
        first, second = (torch.complex(re, im) for re, im in (x[:, :2].T, x[:, 2:].T))
        first, second = first / self.scale, second / self.scale
        size = second.abs()
        far = size > 0.5
        z = torch.where(far, second.sqrt(), first / (1 - size).clamp_min(0.5).sqrt())
        a = torch.where(far, (first * z.conj()).real / size.clamp_min(0.5), (1 - size).clamp_min(0).sqrt())
        return torch.stack([a, z.real, z.imag], -1)

    def density(self, u: Tensor) -> Tensor:
        """Area of M per area of the unit sphere, scale^2 sqrt(1 + 3 (b^2 + c^2)) (n,), at most 2 scale^2."""
        a: Tensor = u[:, 0] / u.norm(dim=-1)
        return self.scale**2 * (4 - 3 * a**2).sqrt()

    def _seeds(self) -> Tensor:
        polar = torch.linspace(0, math.pi / 2, 24, dtype=torch.float64)
        around = torch.arange(64, dtype=torch.float64) * (2 * math.pi / 64)
        p, q = torch.meshgrid(polar, around, indexing="ij")
        return torch.stack([p.cos(), p.sin() * q.cos(), p.sin() * q.sin()], -1)

    def _uniform_parameters(self, n: int, generator: torch.Generator | None) -> Tensor:
        return sphere_points(n, 3, generator=generator)

    def _volume(self) -> float:
        return self.scale**2 * (math.pi + 4 * math.pi**2 / (3 * math.sqrt(3)))

    def _betti(self, field: int) -> tuple[int, ...]:
        return (1, 1, 1) if field == 2 else (1, 0, 0)
