"""Exact uniform samples and the volume of an atlas, by a partition of unity.

A chart k is drawn with probability proportional to rho_k^d, z uniformly in its ball, x = g_k(z). With c(x) the number of charts that hold x and
A = De_k(x) T(x), the pieces 1 / c add up to one over the charts, so that

    vol(M) = sum_k v_d rho_k^d  E[ 1 / (c(x) |det A|) ] ,       v_d the volume of the unit ball,

and keeping x with probability proportional to 1 / (c |det A|) makes it uniform for the volume (Hausdorff) measure. No closest points are needed.
Lee (2013), Introduction to Smooth Manifolds (integration by partition of unity).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.rejection import BATCH, Mass, rejection_sample
from topogen.geometry.balls import ball_points, ball_volume
from topogen.manifolds.atlas.atlas import Atlas

__all__ = ["PartitionOfUnity", "partition_of_unity"]

PROBES = 10_000
# Where a chart nearly folds, at single points on the edge of a learned manifold, one draw would outweigh all others.
FLATTEST = 0.05


@final
@dataclass(frozen=True)
class PartitionOfUnity:
    """Draws from the charts of an `atlas`; `heaviest`: the largest weight 1 / (c |det A|) expected, by which rejection is scaled."""

    atlas: Atlas
    heaviest: float = 1.0

    def sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """n independent uniform points (n, D) float64 of M. Raises ProjectionError when no point can be found."""
        return rejection_sample(
            self.hits, n, self.heaviest, self.atlas.points[:0], generator, rate=0.3, failure=f"draws in the charts of {self.atlas!r} found a point"
        )

    def hits(self, n: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """Of n draws the points (m, D) that were found and their weights 1 / (c |det A|) (m,)."""
        charts = self.atlas.charts
        chart = torch.multinomial(charts.radius**charts.dim, n, replacement=True, generator=source)
        x, found = self.atlas.decode(chart, ball_points(n, charts.dim, radius=charts.radius[chart, None], generator=source))
        x, chart = x[found], chart[found]
        count = torch.bincount(self.atlas.members(x).row, minlength=len(x)).clamp_min(1)
        return x, 1 / (count * self.atlas.stretch(chart, x).abs().clamp_min(FLATTEST))

    def volume(self, generator: torch.Generator, accuracy: float = 3e-3, most: int = 400_000) -> Estimate:
        """Volume of M, from as many draws as a relative standard error of `accuracy` takes, `most` at the most."""
        weights, mass = torch.zeros(0, dtype=torch.float64), Mass(self.heaviest)
        error = torch.inf
        while len(weights) < most and error > accuracy:
            _, weight = self.hits(BATCH, generator)
            mass.add(weight)
            weights = torch.cat([weights, weight, weight.new_zeros(BATCH - len(weight))])
            error = float(weights.std()) / max(float(weights.mean()), 1e-300) / len(weights) ** 0.5
        whole = ball_volume(self.atlas.dim, 1.0) * float((self.atlas.charts.radius**self.atlas.dim).sum())
        value = whole * float(weights.mean())
        return Estimate(value, value * error, f"partition of unity over {self.atlas.count} charts{mass.words()}")


def partition_of_unity(atlas: Atlas, generator: torch.Generator) -> PartitionOfUnity:
    """The sampler with its largest weight found by 10,000 draws, a tenth added."""
    _, weight = PartitionOfUnity(atlas).hits(PROBES, generator)
    return PartitionOfUnity(atlas, 1.1 * float(weight.max()) if len(weight) else 1.0)
