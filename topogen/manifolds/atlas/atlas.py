"""`Atlas`: a manifold covered by charts, on one shared sheet or on the charts' own sheets.

With charts (e_k, U_k), U_k = {x in M : |e_k(x)| < rho_k, x within tau_k of chart k's own sheet}, T(x) an orthonormal tangent basis and A = De_k(x) T(x):

    sqrt(det G_k) = 1 / |det A|                                 volume element of chart k at x
    J_k = T A^-1,   G_k = A^-t A^-1                              slope and metric in the coordinates of chart k
    t_kl = e_l o g_k,   Dt_kl = A_l A_k^-1                       transition; the sign of its determinant tells whether k and l turn alike
    r_k(x) = b(|e_k(x)| / rho_k) / sum_l b(|e_l(x)| / rho_l)      partition of unity, b(t) = exp(1 - 1 / (1 - t^2)) for t < 1

*Shared sheet*: M is another `Manifold` (implicit, a shape); g_k(z) is the solution x of {x in M, e_k(x) = z}, found by Newton's method from the own sheet. All
charts then describe the same set. *Own sheets*: M is the union of the images of the charts, which agree on overlaps up to a gap that `certify` measures; the
projection is the foot point in one chart, never an average of sheets.
do Carmo (1992), Riemannian Geometry; Lee (2013), Introduction to Smooth Manifolds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import pairs_within
from topogen.geometry.derivatives import FRAMES, searched, underived
from topogen.geometry.frames import determinant
from topogen.geometry.newton import State, iterate
from topogen.geometry.projection import Projection
from topogen.manifolds.atlas.closest_point import closest_on_charts, first_per_row
from topogen.manifolds.atlas.graph_charts import Charts
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.normal_space_projection import Section
from topogen.manifolds.implicit.valid_zeros import full_residual_bound, is_valid_zero

__all__ = ["Atlas", "Coordinates", "Decoded", "Members", "bump", "regular"]

_CHUNK = 8192
_STEPS = 12
_CLOSE = 1e-6
_GAP = 0.25


class Coordinates(NamedTuple):
    """`chart` (...) int64, coordinates `z` (..., d) in it, and `found` (...): False where no chart holds the point (chart -1, z NaN)."""

    chart: Tensor
    z: Tensor
    found: Tensor


class Decoded(NamedTuple):
    """`points` (..., D) of M and `found` (...): False where M has no point with these coordinates."""

    points: Tensor
    found: Tensor


class Members(NamedTuple):
    """All pairs of a point and a chart that holds it, by rising `row` (m,): `chart` (m,) and coordinates `z` (m, d)."""

    row: Tensor
    chart: Tensor
    z: Tensor


@final
class Atlas(Manifold):
    """A d-dimensional manifold covered by `charts`.

    Args:
        charts: K stacked charts.
        sheet: the manifold the charts describe; None for the charts' own sheets.
        tau: tau (K,), data units: how far from its own sheet a point of chart k may be. When None, infinite on a shared sheet, where the chart's radius and
            extent bound it, and a quarter of the radius on own sheets, so that another sheet nearby is not taken for the chart's own.
        points: known points (n, D) of M that cover it; certificates, volumes and geodesics start from them.
        gate: where M ends, for own sheets with boundary (a shared sheet brings its own).
        frames: tangent bases (n, D, d) at `points`, where they are known already.

    Raises InvalidInputError where dimensions or shapes do not agree.
    """

    name = "atlas"
    charts: Charts

    def __init__(
        self,
        charts: Charts,
        sheet: Manifold | None = None,
        *,
        tau: Tensor | None = None,
        points: Tensor | None = None,
        gate: Gate | None = None,
        frames: Tensor | None = None,
    ) -> None:
        super().__init__(charts.dim, charts.ambient_dim)
        if sheet is not None and (sheet.dim, sheet.ambient_dim) != (self.dim, self.ambient_dim):
            raise InvalidInputError(f"sheet: expected dimension {self.dim} in R^{self.ambient_dim} like the charts, found {sheet!r}")
        if sheet is None and not charts.has_own_sheets:
            raise InvalidInputError(f"sheet: {type(charts).__name__} have no sheets of their own; give the manifold that they describe")
        if tau is None:
            tau = torch.full_like(charts.radius, torch.inf) if sheet is not None else _GAP * charts.radius
        points = charts.centre if points is None else points
        if tau.shape != charts.radius.shape or not bool((tau > 0).all()):
            raise InvalidInputError(f"tau: expected {charts.count} positive numbers, one for each chart, found shape {tuple(tau.shape)}")
        if points.ndim != 2 or points.shape[1] != self.ambient_dim or not len(points):
            raise InvalidInputError(f"points: expected shape (n, {self.ambient_dim}) with n >= 1, found {tuple(points.shape)}")
        self.charts, self.sheet = charts, sheet
        self.gate = gate if sheet is None else sheet.gate
        self.register_buffer("tau", tau.detach().double())
        self.register_buffer("points", points.detach().double())
        self._frames = frames
        self._bound = torch.inf if sheet is None else full_residual_bound(sheet, self.points)

    @property
    def count(self) -> int:
        """K, the number of charts."""
        return self.charts.count

    @property
    def underlying(self) -> Manifold:
        """The shared sheet; the atlas itself on own sheets."""
        return self if self.sheet is None else self.sheet

    @property
    def closed(self) -> bool:
        """What the shared sheet says; on own sheets, whether there is no gate."""
        return self.gate is None if self.sheet is None else self.sheet.closed

    @property
    def orientable(self) -> bool | None:
        """What the shared sheet says; unknown on own sheets."""
        return None if self.sheet is None else self.sheet.orientable

    @property
    def unit(self) -> float:
        """The median radius of a chart."""
        return float(self.charts.radius.median())

    def tolerance(self, dtype: torch.dtype) -> float:
        """That of the sheet; on own sheets 1e-9 (float64) or 1e-5 of the median radius of a chart."""
        return float(self.charts.radius.median()) * super().tolerance(dtype) if self.sheet is None else self.sheet.tolerance(dtype)

    def members(self, x: Tensor) -> Members:
        """Which charts hold which of the points (n, D) of M; a point may be in several, or in none."""
        x = self.as_rows(x).detach().double()
        row, chart = pairs_within(x, self.charts.centre, self.charts.extent)
        z = self.charts.encode(chart, x[row])
        inside = z.norm(dim=-1) < self.charts.radius[chart]
        row, chart, z = row[inside], chart[inside], z[inside]
        near = self.charts.offset(chart, x[row], z) < self.tau[chart]
        return Members(row[near], chart[near], z[near])

    def holds(self, x: Tensor) -> Tensor:
        """`members` as a table (n, K) bool."""
        held = self.members(x)
        table = torch.zeros(len(x), self.count, dtype=torch.bool)
        table[held.row, held.chart] = True
        return table

    def encode(self, x: Tensor) -> Coordinates:
        """The chart in whose middle each point (..., D) of M lies most, and its coordinates there."""
        flat = self.as_rows(x)
        held = self.members(flat)
        depth = held.z.norm(dim=-1) / self.charts.radius[held.chart]
        best = first_per_row(held.row, depth, len(flat))
        found = best >= 0
        chart = torch.where(found, held.chart[best] if len(held.row) else best, -1)
        z = flat.new_full((len(flat), self.dim), torch.nan)
        z[found] = held.z[best[found]].to(flat.dtype)
        return Coordinates(chart.reshape(x.shape[:-1]), z.reshape(*x.shape[:-1], self.dim), found.reshape(x.shape[:-1]))

    def decode(self, chart: Tensor, z: Tensor) -> Decoded:
        """Points of M at coordinates z (..., d) of charts (...), with |z| < rho; `found` is False outside the charts and where M ends."""
        flat, number = z.reshape(-1, self.dim).detach().double(), chart.reshape(-1)
        self._check_charts(number)
        parts = [self._lift(k, w) for k, w in zip(number.split(_CHUNK), flat.split(_CHUNK), strict=True)]
        points = torch.cat([p.points for p in parts]) if parts else flat.new_zeros(0, self.ambient_dim)
        found = torch.cat([p.found for p in parts]) if parts else number.bool()
        found = found & (flat.norm(dim=-1) < self.charts.radius[number])
        return Decoded(points.to(z.dtype).reshape(*z.shape[:-1], self.ambient_dim), found.reshape(z.shape[:-1]))

    def stretch(self, chart: Tensor, x: Tensor, basis: Tensor | None = None) -> Tensor:
        """det A (n,) of charts (n,) at points x (n, D) of M, against the tangent bases (n, D, d) at x, `tangent_basis(x)` when None.

        1 / |det A| is the volume element; the sign depends on the basis, the product of the signs of two charts does not.
        """
        basis = self._frame(chart, x) if basis is None else basis
        return determinant(self.charts.slope(chart, x) @ basis)

    @property
    def frames(self) -> Tensor:
        """Tangent bases (n, D, d) at the known points; computed once."""
        if self._frames is None:
            self._frames = self.tangent_basis(self.points)
        return self._frames

    def stretches(self, x: Tensor, basis: Tensor | None = None) -> Tensor:
        """det A (n, K) of all charts at points (n, D) of M against one tangent basis per point; 0 where a chart does not hold the point."""
        held = self.members(x)
        basis = self.tangent_basis(x) if basis is None else basis
        table = x.new_zeros(len(x), self.count)
        table[held.row, held.chart] = self.stretch(held.chart, x[held.row], basis[held.row])
        return table

    def metric(self, chart: Tensor, z: Tensor) -> Tensor:
        """G (n, d, d) of charts (n,) at coordinates (n, d)."""
        if self.sheet is None:
            return self.charts.metric(chart, z)
        x = self.decode(chart, z).points
        inverse = torch.linalg.inv(self.charts.slope(chart, x) @ self.sheet.tangent_basis(x))
        return inverse.mT @ inverse

    def transition(self, k: int, other: int, z: Tensor) -> Decoded:
        """Coordinates (n, d) in chart `other` of the points with coordinates z (n, d) in chart k, and which of them it holds."""
        here = z.new_full(z.shape[:1], k, dtype=torch.int64)
        x, found = self.decode(here, z)
        there = torch.full_like(here, other)
        image = self.charts.encode(there, x)
        held = (image.norm(dim=-1) < self.charts.radius[other]) & (self.charts.offset(there, x, image) < self.tau[other])
        return Decoded(image, found & held)

    def transition_slope(self, k: int, other: int, x: Tensor) -> Tensor:
        """Dt_kl = A_l A_k^-1 (n, d, d) at points (n, D) of M in the overlap of charts k and `other`."""
        here = torch.full((len(x),), k, dtype=torch.int64)
        basis = self._frame(here, x)
        from_k, to_l = self.charts.slope(here, x) @ basis, self.charts.slope(torch.full_like(here, other), x) @ basis
        return to_l @ torch.linalg.inv(from_k)

    def shares(self, held: Members, n: int) -> Tensor:
        """r_k (m,) of the pairs of `members` of n points."""
        weight = bump(held.z.norm(dim=-1) / self.charts.radius[held.chart])
        return weight / weight.new_zeros(n).index_add_(0, held.row, weight)[held.row]

    def partition_of_unity(self, x: Tensor) -> Tensor:
        """r_k(x) (..., K) at points (..., D) of M: smooth, zero outside chart k, summing to one where any chart holds the point (zero elsewhere)."""
        flat = self.as_rows(x)
        held = self.members(flat)
        table = flat.new_zeros(len(flat), self.count)
        table[held.row, held.chart] = self.shares(held, len(flat)).to(flat.dtype)
        return table.reshape(*x.shape[:-1], self.count)

    def _project(self, x: Tensor) -> Projection:
        if self.sheet is None:
            found = closest_on_charts(self.charts, x, self.tau, self.tolerance(torch.float64))
            if self.gate is None:
                return found
            (within,) = searched(found.points, lambda z: (self._within(z.double()),))
            return replace(found, converged=found.converged & within)
        found = self.sheet.project(x)
        (held,) = searched(found.points, lambda z: (self._held(z),))
        return Projection(found.points, found.residual, found.converged & held, found.iterations)

    def _held(self, x: Tensor) -> Tensor:
        """Mask (n,) of the points (n, D) that some chart holds."""
        held = torch.zeros(len(x), dtype=torch.bool)
        held[self.members(x).row] = True
        return held

    def _tangent_basis(self, x: Tensor) -> Tensor:
        if self.sheet is not None:
            return self.sheet.tangent_basis(x)
        chart, z, found = self.encode(x)
        if not bool(found.all()):
            raise InvalidInputError(f"x: {int((~found).sum())} of {len(x)} points lie in no chart of {self!r}; project them first")
        return underived(self._own_frame(chart, z).to(x.dtype), x, FRAMES)

    def _mean_curvature(self, x: Tensor) -> Tensor:
        return super()._mean_curvature(x) if self.sheet is None else self.sheet.mean_curvature(x)

    def _second_form(self, x: Tensor) -> Tensor:
        return super()._second_form(x) if self.sheet is None else self.sheet.second_fundamental_form(x)

    def _frame(self, chart: Tensor, x: Tensor) -> Tensor:
        """Tangent bases (n, D, d) at x of the shared sheet, or of the own sheets of charts (n,)."""
        return self.sheet.tangent_basis(x) if self.sheet is not None else self._own_frame(chart, self.charts.encode(chart, x))

    def _own_frame(self, chart: Tensor, z: Tensor) -> Tensor:
        return torch.linalg.qr(self.charts.jacobian(chart, z.double())).Q

    def _lift(self, chart: Tensor, z: Tensor) -> Decoded:
        """g_k(z): on own sheets as it is, else Newton on {s(x) = 0, e_k(x) = z} from there; found where that is a point of M that chart k holds."""
        start = self.charts.decode(chart, z)
        if self.sheet is None:
            return Decoded(start, torch.isfinite(start).all(-1) & self._within(start))
        x, solved = _solve(self.sheet.section, self.charts, chart, start, z, self.sheet.tolerance(torch.float64))
        solved &= (x - start).norm(dim=-1) < self.tau[chart]
        solved &= (x - self.charts.centre[chart]).norm(dim=-1) < self.charts.extent[chart]
        return Decoded(x, solved & self._on_sheet(x) & self._within(x))

    def _on_sheet(self, x: Tensor) -> Tensor:
        """Mask (n,) of the zeros of the section (n, D) that are points of the shared sheet."""
        sheet = self.underlying
        if sheet.constraint is not None:
            return is_valid_zero(sheet, x, self._bound)
        found = sheet.project(x)
        return found.converged & ((found.points - x).norm(dim=-1) <= _CLOSE * self.charts.radius.median())

    def _within(self, x: Tensor) -> Tensor:
        """Mask (n,) of the points (n, D) that are not beyond the edge of M."""
        return torch.ones(len(x), dtype=torch.bool) if self.gate is None else self.gate(x, self._tangents_near)

    def _tangents_near(self, x: Tensor) -> Tensor:
        """Tangent bases (n, D, d), also at points of own sheets that no chart holds any more: those of the nearest chart."""
        if self.sheet is not None:
            return self.sheet.tangent_basis(x)
        chart = torch.cdist(x, self.charts.centre).argmin(1)
        return self._own_frame(chart, self.charts.encode(chart, x))

    def known_points(self) -> Tensor:
        """The known points (n, D) that the atlas was made with."""
        return self.points

    def _check_charts(self, chart: Tensor) -> None:
        if len(chart) and not bool(((chart >= 0) & (chart < self.count)).all()):
            raise InvalidInputError(f"chart: expected numbers from 0 to {self.count - 1}, found {int(chart.min())} to {int(chart.max())}")

    def extra_repr(self) -> str:
        """`dim=d, ambient_dim=D, charts=K, sheet=...`."""
        return f"{super().extra_repr()}, charts={self.count}, sheet={'own' if self.sheet is None else self.sheet.name}"


def regular(holds: Tensor, determinants: Tensor, flattest: float = 0.1) -> Tensor:
    """Mask (n,) of the points that some chart holds and none holds with |det A| below `flattest`, from tables (n, K); elsewhere M has no clear tangents."""
    return holds.any(1) & ~(holds & (determinants.abs() < flattest)).any(1)


def bump(t: Tensor) -> Tensor:
    """exp(1 - 1 / (1 - t^2)) for |t| < 1, else 0: smooth, 1 at 0."""
    room = (1 - t.square()).clamp_min(1e-12)
    return torch.where(t.abs() < 1, (1 - 1 / room).exp(), 0.0)


def _solve(section: Section, charts: Charts, chart: Tensor, x: Tensor, z: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Newton's method on {s(x) = 0, e_k(x) = z}, D equations for D unknowns, and which rows were solved to the tolerance."""

    def move(x: Tensor, chart: Tensor, error: Tensor, rows: Tensor) -> tuple[State, Tensor]:
        system = torch.cat([rows, charts.slope(chart, x)], 1)
        step = torch.linalg.solve_ex(system, error.unsqueeze(-1))[0].squeeze(-1)
        return (x - torch.where(torch.isfinite(step), step, 0.0),), torch.ones_like(chart, dtype=torch.bool)

    def step(x: Tensor, _: Tensor, chart: Tensor, z: Tensor) -> tuple[State, Tensor]:
        value, rows = section(x)
        error = torch.cat([value, charts.encode(chart, x) - z], -1)
        solved = error.norm(dim=-1) <= tolerance
        moved = iterate(move, (x,), (chart, error, rows), max_iterations=1, active=~solved & torch.isfinite(error).all(-1))
        return (*moved.state, solved), moved.active

    x, solved = iterate(step, (x, torch.zeros(len(x), dtype=torch.bool)), (chart, z), max_iterations=_STEPS).state
    return x, solved
