"""A constraint from local polynomials: sheets of least squares around points of a net, blended smoothly, nothing trained.

With y = B^t (x - m) the coordinates in the affine hull of the data, B' its complement; around each centre c_i, with tangents T_i and normals N_i, lies a sheet
z -> c_i + T_i z + N_i f_i(z), and its weight ends on an ellipsoid, R_i wide along the sheet and H_i <= R_i high, so that it ends before another sheet of M:

    v_i(y) = N_i (N_i^t (y - c_i) - f_i(T_i^t (y - c_i)))          how far y is off sheet i, along its normals
    w_i(y) = (1 - |T_i^t (y - c_i)|^2 / R_i^2 - |N_i^t (y - c_i)|^2 / H_i^2)_+^4          of class C^3
    G(y)   = sum_i w_i(y) v_i(y) / sum_i w_i(y),      F(x) = B G(y) + B' B'^t (x - m)

F has D outputs and is of rank D - d up to how far the sheets turn against each other within a support. F is nearly the normal displacement itself, so
x - F(x) is nearly the closest point and needs no Jacobian. The zero set is read by `local_section.LocalSection`, through

    A(y) = sum_i w_i N_i N_i^t / sum_i w_i ,      M = {Q^t G = 0},  Q the D - d leading eigenvectors of A.

A point in no support is compared with the nearest sheet alone: G(y) = y - p, p the point of that sheet over the coordinates of y, cut off so that p is in the
support: there are no zeros outside of the supports.
Levin (2003), Mesh-independent surface interpolation; Fefferman, Ivanov, Kurylev, Lassas, Narayanan (2018), Fitting a putative manifold to noisy data;
Aizenbud, Sober (2021), Non-parametric estimation of manifolds from noisy data.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import Tree, pairs_within
from topogen.geometry.derivatives import searched
from topogen.geometry.frames import apply, complement
from topogen.manifolds.atlas.graph_charts import GraphCharts, derivatives, monomials, powers

__all__ = ["Blend", "LocalPolynomialConstraint"]

POWER = 4


class Blend(NamedTuple):
    """What n points in hull coordinates have in common with the sheets whose supports hold them, as p pairs of a point and a sheet.

    `row`, `sheet` (p,); `frame` (T, N) of the sheet (p, h, h); `basis` monomials of z / rho, z = T^t (y - c) (p, q); `height` N^t (y - c) - f(z) (p, r);
    `tilt` Df(z) (p, r, d); `weight` w / sum w (p,) and `slope` Dw / sum w (p, h); `value` G (n, h).
    A point in no support makes a pair with the nearest sheet, of weight 1 and slope 0.
    """

    row: Tensor
    sheet: Tensor
    frame: Tensor
    basis: Tensor
    height: Tensor
    tilt: Tensor
    weight: Tensor
    slope: Tensor
    value: Tensor

    @property
    def normal(self) -> Tensor:
        """N (p, h, r)."""
        return self.frame[..., self.tilt.shape[2] :]

    def gathered(self, terms: Tensor) -> Tensor:
        """Sums (n, ...) over the pairs of each point of terms (p, ...)."""
        return terms.new_zeros(len(self.value), *terms.shape[1:]).index_add_(0, self.row, terms)


class LocalPolynomialConstraint(nn.Module):
    """F: R^D -> R^D from sheets g_i(z) = c_i + T_i z + N_i f_i(z) (`charts`, in coordinates of the hull) with supports R_i (`support`, (K,)) and H_i
    (`thickness`, (K,), R_i when None).

    `mean` (D,), `hull` (D, h) orthonormal: m and B; the whole space when None. Values and Jacobians are closed forms; rows do not interact.
    Raises InvalidInputError for supports that are not positive and a hull that does not fit.
    """

    support: Tensor
    thickness: Tensor
    mean: Tensor
    hull: Tensor
    outside: Tensor
    _frame: Tensor
    _heights: Tensor
    _narrowing: Tensor
    _twice: Tensor

    def __init__(
        self, charts: GraphCharts, support: Tensor, thickness: Tensor | None = None, *, mean: Tensor | None = None, hull: Tensor | None = None
    ) -> None:
        super().__init__()
        inner = charts.ambient_dim
        thickness = support if thickness is None else thickness
        for name, length in (("support", support), ("thickness", thickness)):
            if length.shape != (charts.count,) or not bool((length > 0).all()) or not bool(torch.isfinite(length).all()):
                raise InvalidInputError(f"{name}: expected {charts.count} positive numbers, one for each sheet, found shape {tuple(length.shape)}")
        hull = torch.eye(inner, dtype=torch.float64) if hull is None else hull
        mean = torch.zeros(len(hull), dtype=torch.float64) if mean is None else mean
        if hull.shape != (len(mean), inner):
            raise InvalidInputError(f"hull: expected a frame {(len(mean), inner)} of the space of the sheets, found {tuple(hull.shape)}")
        self.charts = charts
        for name, value in (("support", support), ("thickness", thickness), ("mean", mean), ("hull", hull)):
            self.register_buffer(name, value.detach().double())
        self.register_buffer("outside", complement(self.hull))
        self.dim, self.ambient_dim, self.inner_dim = charts.dim, len(mean), inner
        self._tabulate()
        self._tree: Tree | None = None

    @property
    def codim(self) -> int:
        """h - d, the number of normals inside of the hull."""
        return self.inner_dim - self.dim

    def inner(self, x: Tensor) -> Tensor:
        """Hull coordinates B^t (x - m) (n, h)."""
        return (x - self.mean) @ self.hull

    def outer(self, y: Tensor) -> Tensor:
        """The points m + B y (n, D) of the hull."""
        return self.mean + y @ self.hull.mT

    def covered(self, x: Tensor) -> Tensor:
        """Mask (n,) of the points x (n, D) whose foot in the hull some support holds."""
        held = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        held[self._pairs(self.inner(x.detach().double()))[0]] = True
        return held

    def forward(self, x: Tensor) -> Tensor:
        """F (n, D), differentiable."""
        value = self.blend(self.inner(x.to(self.mean.dtype))).value @ self.hull.mT
        if self.outside.shape[1]:
            value = value + (x.to(self.mean.dtype) - self.mean) @ self.outside @ self.outside.mT
        return value.to(x.dtype)

    def gradient(self, x: Tensor) -> Tensor:
        """F itself (n, D), which is J^t F up to how far J J^t is from the identity: a first-order step needs no Jacobian."""
        with torch.no_grad():
            value: Tensor = self(x)
            return value

    @torch.no_grad()
    def value_and_jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """F (n, D) and J (n, D, D): DG = sum_i (w_i Dv_i + (v_i - G) Dw_i) / sum_i w_i; in no support, N N^t of the nearest sheet."""
        at = self.blend(self.inner(x))
        change = at.weight[:, None, None] * (at.normal @ self.rises(at))
        change += (apply(at.normal, at.height) - at.value[at.row]).unsqueeze(2) * at.slope.unsqueeze(1)
        rows = self.hull @ at.gathered(change) @ self.hull.mT + self.outside @ self.outside.mT
        return at.value @ self.hull.mT + (x - self.mean) @ self.outside @ self.outside.mT, rows

    def blend(self, y: Tensor) -> Blend:
        """The pairs of points y (n, h) with sheets, and G; differentiable in y."""
        row, sheet = self._pairs(y)
        frame, offset = self._frame[sheet], y[row] - self.charts.centre[sheet]
        local = apply(frame.mT, offset)
        weight, slope = self._weights(sheet, frame, local)
        total = y.new_zeros(len(y)).index_add(0, row, weight)
        held = total.detach() > 0
        if not bool(held.all()):
            return self._with_nearest(y, held, (row, sheet, frame, local), (weight, slope, total))
        return self._blended(y, row, sheet, frame, local, weight / total[row], slope / total[row, None])

    def _weights(self, sheet: Tensor, frame: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """w (p,) and its gradient (p, h) at offsets `local` (p, h) in the frames of the sheets."""
        scaled = local * self._narrowing[sheet]
        bump = (1 - (local * scaled).sum(1)).clamp_min(0)
        cube = bump * bump * bump
        return cube * bump, apply(frame, (-2 * POWER * cube).unsqueeze(1) * scaled)

    def _blended(self, y: Tensor, row: Tensor, sheet: Tensor, frame: Tensor, local: Tensor, weight: Tensor, slope: Tensor) -> Blend:
        z, up = local[:, : self.dim], local[:, self.dim :]
        basis = powers(z / self.charts.radius[sheet, None], self._exponents)
        rise = apply(self._heights[sheet], basis).view(len(up), self.codim, self.dim + 1)
        height = up - rise[..., 0]
        value = torch.zeros_like(y).index_add(0, row, apply(frame[..., self.dim :], weight.unsqueeze(1) * height))
        return Blend(row, sheet, frame, basis, height, rise[..., 1:], weight, slope, value)

    def _with_nearest(self, y: Tensor, held: Tensor, pairs: tuple[Tensor, ...], weights: tuple[Tensor, ...]) -> Blend:
        """The blend where the points that are not `held` (n,) by a support are compared with the nearest sheet."""
        alone, kept = (~held).nonzero().squeeze(1), held[pairs[0]]
        row, sheet, frame, local = (part[kept] for part in pairs)
        weight, slope = (part[kept] for part in weights[:2])
        total = weights[2][row]
        nearest = self._nearest(y[alone])
        away = apply(self._frame[nearest].mT, y[alone] - self.charts.centre[nearest])
        reached = 0.5 * torch.minimum(self.charts.radius[nearest], self.support[nearest]).unsqueeze(1)
        z = away[:, : self.dim]
        z = z * (reached / z.norm(dim=1, keepdim=True).clamp_min(1e-300)).clamp(max=1.0)
        joined = (
            (row, alone), (sheet, nearest), (frame, self._frame[nearest]), (local, torch.cat([z, away[:, self.dim :]], 1)),
            (weight / total, torch.ones_like(away[:, 0])), (slope / total[:, None], 0 * away),
        )  # fmt: skip
        found = self._blended(y, *(torch.cat(parts) for parts in joined))
        return found._replace(value=found.value.index_copy(0, alone, y[alone] - self.charts.decode(nearest, z)))

    def rises(self, at: Blend) -> Tensor:
        """The derivative N^t - Df T^t (p, r, h) of the heights."""
        return at.normal.mT - at.tilt @ at.frame[..., : self.dim].mT

    def bends(self, at: Blend, weight: Tensor) -> Tensor:
        """sum_k weight_k D^2 f_k (p, d, d) for weights (p, r)."""
        heights = apply(self.charts.heights[at.sheet].mT, weight) / self.charts.radius[at.sheet, None].square()
        return ((heights @ self._twice).view(len(heights), self.dim**2, -1) @ at.basis.unsqueeze(2)).view(-1, self.dim, self.dim)

    def _tabulate(self) -> None:
        """What all calls share: frames (T, N), coefficients of f and its partial derivatives, squared inverse half axes of the supports; in no file."""
        charts, d = self.charts, self.charts.dim
        once = derivatives(d, charts.degree)
        scaled = torch.einsum("krq,dqp->krdp", charts.heights, once) / charts.radius[:, None, None, None]
        wide, high = self.support.square().reciprocal(), self.thickness.square().reciprocal()
        twice = (once.unsqueeze(1) @ once.unsqueeze(0)).permute(2, 0, 1, 3).flatten(1)
        tables = {
            "_frame": torch.cat([charts.tangent, charts.normal], 2),
            "_heights": torch.cat([charts.heights.unsqueeze(2), scaled], 2).flatten(1, 2),
            "_narrowing": torch.cat([wide[:, None].expand(-1, d), high[:, None].expand(-1, self.codim)], 1),
            "_twice": twice,
        }
        for name, table in tables.items():
            self.register_buffer(name, table.contiguous(), persistent=False)
        self._exponents = monomials(d, charts.degree)

    def _pairs(self, y: Tensor) -> tuple[Tensor, Tensor]:
        row, sheet = searched(y, lambda x: pairs_within(x, self._centres(), self.support))
        return row, sheet

    def _nearest(self, y: Tensor) -> Tensor:
        """The sheet (n,) with the nearest centre."""
        return searched(y, lambda x: (self._centres().nearest(x, 1)[1][:, 0],))[0]

    def _centres(self) -> Tree:
        if self._tree is None:
            self._tree = Tree(self.charts.centre)
        return self._tree

    def __deepcopy__(self, memo: dict[int, object]) -> LocalPolynomialConstraint:
        """A copy with its own buffers; the search tree is made again when it is needed."""
        held = {name: value.clone() for name, value in self._buffers.items() if value is not None}
        sheets = self.charts.subset(torch.arange(self.charts.count))
        return LocalPolynomialConstraint(sheets, held["support"], held["thickness"], mean=held["mean"], hull=held["hull"])

    def __getstate__(self) -> dict[str, object]:
        """Without the search tree."""
        return self.__dict__ | {"_tree": None}

    def extra_repr(self) -> str:
        """`sheets=K, dim=d, ambient_dim=D`."""
        return f"sheets={self.charts.count}, dim={self.dim}, ambient_dim={self.ambient_dim}"
