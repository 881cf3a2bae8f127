"""An integrator over M that knows nothing but the closest-point projection: the tube formula (co-area, Federer 1959, Curvature measures).

For y of density q that covers the tube of radius e < reach, with Dpi the derivative of the projection and NJ the product of its d largest singular values,

    int_M f dvol = E[ 1(|y - pi(y)| <= e) NJ(y) f(pi(y)) / q(y) ] / (omega_(D-d) e^(D-d))

NJ vanishes where pi maps to a boundary, so manifolds with boundary need no care.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.geometry.balls import ball_volume
from topogen.manifolds.base import Manifold

__all__ = ["TubeSamples", "tube_samples"]


@dataclass(frozen=True)
class TubeSamples:
    """Points (m, D) on M with weights (m,), from `draws` proposals: sum of weights / draws estimates the volume."""

    points: Tensor
    weights: Tensor
    draws: int

    def integral(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Estimates (k,) of the integrals of functions given by their values (m, k) at `points`, and their standard errors (k,)."""
        terms = self.weights.unsqueeze(-1) * values
        mean = terms.sum(0) / self.draws
        square = terms.square().sum(0) / self.draws
        return mean, ((square - mean**2) / self.draws).sqrt()

    def mean(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Estimates (k,) of the averages over M and their standard errors (k,), by the ratio of two integrals (delta method)."""
        total = self.weights.sum()
        average = (self.weights.unsqueeze(-1) * values).sum(0) / total
        error = (self.weights.unsqueeze(-1) * (values - average)).square().sum(0).sqrt() / total
        return average, error


def tube_samples(manifold: Manifold, points: Tensor, radius: float, draws: int, generator: torch.Generator | None = None) -> TubeSamples:
    """Weighted points of M from `draws` proposals around `points` (m, D) on M; `radius` is less than the reach.

    Proposals are uniform in the box around `points` enlarged by 1.1 `radius` for D <= 4, normal with twice the variance of `points` above:
    the weights are right whatever the proposal, as long as it covers the tube.
    """
    y, density = _proposals(points, radius, draws, generator)
    near = (y - manifold.project(y).points).norm(dim=-1) <= radius
    y, density = y[near].requires_grad_(True), density[near]
    nearest = manifold.project(y).points
    jacobian = torch.stack([torch.autograd.grad(nearest[:, k].sum(), y, retain_graph=True)[0] for k in range(manifold.ambient_dim)], 1)
    codim = manifold.ambient_dim - manifold.dim
    ball = ball_volume(codim, radius)
    stretch = torch.linalg.svdvals(jacobian)[:, : manifold.dim].prod(-1)
    return TubeSamples(nearest.detach(), stretch / (density * ball), draws)


def _proposals(points: Tensor, radius: float, draws: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    dim = points.shape[1]
    if dim <= 4:
        low, high = points.amin(0) - 1.1 * radius, points.amax(0) + 1.1 * radius
        y = low + (high - low) * torch.rand(draws, dim, generator=generator, dtype=points.dtype)
        return y, (high - low).prod().reciprocal().expand(draws)
    spread = points.std(0) * 2**0.5
    z = torch.randn(draws, dim, generator=generator, dtype=points.dtype)
    return points.mean(0) + spread * z, (-z.square().sum(-1) / 2).exp() / (spread * (2 * math.pi) ** 0.5).prod()
