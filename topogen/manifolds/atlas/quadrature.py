"""Integrals over an atlas by a partition of unity and Gauss points in the balls of its charts: deterministic, no samples.

    int_M f dvol  =  sum_k int_{|z| < rho_k}  r_k(x) f(x) sqrt(det G_k(z)) dz  ~  sum_i w_i f(x_i),      x = g_k(z) ,

with Gauss-Legendre points in the radius (and in the cosine of the polar angle, d = 3) and even ones in the angle, which are exact for polynomials. The
integrand is smooth and vanishes with all derivatives at the rims, so the error falls faster than any power of the order, until it meets the tolerance of
the atlas. Where M ends inside a chart (a gate) it falls only like the spacing of the points.
Golub, Welsch (1969), Calculation of Gauss quadrature rules; Lee (2013), Introduction to Smooth Manifolds (integration by partition of unity).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.manifolds.atlas.atlas import Atlas

__all__ = ["Quadrature", "quadrature"]

ORDER = 8


class Quadrature(NamedTuple):
    """Points (m, D) of M and weights (m,) >= 0 for the volume measure; the weights add up to the volume."""

    points: Tensor
    weights: Tensor

    def integrate(self, values: Tensor) -> Tensor:
        """int_M f dvol (...) from the values (m, ...) of f at the points."""
        return torch.tensordot(self.weights, values.double(), dims=1)


def quadrature(atlas: Atlas, order: int = ORDER) -> Quadrature:
    """Quadrature on an atlas, order^d or 2 order^d points in each chart; those with weight 0 are left out.

    Raises NotSupportedError above dimension 3, InvalidInputError for an order below 2.
    """
    if order < 2:
        raise InvalidInputError(f"order: expected at least 2, found {order}")
    node, weight = _ball(atlas.dim, order)
    count = atlas.count
    chart = torch.arange(count).repeat_interleave(len(node))
    radius = atlas.charts.radius
    x, found = atlas.decode(chart, (radius[:, None, None] * node).reshape(-1, atlas.dim))
    scaled = (radius[:, None] ** atlas.dim * weight).reshape(-1)[found]
    x, chart = x[found], chart[found]
    share = _own_share(atlas, x, chart)
    some = share > 0
    x, chart = x[some], chart[some]
    return Quadrature(x, scaled[some] * share[some] / atlas.stretch(chart, x).abs())


def _own_share(atlas: Atlas, x: Tensor, chart: Tensor) -> Tensor:
    """r_k(x) (m,) of the chart that each point came from."""
    held = atlas.members(x)
    own = held.chart == chart[held.row]
    share = x.new_zeros(len(x))
    share[held.row[own]] = atlas.shares(held, len(x))[own]
    return share


def _ball(dim: int, order: int) -> tuple[Tensor, Tensor]:
    """Points (m, d) in the unit ball and weights (m,) for Lebesgue measure."""
    level, weight = _legendre(order)
    if dim == 1:
        return level.unsqueeze(1), weight
    angle = torch.arange(2 * order, dtype=torch.float64) * (math.pi / order)
    circle = torch.stack([angle.cos(), angle.sin()], -1)
    radius, radial = (1 + level) / 2, weight / 2
    if dim == 2:
        return (radius[:, None, None] * circle).reshape(-1, 2), (radial * radius).repeat_interleave(2 * order) * (math.pi / order)
    if dim == 3:
        flat = (1 - level.square()).sqrt()[:, None, None] * circle
        sphere = torch.cat([flat, level[:, None, None].expand(order, 2 * order, 1)], -1).reshape(-1, 3)
        area = weight.repeat_interleave(2 * order) * (math.pi / order)
        return (radius[:, None, None] * sphere).reshape(-1, 3), (radial * radius.square())[:, None].mul(area).reshape(-1)
    raise NotSupportedError(f"quadrature: made for dimensions 1 to 3, found {dim}; use Uniform(atlas) and means over samples")


def _legendre(order: int) -> tuple[Tensor, Tensor]:
    """Points and weights (n,) on [-1, 1]."""
    import numpy as np

    level, weight = np.polynomial.legendre.leggauss(order)
    return torch.from_numpy(level), torch.from_numpy(weight)
