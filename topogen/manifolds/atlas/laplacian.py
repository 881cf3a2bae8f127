"""Eigenfunctions of the Laplace-Beltrami operator, by Galerkin's method on a partition of unity.

With an atlas, its partition of unity r_k and monomials q_m of degree up to p in z_k / rho_k, the functions

    phi_km(x) = r_k(x) q_m(e_k(x) / rho_k)

span all polynomials of that degree in every chart and are smooth on M. With tangent bases T,

    S_ab = int <T^t grad phi_a, T^t grad phi_b> dvol / vol,      B_ab = int phi_a phi_b dvol / vol,      S u = lambda B u

gives eigenvalues lambda of -Laplace (data units to the power -2) and eigenfunctions u(x) with mean square 1 over M. The integrals are those of `quadrature`.
The functions overlap, so B is nearly singular; its eigenvectors below 1e-9 of the largest are left out.
Babuska, Melenk (1997), The partition of unity method; Chavel (1984), Eigenvalues in Riemannian geometry.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.atlas.atlas import Atlas, bump
from topogen.manifolds.atlas.graph_charts import monomials, powers
from topogen.manifolds.atlas.quadrature import ORDER, quadrature

__all__ = ["Spectrum", "eigenfunctions"]

SINGULAR = 1e-9
_ROWS = 2000


@dataclass(frozen=True)
class Spectrum:
    """The lowest eigenvalues `values` (k,), ascending, of -Laplace on `atlas`, and `coefficients` (K q, k) of the eigenfunctions."""

    atlas: Atlas
    degree: int
    values: Tensor
    coefficients: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Eigenfunctions (n, k) at points (n, D) of M; zero where no chart holds the point."""
        return torch.cat([_basis(self.atlas, part, self.degree)[0] @ self.coefficients for part in x.double().split(_ROWS)]).to(x.dtype)


def eigenfunctions(atlas: Atlas, count: int, *, degree: int = 2, order: int = ORDER) -> Spectrum:
    """The first `count` eigenfunctions; the constants, one for each component, come first. `order` is that of the quadrature.

    Raises InvalidInputError for a count below 1 or above what the functions span, NotSupportedError above dimension 3.
    """
    if count < 1:
        raise InvalidInputError(f"count: expected at least 1 eigenfunction, found {count}")
    nodes = quadrature(atlas, order)
    size = atlas.count * len(monomials(atlas.dim, degree))
    mass, stiffness = (torch.zeros(size, size, dtype=torch.float64) for _ in range(2))
    for x, weight in zip(nodes.points.split(_ROWS), nodes.weights.split(_ROWS), strict=True):
        value, slopes = _basis(atlas, x, degree, atlas.tangent_basis(x))
        share = (weight / nodes.weights.sum()).unsqueeze(-1)
        mass += value.T @ (share * value)
        for slope in slopes:
            stiffness += slope.T @ (share * slope)
    scale, axes = torch.linalg.eigh(mass)
    kept = scale > SINGULAR * scale[-1]
    if int(kept.sum()) < count:
        raise InvalidInputError(f"count: {count} eigenfunctions of {int(kept.sum())} independent functions; give a finer atlas or a higher degree")
    whiten = axes[:, kept] / scale[kept].sqrt()
    values, vectors = torch.linalg.eigh(whiten.T @ stiffness @ whiten)
    return Spectrum(atlas, degree, values[:count].clamp_min(0), whiten @ vectors[:, :count])


def _basis(atlas: Atlas, x: Tensor, degree: int, tangent: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
    """phi (n, K q) at points (n, D), and its derivatives along each column of the tangent bases (n, D, d)."""
    charts, held = atlas.charts, atlas.members(x)
    exponents = monomials(atlas.dim, degree)

    def functions(y: Tensor) -> Tensor:
        z = charts.encode(held.chart, y[held.row]) / charts.radius[held.chart, None]
        # The square root of |z|^2 has no derivative at 0, and bump is a function of |z|^2.
        weight = bump((z.square().sum(-1) + 1e-30).sqrt())
        total = torch.zeros_like(y[:, 0]).index_add(0, held.row, weight)
        return (weight / total[held.row]).unsqueeze(-1) * powers(z, exponents)

    value = _placed(functions(x), held.row, held.chart, len(x), atlas.count)
    if tangent is None:
        return value, []
    slopes = [torch.func.jvp(functions, (x,), (tangent[..., i],))[1] for i in range(atlas.dim)]
    return value, [_placed(slope, held.row, held.chart, len(x), atlas.count) for slope in slopes]


def _placed(entries: Tensor, row: Tensor, chart: Tensor, n: int, count: int) -> Tensor:
    """Entries (m, q) of pairs as a table (n, K q)."""
    table = entries.new_zeros(n, count, entries.shape[-1])
    table[row, chart] = entries
    return table.flatten(1)
