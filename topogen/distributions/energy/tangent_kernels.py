"""Kernels on a manifold: the mixture of tangent Gaussians of many widths around points of M, exactly normalised, with exact samples.

Around a point x_i of M with orthonormal tangents T_i, y near x_i is reached from one u = T_i^t (y - x_i) in the tangent ball |u| < rho, so

    k_s(y; x_i) = N(u; 0, s^2 1) / P(|s xi| < rho) |det(T_i^t T(y))|
    q(y)        = sum_s w_s 1/n sum_i k_s(y; x_i)  +  w_0 / vol(M)

is a density against the d-dimensional volume (Hausdorff) measure of M, and is drawn from by choosing s and i, drawing u and going from x_i + T_i u back to
M along the normal space at x_i. The weights w maximise the leave-one-out likelihood, a concave problem, by expectation-maximisation; many widths at once follow
data that are clustered on all scales, where a kernel of one width is a compromise. rho is half the reach, so that tangent balls are charts.
Dempster, Laird, Rubin (1977), Maximum likelihood from incomplete data; Pelletier (2005), Kernel density estimation on Riemannian manifolds;
Stone (1974), Cross-validatory choice and assessment of statistical predictions.
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError, ProjectionError
from topogen.geometry.clouds.neighbours import pairs_within
from topogen.geometry.clouds.reach import low_reach
from topogen.geometry.derivatives import NO_GRADIENT, underived
from topogen.geometry.frames import complement, determinant
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.normal_space_projection import project_along_normals
from topogen.manifolds.implicit.valid_zeros import full_residual_bound, is_valid_zero

__all__ = ["TangentKernels", "fit_kernels"]

WIDTHS = 11
NARROWEST = 1 / 150
REACH_SHARE = 0.5
ROUNDS = 300
BATCH = 20_000
_QUERIES = 1000


@final
class TangentKernels(Distribution):
    """The mixture q above.

    Args:
        manifold: M.
        centres: x_i (n, D) float64, points of M.
        widths: s (J,), ascending, data units.
        weights: w (J + 1,), the last is w_0; they sum to 1.
        radius: rho > 0, data units.
        uniform: the uniform distribution on M behind w_0; None where w_0 = 0.
        kept: share of the draws that find a point of M inside its gate; q is divided by it.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False
    measure = "hausdorff"

    def __init__(
        self, manifold: Manifold, centres: Tensor, widths: Tensor, weights: Tensor, radius: float, *, uniform: Uniform | None = None, kept: float = 1.0
    ) -> None:
        self.manifold, self.centres, self.widths, self.weights, self.radius, self.uniform, self.kept = (
            manifold, centres, widths, weights, radius, uniform, kept
        )  # fmt: skip
        self.tangent = manifold.tangent_basis(centres)
        self.normal = complement(self.tangent)
        self._bound = full_residual_bound(manifold, centres)
        super().__init__(torch.Size(), torch.Size((manifold.ambient_dim,)), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Real vectors; points off M are judged at their projection."""
        return constraints.real_vector

    def log_prob(self, value: Tensor) -> Tensor:
        """log q (...) at the projections of points (..., D); -inf where there is none on M."""
        found = self.manifold.project(value.detach().double())
        flat = found.points.reshape(-1, found.points.shape[-1])
        density = torch.where(found.converged.reshape(-1), self.log_density(flat), -torch.inf)
        return underived(density.reshape(value.shape[:-1]).to(value.dtype), value, NO_GRADIENT)

    def log_density(self, points: Tensor) -> Tensor:
        """log q (n,) at points (n, D) float64 that are on M."""
        parts = [self._mixed(self.per_width(part)) for part in points.detach().split(_QUERIES)]
        return underived(torch.cat(parts) if parts else points.new_zeros(0), points, NO_GRADIENT)

    def per_width(self, points: Tensor, own: Tensor | None = None) -> Tensor:
        """log densities (n, J) of the widths alone at points (n, D) of M; `own` (n,): the centre each point leaves out."""
        row, centre = pairs_within(points, self.centres, math.sqrt(2) * self.radius)
        if own is not None:
            others = centre != own[row]
            row, centre = row[others], centre[others]
        offset = points[row] - self.centres[centre]
        u = (self.tangent[centre].mT @ offset.unsqueeze(-1)).squeeze(-1)
        across = (self.normal[centre].mT @ offset.unsqueeze(-1)).squeeze(-1)
        chart = (u.norm(dim=-1) < self.radius) & (across.norm(dim=-1) < self.radius)
        row, centre, u = row[chart], centre[chart], u[chart]
        there = self.manifold.tangent_basis(points)
        stretch = determinant(self.tangent[centre].mT @ there[row]).abs().clamp_min(1e-300).log()
        logs = self._log_kernel(u) + stretch.unsqueeze(-1)
        return _log_sum(logs, row, len(points)) - math.log(len(self.centres) - (own is not None))

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = (), generator: torch.Generator | None = None) -> Tensor:
        """Points (*sample_shape, D) float64; draws that find no point of M are drawn again. Raises ProjectionError when none does."""
        shape = torch.Size(sample_shape)
        kept, have = [self.centres[:0]], 0
        while have < shape.numel():
            y, found = self._draw(min(BATCH, shape.numel() - have + 16), generator)
            if not bool(found.any()):
                raise ProjectionError(f"sample: none of {len(y)} draws around {len(self.centres)} centres found a point of {self.manifold!r}")
            kept.append(y[found])
            have += int(found.sum())
        return torch.cat(kept)[: shape.numel()].reshape(*shape, self.manifold.ambient_dim)

    def acceptance(self, n: int, generator: torch.Generator | None) -> float:
        """Share of n draws that find a point of M inside its gate, what `kept` is to be."""
        return float(self._draw(n, generator)[1].double().mean())

    def _mixed(self, logs: Tensor) -> Tensor:
        if self.uniform is not None:
            logs = torch.cat([logs, torch.full((len(logs), 1), -math.log(self.uniform.volume.value), dtype=logs.dtype)], 1)
        return torch.logsumexp(logs + self.weights[: logs.shape[1]].log(), 1) - math.log(self.kept)

    def _log_kernel(self, u: Tensor) -> Tensor:
        """log N(u; 0, s^2) less the log mass inside the ball, (m, J) for u (m, d)."""
        dim, squares = u.shape[1], u.square().sum(-1, keepdim=True)
        inside = torch.special.gammainc(torch.tensor(dim / 2, dtype=u.dtype), self.radius**2 / (2 * self.widths**2))
        return -squares / (2 * self.widths**2) - dim * (self.widths.log() + math.log(2 * math.pi) / 2) - inside.log()

    def _draw(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        width = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        spread = width < len(self.widths)
        y = torch.empty(n, self.manifold.ambient_dim, dtype=torch.float64)
        found = torch.ones(n, dtype=torch.bool)
        if self.uniform is not None and not bool(spread.all()):
            y[~spread] = self.uniform.sample((int((~spread).sum()),), generator=generator).double()
        y[spread], found[spread] = self._around(self.widths[width[spread]], generator)
        return y, found

    def _around(self, widths: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Points around random centres, one for each width (n,), and which were found."""
        centre = torch.randint(len(self.centres), (len(widths),), generator=generator)
        u = _ball_normal(widths, self.manifold.dim, self.radius, generator)
        x, tangent, normal = self.centres[centre], self.tangent[centre], self.normal[centre]
        step = (tangent @ u.unsqueeze(-1)).squeeze(-1)
        y, found = project_along_normals(self.manifold.section, x, step, normal, self.manifold.tolerance(torch.float64))
        across = (normal.mT @ (y - x).unsqueeze(-1)).squeeze(-1).norm(dim=-1)
        found &= (across < self.radius) & is_valid_zero(self.manifold, y, self._bound)
        return y, found & self.manifold.inside_boundary(y)


def fit_kernels(manifold: Manifold, points: Tensor, *, uniform: Uniform | None = None, generator: torch.Generator | None = None) -> TangentKernels:
    """Kernels around points (n, D) of M, with weights of greatest leave-one-out likelihood; `uniform` adds the constant part.

    Raises InvalidInputError for fewer than d + 2 points.
    """
    if len(points) < manifold.dim + 2:
        raise InvalidInputError(f"points: {len(points)} are too few for kernels on a manifold of dimension {manifold.dim}; give at least {manifold.dim + 2}")
    centres = points.detach().double()
    some = centres[:: max(1, len(centres) // 2000)]
    radius = REACH_SHARE * low_reach(some, manifold.tangent_basis(some))
    widths = radius / 2 * torch.logspace(math.log10(2 * NARROWEST), 0, WIDTHS, dtype=torch.float64)
    even = torch.full((WIDTHS + (uniform is not None),), 1.0, dtype=torch.float64)
    start = TangentKernels(manifold, centres, widths, even / even.sum(), radius, uniform=uniform)
    weights = _leave_one_out_weights(start)
    fitted = TangentKernels(manifold, centres, widths, weights, radius, uniform=uniform)
    fitted.kept = fitted.acceptance(BATCH, generator)
    return fitted


def _leave_one_out_weights(kernels: TangentKernels) -> Tensor:
    logs = torch.cat([kernels.per_width(kernels.centres[rows], rows) for rows in torch.arange(len(kernels.centres)).split(_QUERIES)])
    if kernels.uniform is not None:
        logs = torch.cat([logs, torch.full((len(logs), 1), -math.log(kernels.uniform.volume.value), dtype=logs.dtype)], 1)
    logs = logs[torch.isfinite(logs).any(1)]
    weights = kernels.weights
    for _ in range(ROUNDS if len(logs) else 0):
        weights = torch.softmax(logs + weights.log(), 1).mean(0)
    return weights.clamp_min(1e-12) / weights.clamp_min(1e-12).sum()


def _log_sum(logs: Tensor, row: Tensor, n: int) -> Tensor:
    """log of the sums (n, J) of exp(logs) (m, J) over equal rows (m,)."""
    index = row.unsqueeze(-1).expand_as(logs)
    top = logs.new_full((n, logs.shape[1]), -torch.inf).scatter_reduce(0, index, logs, "amax")
    safe = torch.where(torch.isfinite(top), top, 0.0)
    total = torch.zeros_like(top).scatter_add(0, index, (logs - safe[row]).exp())
    return total.log() + safe


def _ball_normal(widths: Tensor, dim: int, radius: float, generator: torch.Generator | None) -> Tensor:
    """Normal vectors (n, d) of standard deviation widths (n,), drawn again where longer than the radius."""
    u = torch.empty(len(widths), dim, dtype=torch.float64)
    open_ = torch.arange(len(widths))
    while len(open_):
        u[open_] = widths[open_].unsqueeze(1) * torch.randn(len(open_), dim, dtype=torch.float64, generator=generator)
        open_ = open_[u[open_].norm(dim=1) >= radius]
    return u
