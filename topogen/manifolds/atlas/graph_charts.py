"""Charts: K coordinate maps of patches of a d-dimensional M in R^D, stacked, so that points of many charts are one batch.

Chart k is a smooth map e_k: R^D -> R^d (`encode`) with a right inverse g_k: R^d -> R^D (`decode`), e_k(g_k(z)) = z exactly, on the ball |z| < rho_k.
The image of g_k is the chart's *own sheet*; on it

    J = Dg_k(z),     G = J^t J   (the metric),     sqrt(det G)   (the volume element).

Where M is known otherwise (an implicit manifold), only e_k is used, restricted to M, and g_k is where the search for the point of M with e_k(x) = z begins:
then all charts describe the same set. G and the volume element are exact, by d forward-mode products; no stochastic log-determinants.

`GraphCharts`: x = c_k + T_k z + N_k f_k(z), a tangent frame with a polynomial normal height, e_k(x) = T_k^t (x - c_k).
`BlendedCharts` (`manifolds.atlas.blended_charts`): large patches of a shared sheet, without sheets of their own.
do Carmo (1992), Riemannian Geometry.
"""

from __future__ import annotations

import abc
import copy
import itertools
import math
from typing import cast, final

import torch
from torch import Tensor, nn

from topogen.errors import InvalidInputError
from topogen.geometry.constant_rank import value_and_jacobian
from topogen.geometry.frames import apply, complement

__all__ = ["Charts", "GraphCharts", "derivatives", "fit_heights", "monomials", "powers"]

DEGREE = 3


