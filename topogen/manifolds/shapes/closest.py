"""Closest points of a parametrised set phi(B), B a box of parameters, found globally and to rounding.

For a point x minimise f(u) = |phi(u) - x|^2 / 2, with J = D phi and g = J^t (phi - x):

    H = J^t J + <phi - x, D^2 phi>,     u <- clamp(u - |H|^-1 g)

|H| has the absolute eigenvalues of H (saddle-free Newton, Dauphin et al. 2014), coordinates held at a bound by g are frozen, and a
step that does not descend is shortened; the last step, of relative size 1e-10, leaves an error of its square.
Starts are all local minima of f on a grid that are within the grid's covering radius of the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.geometry.derivatives import Linear
from topogen.geometry.frames import apply
from topogen.geometry.newton import State, damped, iterate, saddle_free

__all__ = ["Embedding", "ParameterGrid", "Jet", "nearest_points", "nearest_parameters"]

Embedding = Callable[[Tensor], Tensor]
Jet = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
_CHUNK = 2_000_000


@dataclass(frozen=True)
class ParameterGrid:
    """Seeds: parameters (g, m), their points (g, D), the shape of the grid (g_1, .., g_k) and its covering radius in R^D."""

    parameters: Tensor
    points: Tensor
    shape: tuple[int, ...]
    cover: float


def nearest_parameters(phi: Embedding, jet: Jet, x: Tensor, grid: ParameterGrid, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters (n, m) of the globally nearest points of x (n, D) and the number of Newton steps (n,); no graph.

    `phi` maps parameters (n, m) to points (n, D), `jet` to points, first (n, D, m) and second (n, D, m, m) derivatives.
    """
    rows, starts = _starts(x, grid)
    u, steps = _newton(phi, jet, x[rows], starts, low, high)
    value = (phi(u) - x[rows]).square().sum(-1)
    best = value.new_full((len(x),), torch.inf).scatter_reduce(0, rows, value, "amin")
    first = torch.full((len(x),), len(rows)).scatter_reduce(0, rows[value <= best[rows]], (value <= best[rows]).nonzero().squeeze(-1), "amin")
    return u[first], steps[first]


def nearest_points(jet: Jet, x: Tensor, u: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Linear]:
    """Points phi(u) (n, D) nearest to x, the tangential residual (n,) of phi(u) - x, and the derivative of the nearest point in x, J H^-1 J^t."""
    point, first, _, hessian = _system(jet, x, u, low, high)
    left, s, _ = torch.linalg.svd(first, full_matrices=False)
    kept = left * (s > 1e-8 * s[:, :1]).unsqueeze(-2)
    residual = apply(kept.mT, point - x).norm(dim=-1)

    def derivative(v: Tensor) -> Tensor:
        return apply(first, saddle_free(hessian, apply(first.mT, v)))

    return point, residual, derivative


def _starts(x: Tensor, grid: ParameterGrid) -> tuple[Tensor, Tensor]:
    rows, starts = [], []
    size = max(1, _CHUNK // len(grid.points))
    for begin in range(0, max(len(x), 1), size):
        distance = torch.cdist(x[begin : begin + size], grid.points)
        row, seed = _candidates(distance, grid).nonzero(as_tuple=True)
        rows.append(row + begin)
        starts.append(grid.parameters[seed])
    return torch.cat(rows), torch.cat(starts)


def _candidates(distance: Tensor, grid: ParameterGrid) -> Tensor:
    pool = (torch.nn.functional.max_pool1d, torch.nn.functional.max_pool2d)[len(grid.shape) - 1]
    field = distance.reshape(-1, 1, *grid.shape)
    minima = -pool(-field, 3, stride=1, padding=1) == field
    near = distance <= distance.min(dim=1, keepdim=True).values + grid.cover
    return minima.reshape(distance.shape) & near


def _newton(phi: Embedding, jet: Jet, x: Tensor, u: Tensor, low: Tensor, high: Tensor, iterations: int = 60) -> tuple[Tensor, Tensor]:

    def step(u: Tensor, share: Tensor, x: Tensor) -> tuple[State, Tensor]:
        point, _, gradient, hessian = _system(jet, x, u, low, high)
        move = saddle_free(hessian, gradient)
        trial = (u - share * move).clamp(low, high)
        before, after = (point - x).square().sum(-1), (phi(trial) - x).square().sum(-1)
        u, share = damped(after <= before + 1e-14 * (before + point.square().sum(-1)), trial, u, share)
        return (u, share), move.abs().amax(-1) > 1e-10 * (1 + u.abs().amax(-1))

    found = iterate(step, (u, u.new_ones(len(u), 1)), (x,), max_iterations=iterations)
    return found.state[0], found.steps


def _system(jet: Jet, x: Tensor, u: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """phi, J, g and H with the coordinates that a bound holds taken out (columns of J and g zero, unit diagonal in H)."""
    point, first, second = jet(u)
    offset = point - x
    gradient = (first.mT @ offset.unsqueeze(-1)).squeeze(-1)
    held = ((u <= low) & (gradient > 0)) | ((u >= high) & (gradient < 0))
    hessian = first.mT @ first + (offset[:, :, None, None] * second).sum(1)
    free = (~held).to(u.dtype)
    hessian = hessian * free.unsqueeze(-1) * free.unsqueeze(-2) + torch.diag_embed(1 - free)
    return point, first * free.unsqueeze(-2), gradient * free, hessian
