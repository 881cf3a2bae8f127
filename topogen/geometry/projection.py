"""The result of a projection, per sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Projection"]


@dataclass(frozen=True)
class Projection:
    """Points brought onto a manifold, with what is known of each.

    `points` (..., D); `residual` (...), the quantity every tolerance is about (data units); `converged` (...) bool;
    `iterations` (...) int64. Leading shapes agree.
    """

    points: Tensor
    residual: Tensor
    converged: Tensor
    iterations: Tensor

    def reshape(self, leading: torch.Size) -> Projection:
        """The same projection with another leading shape."""
        return Projection(
            self.points.reshape(*leading, self.points.shape[-1]),
            self.residual.reshape(leading),
            self.converged.reshape(leading),
            self.iterations.reshape(leading),
        )

    def scatter(self, mask: Tensor, original: Tensor) -> Projection:
        """Spread the rows over `mask`; other rows keep their `original` point and count as not converged, residual infinite."""
        points = original.masked_scatter(mask.unsqueeze(-1).expand_as(original), self.points)
        residual = self.residual.new_full(mask.shape, torch.inf).masked_scatter(mask, self.residual)
        converged = torch.zeros_like(mask).masked_scatter(mask, self.converged)
        return Projection(points, residual, converged, self.iterations.new_zeros(mask.shape).masked_scatter(mask, self.iterations))