class Charts(nn.Module, abc.ABC):
    """K charts at once. `chart` (n,) int64 names the chart of each row.

    `centre` (K, D): points at z = 0 (near M); `radius` (K,): rho_k; `extent` (K,): every point of patch k is within extent_k of centre_k. Data units, float64.
    `has_own_sheets`: whether g_k is exact, so that charts can do without a shared sheet.
    """

    has_own_sheets = True
    centre: Tensor
    radius: Tensor
    extent: Tensor

    def __init__(self, centre: Tensor, radius: Tensor, extent: Tensor, dim: int) -> None:
        super().__init__()
        _check_stack(centre, radius, extent, dim)
        self.dim, self.ambient_dim = dim, centre.shape[1]
        for name, value in (("centre", centre), ("radius", radius), ("extent", extent)):
            self.register_buffer(name, value.detach().double())

    @property
    def count(self) -> int:
        """K, the number of charts."""
        return len(self.centre)

    @abc.abstractmethod
    def encode(self, chart: Tensor, x: Tensor) -> Tensor:
        """Coordinates e_k(x) (n, d) of points (n, D); differentiable."""

    @abc.abstractmethod
    def decode(self, chart: Tensor, z: Tensor) -> Tensor:
        """Points g_k(z) (n, D) of the charts' own sheets at coordinates (n, d); differentiable."""

    @abc.abstractmethod
    def subset(self, kept: Tensor) -> Charts:
        """The charts with the numbers `kept` (m,) alone."""

    def reaching(self, extent: Tensor) -> Charts:
        """The same charts, their parameters shared, with another `extent` (K,)."""
        other = copy.copy(self)
        other._buffers = dict(self._buffers) | {"extent": extent.detach().double()}
        return other

    def slope(self, chart: Tensor, x: Tensor) -> Tensor:
        """De_k(x) (n, d, D), by d backward products."""
        return value_and_jacobian(lambda y: self.encode(chart, y), x)[1]

    def jacobian(self, chart: Tensor, z: Tensor) -> Tensor:
        """Dg_k(z) (n, D, d), by d forward products."""
        units = torch.eye(self.dim, dtype=z.dtype, device=z.device)
        columns = [torch.func.jvp(lambda w: self.decode(chart, w), (z,), (unit.expand_as(z),))[1] for unit in units]
        return torch.stack(columns, -1)

    def acceleration(self, chart: Tensor, z: Tensor, v: Tensor) -> Tensor:
        """D^2 g_k(z)[v, v] (n, D) for directions v (n, d), by two forward products."""

        def velocity(w: Tensor) -> Tensor:
            return torch.func.jvp(lambda y: self.decode(chart, y), (w,), (v,))[1]

        return cast(Tensor, torch.func.jvp(velocity, (z,), (v,))[1])

    def bend(self, chart: Tensor, z: Tensor, normal: Tensor) -> Tensor:
        """<normal, D^2 g_k(z)> (n, d, d) for vectors `normal` (n, D), by forward products of the Jacobian."""
        units = torch.eye(self.dim, dtype=z.dtype, device=z.device)
        turns = [torch.func.jvp(lambda w: self.jacobian(chart, w), (z,), (unit.expand_as(z),))[1] for unit in units]
        return torch.stack([apply(turn.mT, normal) for turn in turns], 1)

    def metric(self, chart: Tensor, z: Tensor) -> Tensor:
        """G = J^t J (n, d, d) of the own sheets."""
        slope = self.jacobian(chart, z)
        return slope.mT @ slope

    def log_volume(self, chart: Tensor, z: Tensor) -> Tensor:
        """log sqrt(det G) (n,) of the own sheets, from the Cholesky factor of G."""
        return torch.linalg.cholesky(self.metric(chart, z)).diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def offset(self, chart: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """|x - g_k(z)| (n,): how far points are from the chart's own sheet, when z = e_k(x)."""
        return (x - self.decode(chart, z)).norm(dim=-1)

    def extra_repr(self) -> str:
        """`count=K, dim=d, ambient_dim=D`."""
        return f"count={self.count}, dim={self.dim}, ambient_dim={self.ambient_dim}"


@final
class GraphCharts(Charts):
    """x = c + T z + N f(z), f a polynomial of total degree p in z / rho; e(x) = T^t (x - c) is its exact inverse.

    Args:
        centre: c (K, D); tangent: T (K, D, d) orthonormal; radius: rho (K,); extent (K,), sqrt(2) rho when None.
        heights: coefficients (K, D - d, q) of f for the q monomials of `monomials(d, p)`; None for the tangent planes themselves.
        degree: p.

    Raises InvalidInputError for shapes that do not agree.
    """

    tangent: Tensor
    normal: Tensor
    heights: Tensor

    def __init__(
        self, centre: Tensor, tangent: Tensor, radius: Tensor, *, extent: Tensor | None = None, heights: Tensor | None = None, degree: int = DEGREE
    ) -> None:
        if tangent.ndim != 3 or tangent.shape[:2] != centre.shape:
            raise InvalidInputError(f"tangent: expected frames (K, D, d) for centres {tuple(centre.shape)}, found {tuple(tangent.shape)}")
        dim = tangent.shape[-1]
        super().__init__(centre, radius, radius * 2**0.5 if extent is None else extent, dim)
        exponents = monomials(dim, degree)
        shape = (len(centre), centre.shape[1] - dim, len(exponents))
        heights = torch.zeros(shape) if heights is None else heights
        if heights.shape != shape:
            raise InvalidInputError(f"heights: expected coefficients {shape} for degree {degree}, found {tuple(heights.shape)}")
        self.degree, self._exponents = degree, exponents
        self.register_buffer("tangent", tangent.detach().double())
        self.register_buffer("normal", complement(tangent.detach().double()))
        self.register_buffer("heights", heights.detach().double())

    def encode(self, chart: Tensor, x: Tensor) -> Tensor:
        """T^t (x - c)."""
        return apply(self.tangent[chart].mT, x - self.centre[chart])

    def decode(self, chart: Tensor, z: Tensor) -> Tensor:
        """c + T z + N f(z)."""
        return self.centre[chart] + apply(self.tangent[chart], z) + apply(self.normal[chart], self.rise(chart, z))

    def rise(self, chart: Tensor, z: Tensor) -> Tensor:
        """f(z) (n, D - d)."""
        return apply(self.heights[chart], powers(z / self.radius[chart, None], self._exponents))

    def rise_slope(self, chart: Tensor, z: Tensor) -> Tensor:
        """Df(z) (n, D - d, d), in closed form."""
        rho = self.radius[chart, None]
        partial = torch.stack([powers(z / rho, self._exponents, order) for order in _units(self.dim)], -1)
        return self.heights[chart] @ partial / rho.unsqueeze(-1)

    def rise_bend(self, chart: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        """sum_k weight_k D^2 f_k(z) (n, d, d) for weights (n, D - d), in closed form."""
        rho = self.radius[chart, None]
        heights = apply(self.heights[chart].mT, weight) / rho.square()
        units = _units(self.dim)
        bends = {order: (heights * powers(z / rho, self._exponents, order)).sum(1) for order in {_sum(a, b) for a in units for b in units}}
        return torch.stack([torch.stack([bends[_sum(a, b)] for b in units], -1) for a in units], -2)

    def slope(self, chart: Tensor, x: Tensor) -> Tensor:
        """T^t."""
        return self.tangent[chart].mT

    def jacobian(self, chart: Tensor, z: Tensor) -> Tensor:
        """T + N Df(z), in closed form."""
        return self.tangent[chart] + self.normal[chart] @ self.rise_slope(chart, z)

    def bend(self, chart: Tensor, z: Tensor, normal: Tensor) -> Tensor:
        """<N^t normal, D^2 f(z)>, in closed form."""
        return self.rise_bend(chart, z, apply(self.normal[chart].mT, normal))

    def hessian(self, chart: Tensor, z: Tensor) -> Tensor:
        """D^2 f(z) (n, D - d, d, d), in closed form."""
        rho = self.radius[chart, None]
        heights = self.heights[chart] / rho.square().unsqueeze(-1)
        units = _units(self.dim)
        turns = {order: apply(heights, powers(z / rho, self._exponents, order)) for order in {_sum(a, b) for a in units for b in units}}
        return torch.stack([torch.stack([turns[_sum(a, b)] for b in units], -1) for a in units], -2)

    def subset(self, kept: Tensor) -> GraphCharts:
        """The charts with the numbers `kept` (m,) alone."""
        return GraphCharts(self.centre[kept], self.tangent[kept], self.radius[kept], extent=self.extent[kept], heights=self.heights[kept], degree=self.degree)


def monomials(dim: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """Exponents of the monomials of d variables up to a total degree, by rising degree."""
    every = itertools.product(range(degree + 1), repeat=dim)
    return tuple(sorted((e for e in every if sum(e) <= degree), key=lambda e: (sum(e), e)))


def derivatives(dim: int, degree: int) -> Tensor:
    """D (d, q, q) with d m_a / d z_i = sum_b D_iab m_b for the monomials m of `monomials(d, p)`."""
    exponents = monomials(dim, degree)
    place = {exponent: number for number, exponent in enumerate(exponents)}
    matrix = torch.zeros(dim, len(exponents), len(exponents), dtype=torch.float64)
    for number, exponent in enumerate(exponents):
        for i, power in enumerate(exponent):
            if power:
                matrix[i, number, place[(*exponent[:i], power - 1, *exponent[i + 1 :])]] = power
    return matrix


def fit_heights(charts: GraphCharts, chart: Tensor, x: Tensor, ridge: float = 1e-9) -> GraphCharts:
    """The same charts with heights of least squares over points x (n, D), row i belonging to chart[i]; charts without points keep theirs.

    The normal equations of all charts are solved as one batch, with a ridge relative to their trace.
    """
    z, rise = charts.encode(chart, x), apply(charts.normal[chart].mT, x - charts.centre[chart])
    basis = powers(z / charts.radius[chart, None], charts._exponents)
    terms = basis.shape[1]
    gram = x.new_zeros(charts.count, terms, terms).index_add_(0, chart, basis.unsqueeze(2) * basis.unsqueeze(1))
    right = x.new_zeros(charts.count, terms, rise.shape[1]).index_add_(0, chart, basis.unsqueeze(2) * rise.unsqueeze(1))
    weight = ridge * gram.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1e-300)
    solution = torch.linalg.solve(gram + weight[:, None, None] * torch.eye(terms, dtype=x.dtype), right).mT
    known = torch.zeros(charts.count, dtype=torch.bool).index_fill_(0, chart, True)
    heights = torch.where(known[:, None, None], solution, charts.heights)
    return GraphCharts(charts.centre, charts.tangent, charts.radius, extent=charts.extent, heights=heights, degree=charts.degree)


def powers(z: Tensor, exponents: tuple[tuple[int, ...], ...], order: tuple[int, ...] | None = None) -> Tensor:
    """Monomials (n, q) of z (n, d), or their partial derivatives of the given order in each variable; by repeated products, which differentiate safely at 0."""
    if order is None:
        return _monomial_values(z, exponents)
    ladder = [torch.ones_like(z)]
    for _ in range(max(map(max, exponents), default=0)):
        ladder.append(ladder[-1] * z)
    return torch.stack([_derived(ladder, exponent, order) for exponent in exponents], -1)


def _monomial_values(z: Tensor, exponents: tuple[tuple[int, ...], ...]) -> Tensor:
    """Each monomial is one of lower degree times one variable."""
    columns = z.unbind(1)
    found = {(0,) * z.shape[1]: torch.ones_like(columns[0])}

    def value(exponent: tuple[int, ...]) -> Tensor:
        if exponent not in found:
            i = next(i for i, e in enumerate(exponent) if e)
            found[exponent] = value((*exponent[:i], exponent[i] - 1, *exponent[i + 1 :])) * columns[i]
        return found[exponent]

    return torch.stack([value(exponent) for exponent in exponents], -1)


def _derived(ladder: list[Tensor], exponent: tuple[int, ...], order: tuple[int, ...]) -> Tensor:
    """prod_i d^a_i / dz_i^a_i z_i^e_i (n,), from the powers of z."""
    column = torch.ones_like(ladder[0][:, 0])
    for i, (e, a) in enumerate(zip(exponent, order, strict=True)):
        column = column * (math.perm(e, a) * ladder[e - a][:, i]) if e >= a else torch.zeros_like(column)
    return column


def _units(dim: int) -> list[tuple[int, ...]]:
    """The orders of first partial derivatives."""
    return [tuple(int(i == j) for j in range(dim)) for i in range(dim)]


def _sum(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(i + j for i, j in zip(a, b, strict=True))


def _check_stack(centre: Tensor, radius: Tensor, extent: Tensor, dim: int) -> None:
    if centre.ndim != 2 or not len(centre) or not 0 < dim < centre.shape[1]:
        raise InvalidInputError(f"centre: expected K >= 1 points (K, D) with D > d = {dim}, found {tuple(centre.shape)}")
    for name, value in (("radius", radius), ("extent", extent)):
        if value.shape != centre.shape[:1] or not bool((value > 0).all()) or not bool(torch.isfinite(value).all()):
            raise InvalidInputError(f"{name}: expected {len(centre)} positive numbers, one for each chart, found shape {tuple(value.shape)}")
