"""A density on a manifold as a mixture over the charts of an atlas, exactly normalised, with exact samples.

In chart k, e_k: U_k -> {|z| < rho_k}, let b_k be a density on the unit ball and T(x) an orthonormal tangent basis of M. Then

    p(x)   = sum_k pi_k p_k(x)
    p_k(x) = rho_k^-d b_k(e_k(x) / rho_k) |det(De_k(x) T(x))| / kept_k        for x in U_k, else 0

is a density against the d-dimensional volume (Hausdorff) measure of M. Overlaps add: no chart has to agree with another, nothing is averaged. kept_k is the
share of b_k whose coordinates belong to a point of M inside the chart: 1 where M fills the chart, less where M ends in it (a gate) or leaves it; estimated from
draws. A sample picks k, then z, and goes from z to the point of M over it; coordinates without a point are drawn again in the same chart, which is what kept_k
divides by.
Sidheekh, Dock, Jain, Balan, Singh (2022), VQ-Flows: vector quantized local normalizing flows; Kalatzis et al. (2021), Density estimation on smooth manifolds
with normalizing flows.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from topogen.distributions.charts.ball_densities import BallBase, Bump
from topogen.distributions.uniform.estimate import Estimate
from topogen.errors import InvalidInputError, ProjectionError
from topogen.geometry.derivatives import NO_GRADIENT, underived
from topogen.manifolds.atlas.atlas import Atlas, Decoded

__all__ = ["ChartMixture", "Components", "kept_shares", "log_sum_by_row"]

FIRST_DRAWS = 4000
DRAWS = 100_000
_CHUNK = 20_000
_ROUNDS = 200
_ROUNDING = 1e-12


class Components(NamedTuple):
    """All pairs of a point and a chart that holds it, by rising `row` (m,): `chart` (m,) and log p_k `log_density` (m,) there, without pi_k."""

    row: Tensor
    chart: Tensor
    log_density: Tensor


@final
class ChartMixture(Distribution):
    """p(x) = sum_k pi_k p_k(x) over the charts of an atlas, a `torch.distributions.Distribution` with event shape (D,); measure: Hausdorff.

    Args:
        atlas: charts e_k with balls of radius rho_k, on a shared sheet or on their own.
        weights: pi (K,), not negative; normalised to sum 1. None: equal.
        base: densities b_k on the unit ball; the bump (1 - |w|^2)^3 when None.
        kept: kept_k (K,) in (0, 1], as `kept_shares` estimates them, for M that ends inside charts; 1 when None.
        kept_error: their standard errors (K,); 0 when None.

    Raises InvalidInputError for weights or shares of the wrong shape or range.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False
    measure = "hausdorff"

    def __init__(
        self,
        atlas: Atlas,
        weights: Tensor | None = None,
        *,
        base: BallBase | None = None,
        kept: Tensor | None = None,
        kept_error: Tensor | None = None,
    ) -> None:
        ones = torch.ones(atlas.count, dtype=torch.float64)
        weights = _checked("weights", ones if weights is None else weights, atlas.count)
        self.atlas, self.manifold = atlas, atlas
        # Weights that sum to 1 already stay as they are to the last bit, so that a saved mixture is the same after loading.
        total = weights.sum()
        self.weights = weights if abs(float(total) - 1) < _ROUNDING else weights / total
        self.base: BallBase = Bump(atlas.dim) if base is None else base
        self.kept = _checked("kept", ones if kept is None else kept, atlas.count)
        self.kept_error = torch.zeros_like(ones) if kept_error is None else _checked("kept_error", kept_error, atlas.count, sums=False)
        if not bool(((self.kept > 0) & (self.kept <= 1)).all()):
            raise InvalidInputError(f"kept: expected shares in (0, 1], found {float(self.kept.min()):.3g} to {float(self.kept.max()):.3g}")
        super().__init__(torch.Size(), torch.Size((atlas.ambient_dim,)), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Real vectors; points off M are judged at their projection."""
        return constraints.real_vector

    @property
    def covered(self) -> Estimate:
        """sum_k pi_k kept_k: the share of all draws of coordinates that find a point of M."""
        error = float((self.weights * self.kept_error).norm())
        return Estimate(float(self.weights @ self.kept), error, "share of drawn coordinates that belong to a point of the manifold")

    def log_prob(self, value: Tensor) -> Tensor:
        """log p (...) at the projections of points (..., D); -inf where there is none on M or no chart holds it."""
        found = self.atlas.project(value.detach().double())
        flat = found.points.reshape(-1, found.points.shape[-1])
        density = torch.where(found.converged.reshape(-1), self.log_density(flat), -torch.inf)
        return underived(density.reshape(value.shape[:-1]).to(value.dtype), value, NO_GRADIENT)

    def log_density(self, points: Tensor) -> Tensor:
        """log p (n,) at points (n, D) float64 that are on M."""
        parts = []
        for part in points.detach().split(_CHUNK):
            held = self.component_log_prob(part)
            parts.append(log_sum_by_row(held.log_density + self.weights.log()[held.chart], held.row, len(part)))
        return underived(torch.cat(parts) if parts else points.new_zeros(0), points, NO_GRADIENT)

    def component_log_prob(self, points: Tensor) -> Components:
        """log p_k of the charts that hold points (n, D) float64 of M, as pairs: nothing of size n K is made."""
        row, chart, z = self.atlas.members(points)
        w = z / self.atlas.charts.radius[chart, None]
        with torch.no_grad():
            inside = self.base.log_density(chart, w) - self.atlas.dim * self.atlas.charts.radius.log()[chart]
        return Components(row, chart, inside + self.log_stretch(points, row, chart) - self.kept.log()[chart])

    def log_stretch(self, points: Tensor, row: Tensor, chart: Tensor) -> Tensor:
        """log |det(De_k T)| (m,) for the pairs (row, chart) of points (n, D), T one tangent basis for each point whatever the chart.

        On own sheets that do not agree to the last digit T is the tangent of the sheet the point is in the middle of, so that all charts measure the same area.
        """
        held = torch.zeros(len(points), dtype=torch.bool).index_fill_(0, row, True)
        basis = points.new_zeros(len(points), self.atlas.ambient_dim, self.atlas.dim)
        basis[held] = self.atlas.tangent_basis(points[held])
        return self.atlas.stretch(chart, points[row], basis[row]).abs().clamp_min(1e-300).log()

    def responsibilities(self, value: Tensor) -> Tensor:
        """pi_k p_k(x) / p(x) (..., K) at the projections of points (..., D); rows of zeros where p is 0."""
        found = self.atlas.project(value.detach().double())
        flat = found.points.reshape(-1, self.atlas.ambient_dim)
        held = self.component_log_prob(flat)
        logs = held.log_density + self.weights.log()[held.chart]
        share = (logs - log_sum_by_row(logs, held.row, len(flat))[held.row]).exp()
        table = flat.new_zeros(len(flat), self.atlas.count)
        table[held.row, held.chart] = torch.where(found.converged.reshape(-1)[held.row], share.nan_to_num(), 0.0)
        return table.reshape(*value.shape[:-1], self.atlas.count).to(value.dtype)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Points (*sample_shape, D) float64; `generator` None means torch's global generator.

        Raises ProjectionError where coordinates of a chart find no point of M in 200 rounds.
        """
        shape = torch.Size(sample_shape)
        n = shape.numel()
        chart = torch.multinomial(self.weights, max(n, 1), replacement=True, generator=generator)[:n]
        points, missing = self.atlas.charts.centre.new_empty(n, self.atlas.ambient_dim), torch.arange(n)
        for _ in range(_ROUNDS):
            if not len(missing):
                return points.reshape(*shape, self.atlas.ambient_dim)
            drawn = _decoded(self.atlas, self.base, chart[missing], generator)
            points[missing] = drawn.points
            missing = missing[~drawn.found]
        raise ProjectionError(
            f"sample: {len(missing)} of {n} draws found no point of {self.atlas!r} in {_ROUNDS} rounds, such as in chart {int(chart[missing[0]])}"
            f" (kept {float(self.kept[chart[missing[0]]]):.2g}); set the weights of charts without points to 0"
        )


def kept_shares(atlas: Atlas, base: BallBase, generator: torch.Generator | None = None, *, draws: int = DRAWS) -> tuple[Tensor, Tensor]:
    """kept (K,) and standard errors (K,): the share of b_k that decodes to a point of M inside chart k, from draws.

    A few draws, at least 20 of each chart, tell the charts that M fills (1, error 0); the others share `draws`, at least 200 and at most 4000 each. A chart
    without any point gets 1 / (n + 2) of its n draws, as if one might have been found. Where a chart folds over M, decoding fails too: then p is not
    normalised, which only an independent integral shows.
    """
    chart = torch.arange(atlas.count)
    first = _found_shares(atlas, base, chart, max(20, FIRST_DRAWS // atlas.count), generator)
    kept, error = torch.ones_like(first), torch.zeros_like(first)
    partial = chart[first < 1]
    if len(partial):
        each = min(max(200, draws // len(partial)), 4000)
        share = _found_shares(atlas, base, partial, each, generator).clamp_min(1 / (each + 2))
        kept[partial], error[partial] = share, (share * (1 - share).clamp_min(1 / each) / each).sqrt()
    return kept, error


def log_sum_by_row(logs: Tensor, row: Tensor, n: int) -> Tensor:
    """log of the sums (n,) of exp(logs) (m,) over equal rows (m,); -inf where a row has none. Differentiable."""
    top = logs.new_full((n,), -torch.inf).scatter_reduce(0, row, logs.detach(), "amax")
    top = torch.where(torch.isfinite(top), top, 0.0)
    return logs.new_zeros(n).index_add(0, row, (logs - top[row]).exp()).log() + top


def _found_shares(atlas: Atlas, base: BallBase, chart: Tensor, draws: int, generator: torch.Generator | None) -> Tensor:
    every = chart.repeat_interleave(draws)
    found = [_decoded(atlas, base, part, generator)[1] for part in every.split(_CHUNK)]
    return torch.cat(found).double().reshape(len(chart), draws).mean(1)


def _decoded(atlas: Atlas, base: BallBase, chart: Tensor, generator: torch.Generator | None) -> Decoded:
    with torch.no_grad():
        z = atlas.charts.radius[chart, None] * base.draw(chart, generator).double()
    return atlas.decode(chart, z)


def _checked(name: str, value: Tensor, count: int, sums: bool = True) -> Tensor:
    found = value.detach().double()
    if found.shape != (count,) or not bool((torch.isfinite(found) & (found >= 0)).all()) or (sums and not float(found.sum()) > 0):
        raise InvalidInputError(f"{name}: expected {count} numbers >= 0, one for each chart, found shape {tuple(found.shape)}, smallest {_least(found)}")
    return found


def _least(value: Tensor) -> str:
    return f"{float(value.min()):.3g}" if value.numel() else "none"
