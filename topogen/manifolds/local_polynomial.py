"""`LocalPolynomialManifold`: a fast stand-in for a manifold that is slow to project to, made from many points of it.

Around each of n points c_i of M with tangents T_i and normals N_i lies a sheet over its neighbours,

    g_i(z) = c_i + T_i z + N_i f_i(z),     f_i a cubic of least squares,

whose distance from M falls with the fourth power of the spacing of the points (a learned surface with 20,000 points: about 1e-5 of its diameter). A point
is projected to the sheet of the nearest c_i, by one step of Gauss-Newton from z = T_i^t (x - c_i); tangents and curvature are those of the sheet. No network
and no factorisation is evaluated, so Brownian paths and the training of fields on M cost as much as on a sphere, whatever M is.
Cazals, Pouget (2005), Estimating differential quantities using polynomial fitting of osculating jets.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import Tree, local_pca, nearest
from topogen.geometry.derivatives import CURVATURE, FRAMES, searched, underived
from topogen.geometry.projection import Projection
from topogen.manifolds.atlas.graph_charts import GraphCharts, fit_heights
from topogen.manifolds.base import Manifold

__all__ = ["LocalPolynomialManifold", "fit_local_polynomials"]

LARGEST_DIMENSION = 3
NEIGHBOURS = {1: 8, 2: 20, 3: 40}
_REACHED = 1.5
# Coordinates beyond which the search tree is not asked: their squares overflow.
_FARTHEST = 1e150


class LocalPolynomialManifold(Manifold):
    """The union of `sheets`, one around each of many points of M; a point belongs to the sheet of its nearest centre.

    `error` (data units): how far the sheets are from the points that their neighbours tell of, the median over the centres.
    A projection counts as converged when it ends within the sheet's radius of the centre.
    """

    name = "local polynomial"

    def __init__(self, sheets: GraphCharts, error: float = 0.0) -> None:
        super().__init__(sheets.dim, sheets.ambient_dim)
        self.sheets, self.error = sheets, error
        self._tree, self._mark = Tree(sheets.centre), _mark(sheets.centre)

    @property
    def points(self) -> Tensor:
        """The centres (n, D), points of M."""
        return self.sheets.centre

    def known_points(self) -> Tensor:
        """The centres (n, D)."""
        return self.points

    @property
    def unit(self) -> float:
        """The median radius of a sheet."""
        return float(self.sheets.radius.median())

    def labels(self, x: Tensor) -> Tensor:
        """The nearest centre (n,) of points (n, D)."""
        centre = self.sheets.centre
        if _mark(centre) != self._mark:
            self._tree, self._mark = Tree(centre), _mark(centre)
        tree = self._tree
        return searched(x, lambda y: (tree.nearest(y.clamp(-_FARTHEST, _FARTHEST), 1)[1][:, 0],))[0]

    def _project(self, x: Tensor) -> Projection:
        y = x.double()
        chart = self.labels(y)
        z = self._foot(chart, y)
        points = self.sheets.decode(chart, z)
        inside = z.detach().norm(dim=-1) <= self.sheets.radius[chart]
        zeros = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        return Projection(points.to(x.dtype), zeros, inside, torch.ones(len(x), dtype=torch.int64, device=x.device))

    def _tangent_basis(self, x: Tensor) -> Tensor:
        y = x.detach().double()
        chart = self.labels(y)
        return underived(self._basis(chart, self.sheets.encode(chart, y)).to(x.dtype), x, FRAMES)

    def _mean_curvature(self, x: Tensor) -> Tensor:
        return underived(self._second_form(x).diagonal(dim1=-2, dim2=-1).sum(-1), x, CURVATURE)

    def _second_form(self, x: Tensor) -> Tensor:
        return self.tangent_and_second_form(x.detach().double())[1].to(x.dtype)

    def tangent_and_mean_curvature(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tangent bases (n, D, d) and mean curvature vectors (n, D) from one search, at points (n, D) float64."""
        basis, form = self.tangent_and_second_form(x)
        return basis, form.diagonal(dim1=-2, dim2=-1).sum(-1)

    @torch.no_grad()
    def tangent_and_second_form(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tangent bases (n, D, d) and second fundamental forms (n, D, d, d) from one search, at points (n, D) float64."""
        chart = self.labels(x)
        z = self.sheets.encode(chart, x)
        basis, inverse = _gram_schmidt(self.sheets.jacobian(chart, z))
        turned = inverse.mT.unsqueeze(1) @ self.sheets.hessian(chart, z) @ inverse.unsqueeze(1)
        form = torch.einsum("nDk,nkab->nDab", self.sheets.normal[chart], turned)
        return basis, form - torch.einsum("nDi,nEi,nEab->nDab", basis, basis, form)

    def _basis(self, chart: Tensor, z: Tensor) -> Tensor:
        return _gram_schmidt(self.sheets.jacobian(chart, z))[0]

    def _foot(self, chart: Tensor, y: Tensor) -> Tensor:
        z = self.sheets.encode(chart, y)
        basis, inverse = _gram_schmidt(self.sheets.jacobian(chart, z))
        missed = y - self.sheets.decode(chart, z)
        return z + (inverse @ (basis.mT @ missed.unsqueeze(-1))).squeeze(-1)


def _mark(centre: Tensor) -> tuple[int, int]:
    """What changes when the values of a tensor do."""
    return centre.data_ptr(), centre._version


def fit_local_polynomials(points: Tensor, dim: int) -> LocalPolynomialManifold:
    """Sheets around points (n, D) of M, d = `dim`, each fitted to the nearest other points (8, 20, 40 in dimension 1, 2, 3).

    Raises InvalidInputError for d > 3, where too many points would be needed, and for fewer points than a sheet is fitted to.
    """
    if not 0 < dim <= LARGEST_DIMENSION:
        raise InvalidInputError(f"dim: sheets are tabulated up to dimension {LARGEST_DIMENSION}, found {dim}; use the manifold itself")
    k = NEIGHBOURS[dim]
    if points.ndim != 2 or len(points) <= k:
        raise InvalidInputError(f"points: {tuple(points.shape)} are too few, a sheet of dimension {dim} is fitted to {k} neighbours of each")
    points = points.detach().double()
    distance, index = nearest(points, k)
    tangent = local_pca(points, index).frames[..., :dim]
    bare = GraphCharts(points, tangent, _REACHED * distance[:, -1])
    chart, ends = torch.arange(len(points)).repeat_interleave(k), points[index].flatten(0, 1)
    fitted = fit_heights(bare, chart, ends, ridge=1e-12)
    return LocalPolynomialManifold(fitted, float(fitted.offset(chart, ends, fitted.encode(chart, ends)).median()))


def _gram_schmidt(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Q (n, D, d) orthonormal and R^-1 (n, d, d) with J R^-1 = Q for J (n, D, d); written out over the few columns, as a factorisation per matrix is slow."""
    found: list[Tensor] = []
    inverse: list[Tensor] = []
    unit = torch.eye(columns.shape[-1], dtype=columns.dtype, device=columns.device)
    for i in range(columns.shape[-1]):
        v, row = columns[..., i], unit[i]
        for q, known in zip(found, inverse, strict=True):
            share = (q * columns[..., i]).sum(-1, keepdim=True)
            v, row = v - share * q, row - share * known
        length = v.norm(dim=-1, keepdim=True)
        found.append(v / length)
        inverse.append(row / length)
    return torch.stack(found, -1), torch.stack(inverse, -1)
