"""How evenly a cloud lies: the distances to the fifth neighbour, and what stands far apart from its surroundings.

Where they vary by much, one scale eps is too coarse for the dense part or too fine for the sparse one: homology needs the sparsest part to be dense
enough, and bounds that assume a density bounded below hold late.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.clouds.point_clouds import check_cloud, even_rows

__all__ = ["UNEVEN", "SamplingDensity", "sampling_density"]

NEIGHBOURS = 5
LONELY = 4.0
UNEVEN = 5.0


@dataclass(frozen=True)
class SamplingDensity:
    """Distances to the fifth neighbour in data units, `least`, `median` and `most`, without the `outliers`, points four times farther out than theirs."""

    least: float
    median: float
    most: float
    outliers: int

    @property
    def ratio(self) -> float:
        """Most over median; 1 for a perfectly even cloud."""
        return self.most / max(self.median, 1e-300)

    def to_text(self) -> str:
        """The warning, empty for an even cloud."""
        if self.ratio <= UNEVEN:
            return ""
        return (
            f"uneven density: distance to neighbour {NEIGHBOURS} from {self.least:.3g}, median {self.median:.3g}, to {self.most:.3g};"
            " the scale is that of the sparsest part"
        )


def sampling_density(points: Tensor, most: int | None = None) -> SamplingDensity:
    """Evenness of a cloud (n, D) of distinct points, from all of them or `most` spread over the rows; for fewer than seven points the neighbours there are."""
    check_cloud(points, 2)
    points = points.detach().to(device="cpu", dtype=torch.float64)
    count = min(NEIGHBOURS, len(points) - 1)
    rows = torch.arange(len(points)) if most is None else even_rows(len(points), most)
    distances, near = nearest(points, count + 1, points if len(rows) == len(points) else points[rows])
    own = distances[:, -1]
    theirs = own if len(rows) == len(points) else _of_neighbours(points, near[:, 1:].unique(), count)
    lonely = own > LONELY * theirs[near[:, 1:]].median(1).values
    rest = own[~lonely]
    return SamplingDensity(float(rest.min()), float(rest.median()), float(rest.max()), int(lonely.sum()))


def _of_neighbours(points: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Distances (n,) to the neighbour number `count` at the `chosen` rows, 0 at the others."""
    distances = torch.zeros(len(points), dtype=torch.float64)
    distances[chosen] = nearest(points, count + 1, points[chosen])[0][:, -1]
    return distances
