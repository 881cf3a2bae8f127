"""Precision, recall, density and coverage of samples Y with respect to data X, by balls to the k-th neighbour.

    precision = share of y in some ball of X            recall   = share of x in some ball of Y
    density   = mean over y of #(balls of X with y) / k   coverage = share of x whose own ball holds some y

Balls reach to the k-th nearest neighbour within their own cloud. X comes first: precision asks whether the samples are real, recall
and coverage whether the data are reached. One outlier in X lifts precision, one in Y recall; density and coverage withstand both.

Kynkaanniemi, Karras, Laine, Lehtinen, Aila (2019), Improved precision and recall metric for assessing generative models;
Naeem, Oh, Uh, Choi, Yoo (2020), Reliable fidelity and diversity metrics for generative models.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest
from topogen.topology.persistence.hausdorff import check_pair, subset

__all__ = ["PrecisionRecall", "precision_recall"]

CHUNK = 20_000_000


@dataclass(frozen=True)
class PrecisionRecall:
    """The four shares (density may exceed one), the number `k` of neighbours, and how many points of X and Y they come from."""

    precision: float
    recall: float
    density: float
    coverage: float
    k: int
    n_x: int
    n_y: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def precision_recall(x: Tensor, y: Tensor, *, k: int = 5, most: int = 5000, generator: torch.Generator | None = None) -> PrecisionRecall:
    """Precision, recall, density and coverage of samples y (m, D) with respect to data x (n, D), from at most `most` points of each.

    Raises InvalidInputError for clouds that cannot be compared or of k points or fewer.
    """
    check_pair(x, y)
    if not 1 <= k < min(len(x), len(y)):
        raise InvalidInputError(f"k: expected 1 to {min(len(x), len(y)) - 1} neighbours for clouds of {len(x)} and {len(y)} points, found {k}")
    x, y = subset(x, most, generator), subset(y, most, generator)
    radius_x, radius_y = (nearest(cloud, k + 1, cloud)[0][:, k] for cloud in (x, y))
    balls = torch.zeros(len(y), dtype=torch.float64)
    recalled, covered = [], []
    for rows in torch.arange(len(x)).split(max(1, CHUNK // len(y))):
        distance = torch.cdist(x[rows], y, compute_mode="donot_use_mm_for_euclid_dist")
        inside = distance <= radius_x[rows, None]
        balls += inside.double().sum(0)
        covered.append(inside.any(1))
        recalled.append((distance <= radius_y).any(1))
    share = [float(mask.double().mean()) for mask in (balls > 0, torch.cat(recalled), torch.cat(covered))]
    return PrecisionRecall(share[0], share[1], float(balls.mean()) / k, share[2], k, len(x), len(y))
