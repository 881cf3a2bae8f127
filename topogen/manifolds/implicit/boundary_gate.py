"""Where a manifold with boundary ends: a gate that compares a point of the zero set with the data around it.

A zero set runs on past the edge of the data. At x with tangent space T, let y_1 .. y_k be the anchors (projected data) within rho of x and

    g(x)^2 = ( | T^t (mean_i y_i - x) |^2 - v / k ) / rho^2,      v the variance of the y_i, whose share in the square of a mean of k is taken off .

On a straight edge of an evenly covered piece the neighbours fill a half ball, whose centroid lies at c_d rho,
c_d = Gamma(d/2 + 1) / (sqrt(pi) Gamma((d + 3)/2)) (1/2, 4/(3 pi), 3/8 for d = 1, 2, 3): x is inside where g(x) < c_d. Unlike a bound on the distance to the
nearest anchor this neither grows nor shrinks M to first order in the spacing, so areas stay right.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["Gate", "half_ball_centroid"]


def half_ball_centroid(dim: int) -> float:
    """Distance c_d from the centre of the unit d-ball to the centroid of its half."""
    return math.gamma(dim / 2 + 1) / (math.sqrt(math.pi) * math.gamma((dim + 3) / 2))


class Gate(nn.Module):
    """Inside test against anchors (n, D) float64 within `radius` (data units); fewer than `minimum` anchors there means outside."""

    def __init__(self, anchors: Tensor, radius: float, minimum: int) -> None:
        super().__init__()
        self.register_buffer("anchors", anchors.detach().double())
        self.radius = float(radius)
        self.minimum = int(minimum)

    def forward(self, x: Tensor, tangent_basis: Callable[[Tensor], Tensor]) -> Tensor:
        """Mask (n,) of the points x (n, D) of the zero set that are inside."""
        return self.signed(x, tangent_basis) < 0

    def signed(self, x: Tensor, tangent_basis: Callable[[Tensor], Tensor]) -> Tensor:
        """g(x) - c_d (n,): negative inside, positive outside, infinite where too few anchors are near."""
        offset, variance, count = self._mean_offsets(x.detach().double())
        basis = tangent_basis(x.detach().double())
        along = (basis.mT @ offset.unsqueeze(-1)).squeeze(-1).square().sum(-1) - variance / count.clamp_min(1)
        value = along.clamp_min(0).sqrt() / self.radius - half_ball_centroid(basis.shape[-1])
        return torch.where(count >= self.minimum, value, torch.inf)

    def _mean_offsets(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = [self._mean_offsets_part(part) for part in x.split(2048)] or [self._mean_offsets_part(x)]
        offsets, variances, counts = zip(*parts, strict=True)
        return torch.cat(offsets), torch.cat(variances), torch.cat(counts)

    def _mean_offsets_part(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        anchors: Tensor = self.get_buffer("anchors")
        distance = torch.cdist(x, anchors)
        near = (distance <= self.radius).to(x.dtype)
        count = near.sum(-1)
        offset = near @ anchors / count.clamp_min(1).unsqueeze(-1) - x * (count > 0).unsqueeze(-1)
        variance = (near * distance.square()).sum(-1) / count.clamp_min(1) - offset.square().sum(-1)
        return offset, variance, count
