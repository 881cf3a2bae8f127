"""Bounds of |F| and of its regularity on the cells of a grid, from an enclosure of F on a ball: value, Jacobian, and how far the Jacobian moves.

On a cube of side h about c, rho = h sqrt(D) / 2, with |J(x) - J(c)| <= E for |x - c| <= rho (E star-shaped in rho), F leaves its tangent by at most
rest = rho E / 2, and with u = F(c) / |F(c)|

    |F(x)|      <=  max over the corners v of |F(c) + J(c) (v - c)| + rest                     (convex in x)
    |F(x)|      >=  |F(c)| - h/2 |J(c)^t u|_1 - rest
    sigma_min(J(x)) >= sigma_min(J(c)) - E                                                      (Weyl)
    |J(x)^t F(x)| >= |J(c)^t F(c)| - (|J(c)| + E) (|J(c)| rho + rest) - E |F(c)| .

E is proved where the constraint brings an `enclosure` (learned networks do) or a bound on its second derivative is given, and estimated from points a
little beyond the corners of each cell otherwise.
Moore, Kearfott, Cloud (2009), Introduction to Interval Analysis; Weyl (1912), Asymptotische Verteilung der Eigenwerte.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.constant_rank import value_and_jacobian
from topogen.manifolds.base import Manifold

__all__ = ["Bounds", "Enclosure", "bounds", "corners", "enclosure_of"]

SAFETY, BEYOND = 1.5, 1.25
ROUNDING = 1e-10
CHUNK = 1024
Enclose = Callable[[Tensor, Tensor], "tuple[Tensor, Tensor, Tensor]"]


class Enclosure(NamedTuple):
    """`enclose(x, radius)` gives F (n, m), J (n, m, D) and E (n,); the `label` of what it bounds and the `assumption` it is made under."""

    enclose: Enclose
    label: str
    assumption: str


class Bounds(NamedTuple):
    """Per cell: `low` <= |F| <= `high`; `slope`: at least the smallest singular value of J; `push`: at least |J^t F|; all (n,), infinities where unknown."""

    low: Tensor
    high: Tensor
    slope: Tensor
    push: Tensor


def enclosure_of(manifold: Manifold, second_derivative: float | None, *, sampled: bool = False) -> Enclosure:
    """The constraint's own enclosure, one from a given bound on |D^2 F|, or one estimated from the corners of cells (always so where `sampled`)."""
    own = None if sampled else getattr(manifold.constraint, "enclosure", None)
    if second_derivative is not None:
        bound = float(second_derivative)
        given = f"|D^2 F| <= {bound:.4g} in the box, as given"
        return Enclosure(lambda x, radius: (*value_and_jacobian(manifold.value, x), bound * radius), "proved", given)
    if own is not None:
        return Enclosure(own, "proved", f"rounding errors of double precision stay below {ROUNDING:g} of the values")
    return Enclosure(
        _sampled(manifold),
        "heuristic",
        f"J moves in a cell at most {SAFETY:g} times as far as to points a little beyond its corners (sampled)",
    )


def bounds(enclosure: Enclosure, centres: Tensor, side: float) -> Bounds:
    """Bounds on cubes of one `side` about centres (n, D)."""
    if not len(centres):
        return Bounds(*(centres.new_zeros(0) for _ in Bounds._fields))
    parts = [_bounds(enclosure, part, side) for part in centres.split(CHUNK)]
    return Bounds(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def corners(dim: int) -> Tensor:
    """The 2^D corners (2^D, D) of the cube [-1, 1]^D."""
    return torch.tensor(list(itertools.product((-1.0, 1.0), repeat=dim)), dtype=torch.float64)


def _bounds(enclosure: Enclosure, x: Tensor, side: float) -> Bounds:
    dim = x.shape[1]
    rho = side * math.sqrt(dim) / 2
    with torch.no_grad():
        value, jacobian, moved = enclosure.enclose(x, torch.full((len(x),), rho, dtype=x.dtype))
    unknown = ~(torch.isfinite(value).all(-1) & torch.isfinite(jacobian).all((-2, -1)) & torch.isfinite(moved))
    value, jacobian, moved = (torch.where(unknown.reshape(-1, *[1] * (t.ndim - 1)), 0.0, t) for t in (value, jacobian, moved))
    norm, spectrum = value.norm(dim=-1), torch.linalg.svdvals(jacobian) if jacobian.shape[1] > 1 else jacobian.norm(dim=-1)
    rest = rho * moved / 2 + ROUNDING * (norm + rho * spectrum[:, 0])
    at_corners = value.unsqueeze(1) + side / 2 * (corners(dim) @ jacobian.mT)
    pull = (jacobian.mT @ value.unsqueeze(-1)).squeeze(-1)
    low = (norm - side / 2 * pull.abs().sum(-1) / norm.clamp_min(1e-300) - rest).clamp_min(0)
    slack = (spectrum[:, 0] + moved) * (spectrum[:, 0] * rho + rest) + moved * norm
    found = Bounds(low, at_corners.norm(dim=-1).amax(-1) + rest, spectrum[:, -1] - moved, pull.norm(dim=-1) - slack)
    worst = Bounds(*(x.new_full((len(x),), bad) for bad in (0.0, math.inf, -math.inf, -math.inf)))
    return Bounds(*(torch.where(unknown, bad, good) for good, bad in zip(found, worst, strict=True)))


def _sampled(manifold: Manifold) -> Enclose:
    def enclose(x: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dim = x.shape[1]
        value, jacobian = value_and_jacobian(manifold.value, x)
        # beyond the corners, so that a kink along a face of the grid is seen from both sides
        ends = x.unsqueeze(1) + (BEYOND * radius / math.sqrt(dim)).reshape(-1, 1, 1) * corners(dim)
        there = value_and_jacobian(manifold.value, ends.reshape(-1, dim))[1].reshape(len(x), -1, *jacobian.shape[1:])
        return value, jacobian, SAFETY * (there - jacobian.unsqueeze(1)).flatten(2).norm(dim=-1).amax(-1)

    return enclose
