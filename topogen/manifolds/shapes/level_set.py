"""Closest points of a closed surface F = 0 in R^3 that is given by F, its gradient and its Hessian.

For x minimise |p - x|^2 / 2 over F(p) = 0. With N = grad F, T an orthonormal basis of its complement and the multiplier l = <x - p, N>/|N|^2, the reduced

    gradient T^t (p - x),     Hessian T^t (I + l D^2 F) T     (Absil, Mahony, Sepulchre 2008, Optimization Algorithms on Matrix Manifolds)

give a Newton step in the tangent plane, followed by `onto`. Starts are the local minima among seeds on the surface, within their covering radius of the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.geometry.derivatives import Linear
from topogen.geometry.frames import apply, complement
from topogen.geometry.newton import State, clipped, damped, iterate, saddle_free

__all__ = ["Seeds", "LevelSurface", "closest_points", "derivative_of_closest", "onto", "onto_with_tangents"]

_CHUNK = 2_000_000


@dataclass(frozen=True)
class LevelSurface:
    """F as two functions of points (n, 3): `slope` gives F (n,) and grad F (n, 3), `bend` gives D^2 F (n, 3, 3)."""

    slope: Callable[[Tensor], tuple[Tensor, Tensor]]
    bend: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Seeds:
    """Points (m, 3) on the surface, the indices (m, k) of their nearest neighbours and their covering radius."""

    points: Tensor
    neighbours: Tensor
    cover: float


def onto(surface: LevelSurface, x: Tensor, steps: int = 8) -> Tensor:
    """x (n, 3) moved onto F = 0 along the gradient: `steps` times x - F N / |N|^2; smooth in x, and symmetric where F is."""
    for _ in range(steps):
        value, normal = surface.slope(x)
        x = x - (value / normal.square().sum(-1)).unsqueeze(-1) * normal
    return x


def onto_with_tangents(surface: LevelSurface, x: Tensor, v: Tensor, steps: int = 8) -> tuple[Tensor, Tensor]:
    """`onto` of x (n, 3) and its derivative applied to vectors v (n, 3, k)."""
    for _ in range(steps):
        (value, normal), second = surface.slope(x), surface.bend(x)
        size = normal.square().sum(-1)[:, None, None]
        ratio, column, bent = value[:, None, None] / size, normal.unsqueeze(-1), second @ v
        v = v - column * (column.mT @ v) / size - ratio * bent + 2 * ratio * column * (column.mT @ bent) / size
        x = x - (value / normal.square().sum(-1)).unsqueeze(-1) * normal
    return x, v


def closest_points(surface: LevelSurface, x: Tensor, seeds: Seeds) -> tuple[Tensor, Tensor]:
    """Globally nearest points (n, 3) of the surface to x (n, 3) and the number of Newton steps (n,); no graph."""
    rows, starts = _starts(x, seeds)
    p, steps = _newton(surface, x[rows], starts)
    value = (p - x[rows]).square().sum(-1)
    best = value.new_full((len(x),), torch.inf).scatter_reduce(0, rows, value, "amin")
    winners = (value <= best[rows]).nonzero().squeeze(-1)
    first = torch.full((len(x),), len(rows)).scatter_reduce(0, rows[winners], winners, "amin")
    return p[first], steps[first]


def derivative_of_closest(surface: LevelSurface, x: Tensor, p: Tensor) -> tuple[Tensor, Linear]:
    """The residual (n,) |T^t (p - x)| + |F|/|N| of closest points p (n, 3) to x, and their derivative in x, T Hessian^-1 T^t."""
    basis, gradient, hessian, departure = _system(surface, x, p)

    def derivative(v: Tensor) -> Tensor:
        return apply(basis, saddle_free(hessian, apply(basis.mT, v)))

    return gradient.norm(dim=-1) / (1 + (p - x).norm(dim=-1)) + departure, derivative


def _starts(x: Tensor, seeds: Seeds) -> tuple[Tensor, Tensor]:
    rows, starts = [], []
    size = max(1, _CHUNK // len(seeds.points))
    for begin in range(0, max(len(x), 1), size):
        distance = torch.cdist(x[begin : begin + size], seeds.points)
        row, seed = (distance <= distance.min(dim=1, keepdim=True).values + seeds.cover).nonzero(as_tuple=True)
        lowest = (distance[row.unsqueeze(-1), seeds.neighbours[seed]] >= distance[row, seed].unsqueeze(-1)).all(-1)
        rows.append(row[lowest] + begin)
        starts.append(seeds.points[seed[lowest]])
    return torch.cat(rows), torch.cat(starts)


def _newton(surface: LevelSurface, x: Tensor, p: Tensor, iterations: int = 60) -> tuple[Tensor, Tensor]:

    def step(p: Tensor, share: Tensor, x: Tensor) -> tuple[State, Tensor]:
        basis, gradient, hessian, _ = _system(surface, x, p)
        move = clipped(apply(basis, saddle_free(hessian, gradient)), 0.3)
        trial = onto(surface, p - share * move, 5)
        before, after = (p - x).square().sum(-1), (trial - x).square().sum(-1)
        return damped(after <= before + 1e-14 * (1 + before), trial, p, share), move.norm(dim=-1) > 1e-10

    found = iterate(step, (p, p.new_ones(len(p), 1)), (x,), max_iterations=iterations)
    return found.state[0], found.steps


def _system(surface: LevelSurface, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """T (n, 3, 2), reduced gradient (n, 2) and Hessian (n, 2, 2), and |F|/|N| (n,)."""
    (value, normal), second = surface.slope(p), surface.bend(p)
    length = normal.norm(dim=-1)
    basis = complement((normal / length.unsqueeze(-1)).unsqueeze(-1))
    multiplier = ((x - p) * normal).sum(-1) / length**2
    hessian = torch.eye(2, dtype=x.dtype) + multiplier[:, None, None] * (basis.mT @ second @ basis)
    return basis, apply(basis.mT, p - x), hessian, value.abs() / length
