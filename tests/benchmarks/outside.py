"""Shapes outside of the library's own list, as points: knots, thin and fat tori, a flat ellipsoid, linkages, products of spheres and tori.

Each is a function of a number of points and a generator; what is known of it stands beside it. Points are uniform on surfaces and curves of one speed,
otherwise as the parametrisation gives them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Sampler = Callable[[int, torch.Generator], Tensor]


class Outside(NamedTuple):
    """A `sampler`, the dimension, the Betti numbers over Z/2 and Z/3, and the number of points to learn from."""

    sampler: Sampler
    dim: int
    betti: tuple[int, ...]
    betti_3: tuple[int, ...]
    n: int


def _angles(count: int, n: int, generator: torch.Generator) -> Tensor:
    return 2 * math.pi * torch.rand(count, n, generator=generator, dtype=torch.float64)


def torus_knot(p: int, q: int) -> Sampler:
    def draw(n: int, generator: torch.Generator) -> Tensor:
        (t,) = _angles(1, n, generator)
        return torch.stack([(2 + (q * t).cos()) * (p * t).cos(), (2 + (q * t).cos()) * (p * t).sin(), (q * t).sin()], 1)

    return draw


def figure_eight_knot(n: int, generator: torch.Generator) -> Tensor:
    (t,) = _angles(1, n, generator)
    return torch.stack([(2 + (2 * t).cos()) * (3 * t).cos(), (2 + (2 * t).cos()) * (3 * t).sin(), (4 * t).sin()], 1)


def torus(ratio: float) -> Sampler:
    def draw(n: int, generator: torch.Generator) -> Tensor:
        u, v, w = _angles(3, 4 * n, generator)
        kept = w / (2 * math.pi) * (1 + ratio) < 1 + ratio * v.cos()
        u, v = u[kept], v[kept]
        return torch.stack([(1 + ratio * v.cos()) * u.cos(), (1 + ratio * v.cos()) * u.sin(), ratio * v.sin()], 1)[:n]

    return draw


def ellipsoid(*axes: float) -> Sampler:
    def draw(n: int, generator: torch.Generator) -> Tensor:
        a, found = torch.tensor(axes, dtype=torch.float64), []
        while sum(map(len, found)) < n:
            x = torch.randn(4 * n, len(axes), generator=generator, dtype=torch.float64)
            x = x / x.norm(dim=1, keepdim=True)
            stretch = (x / a).norm(dim=1) * a.min()
            found.append((x * a)[torch.rand(len(x), generator=generator, dtype=torch.float64) < stretch])
        return torch.cat(found)[:n]

    return draw


def sphere_times_circle(n: int, generator: torch.Generator) -> Tensor:
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    (t,) = _angles(1, n, generator)
    return torch.cat([x / x.norm(dim=1, keepdim=True), t.cos().unsqueeze(1), t.sin().unsqueeze(1)], 1)


def flat_torus(dim: int) -> Sampler:
    def draw(n: int, generator: torch.Generator) -> Tensor:
        t = _angles(dim, n, generator).T
        return torch.stack([t.cos(), t.sin()], 2).flatten(1)

    return draw


def pentagon_linkage(n: int, generator: torch.Generator) -> Tensor:
    """Joints (6 coordinates) of planar pentagons with unit bars, the first bar fixed: the surface of genus 4, thinned to even density."""
    found: list[Tensor] = []
    while sum(map(len, found)) < n:
        a, b, side, keep = _angles(4, 20 * n, generator)
        second, fourth = torch.stack([1 + a.cos(), a.sin()], 1), torch.stack([b.cos(), b.sin()], 1)
        apart = second - fourth
        length = apart.norm(dim=1, keepdim=True).clamp(1e-3, 2)
        rise = torch.where(side < math.pi, 1.0, -1.0).unsqueeze(1) * (1 - length.square() / 4).sqrt()
        third = (second + fourth) / 2 + rise * torch.stack([-apart[:, 1], apart[:, 0]], 1) / length
        x = torch.cat([second, third, fourth], 1)[(apart.norm(dim=1) < 2) & (apart.norm(dim=1) > 1e-3)]
        stretch = _linkage_volume(x)
        found.append(x[keep[: len(x)] / (2 * math.pi) < (stretch / stretch.quantile(0.98)).clamp(max=1)])
    return torch.cat(found)[:n]


def _linkage_volume(x: Tensor) -> Tensor:
    """Area of the surface over the area of the angles of the two bars at the fixed one."""
    bars = lambda y: torch.stack([  # noqa: E731
        (y[0] - 1) ** 2 + y[1] ** 2, (y[2] - y[0]) ** 2 + (y[3] - y[1]) ** 2, (y[4] - y[2]) ** 2 + (y[5] - y[3]) ** 2, y[4] ** 2 + y[5] ** 2,
    ])  # fmt: skip
    tangent = torch.linalg.qr(torch.func.vmap(torch.func.jacrev(bars))(x).mT, mode="complete").Q[..., 4:]
    first, last = torch.stack([-x[:, 1], x[:, 0] - 1], 1), torch.stack([-x[:, 5], x[:, 4]], 1)
    angles = torch.stack([(first.unsqueeze(2) * tangent[:, :2]).sum(1), (last.unsqueeze(2) * tangent[:, 4:]).sum(1)], 1)
    return 1 / torch.linalg.det(angles).abs().clamp_min(1e-6)


OUTSIDE = {
    "torus_knot_2_5": Outside(torus_knot(2, 5), 1, (1, 1), (1, 1), 5000),
    "torus_knot_3_4": Outside(torus_knot(3, 4), 1, (1, 1), (1, 1), 5000),
    "torus_knot_2_7": Outside(torus_knot(2, 7), 1, (1, 1), (1, 1), 5000),
    "figure_eight_knot": Outside(figure_eight_knot, 1, (1, 1), (1, 1), 5000),
    "torus_thin": Outside(torus(0.1), 2, (1, 2, 1), (1, 2, 1), 5000),
    "torus_fat": Outside(torus(0.6), 2, (1, 2, 1), (1, 2, 1), 5000),
    "ellipsoid": Outside(ellipsoid(1.0, 1.0, 0.1), 2, (1, 0, 1), (1, 0, 1), 20_000),
    "pentagon_linkage": Outside(pentagon_linkage, 2, (1, 8, 1), (1, 8, 1), 8000),
    "sphere_times_circle": Outside(sphere_times_circle, 3, (1, 1, 1, 1), (1, 1, 1, 1), 5000),
    "flat_torus_4": Outside(flat_torus(4), 4, (1, 4, 6, 4, 1), (1, 4, 6, 4, 1), 50_000),
}
