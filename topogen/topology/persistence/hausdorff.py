"""How far two clouds are from each other, exactly, and where.

    d_H(X, Y) = max(max_x min_y |x - y|, max_y min_x |x - y|)

By stability the persistence diagrams of X and Y, in radius units, are within d_H(X, Y) of each other in bottleneck distance.
Cohen-Steiner, Edelsbrunner, Harer (2007), Stability of persistence diagrams.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest_distance
from topogen.geometry.clouds.point_clouds import check_cloud

__all__ = ["Hausdorff", "check_pair", "hausdorff", "subset"]


@dataclass(frozen=True)
class Hausdorff:
    """Distances of two clouds X and Y in data units: `there` max_x d(x, Y), `back` max_y d(y, X), their means, and the rows of the farthest points."""

    there: float
    back: float
    mean_there: float
    mean_back: float
    farthest_x: int
    farthest_y: int

    @property
    def distance(self) -> float:
        """The Hausdorff distance, the larger of both sides."""
        return max(self.there, self.back)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"distance": self.distance, **asdict(self)}


def hausdorff(x: Tensor, y: Tensor) -> Hausdorff:
    """Both sides of the Hausdorff distance of clouds (n, D) and (m, D), exact, in float64; raises InvalidInputError for clouds that cannot be compared."""
    check_pair(x, y)
    there, back = nearest_distance(x, y), nearest_distance(y, x)
    return Hausdorff(float(there.max()), float(back.max()), float(there.mean()), float(back.mean()), int(there.argmax()), int(back.argmax()))


def check_pair(x: Tensor, y: Tensor, least: int = 1) -> None:
    """Raise InvalidInputError unless both clouds are finite floating (n, D) tensors of at least `least` rows, of the same D."""
    for name, cloud in (("x", x), ("y", y)):
        check_cloud(cloud, least, name)
    if x.shape[1] != y.shape[1]:
        raise InvalidInputError(f"x, y: clouds in R^{x.shape[1]} and R^{y.shape[1]} cannot be compared by distances; give both the same columns")


def subset(points: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """At most `count` rows of a cloud (n, D), drawn without replacement, float64 on the CPU."""
    chosen = torch.randperm(len(points), generator=generator)[:count]
    return points.detach().to(device="cpu", dtype=torch.float64)[chosen]
