"""Homology of a cloud with outliers: balls that start to grow the later, the farther their centre is from a share m of all points.

    f(x)^2 = mean over the k = ceil(m n) nearest points of |x - X_i|^2,      radius of the ball of x at time t: (t^2 - f(x)^2)^(1/2)

(the distance to a measure, and its filtration with p = 2). A share of outliers below m / 2 cannot make f small where the set is not, and an isolated point
is swallowed as soon as it is born. A bar is counted if it is longer than twice what f moves under resampling of the points,

    c = 95 % quantile of max_x |f*(x) - f(x)|,

since diagrams move by at most that. A degree with a bar whose length is within a factor 1.6 of 2 c is undecided, and takes the other degrees from 1 on along:
one shape of the set is behind all of them. Births are not comparable with radii of balls round points: spanning rules and ratios do not apply.

Chazal, Cohen-Steiner, Merigot (2011), Geometric inference for probability measures; Anai, Chazal, Glisse, Ike, Inakoshi, Tinarrage, Umeda (2020), DTM-based
filtrations; Chazal, Fasy, Lecci, Michel, Rinaldo, Wasserman (2018), Robust topological inference: distance to a measure and kernel distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.clouds.point_clouds import check_cloud
from topogen.topology.persistence.budget import Budget
from topogen.topology.persistence.hausdorff import subset
from topogen.topology.persistence.persistence import Diagram, check_fields
from topogen.topology.persistence.weighted import weighted

__all__ = ["Robust", "distance_to_measure", "robust_homology"]

LEAST_POINTS = 20
MOST_POINTS, MOST_ALPHA, MOST_RIPS = 10_000, 3000, 300
LEVEL = 0.95
UNCLEAR = 1.6


@dataclass(frozen=True)
class Robust:
    """Numbers of bars by field that outliers and resampling do not explain, None where a bar is near the limit, the `mass` m, the `band` c (data units), and
    the diagrams they come from.

    Heuristic as to the set behind the points: the resampling bound is for the distance to this measure, outliers and all.
    """

    betti: dict[int, tuple[int | None, ...]]
    mass: float
    band: float
    n_points: int
    n_centres: int
    diagrams: dict[int, Diagram] = field(repr=False)

    def to_text(self) -> str:
        """In a few lines."""
        numbers = ", ".join(f"({','.join('?' if k is None else str(k) for k in b)}) over Z/{p}" for p, b in self.betti.items())
        how = f"distance to a measure of mass {self.mass:.3g}, bars longer than {2 * self.band:.3g}, {self.n_centres} of {self.n_points} points as centres"
        return f"[heuristic] robust Betti numbers {numbers}; {how}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        plain = {name: getattr(self, name) for name in ("mass", "band", "n_points", "n_centres")}
        betti = {str(p): list(b) for p, b in self.betti.items()}
        return {"betti": betti, "label": "heuristic", **plain, "diagrams": {str(p): d.to_dict() for p, d in self.diagrams.items()}}


def robust_homology(
    points: Tensor,
    *,
    outliers: float = 0.05,
    max_degree: int | None = None,
    fields: Sequence[int] = (2, 3),
    engine: str = "auto",
    resamples: int = 40,
    budget: Budget | None = None,
    generator: torch.Generator | None = None,
) -> Robust:
    """Betti numbers over Z/p of a cloud (n, D), n at least 20, of which a share of up to `outliers` lies anywhere.

    The mass is twice that share. `max_degree`: None is D - 1 up to D = 3, above 1; `engine` and `budget` as in `persistence`; `resamples` of the bootstrap.
    Large clouds are thinned at random, to 10,000 points for the distance to the measure and 3000 (alpha) or 300 (Rips) centres of balls. Raises
    InvalidInputError for unusable clouds and options, BudgetExceeded before the work starts.
    """
    check_cloud(points, LEAST_POINTS)
    check_fields(fields)
    if not 0 < outliers < 0.5 or resamples < 1 or engine not in ("auto", "alpha", "rips"):
        raise InvalidInputError(f"outliers, resamples, engine: expected a share below .5, at least 1, a name, found {outliers}, {resamples}, {engine!r}")
    alpha = engine == "alpha" or (engine == "auto" and points.shape[1] <= 3)
    degree = max_degree if max_degree is not None else min(2, points.shape[1] - 1) if alpha else 1
    cloud = points.detach().to(device="cpu", dtype=torch.float64)
    centre, scale = cloud.mean(0), float((cloud - cloud.mean(0)).abs().max()) or 1.0
    cloud = (cloud - centre) / scale
    cloud = cloud if len(cloud) <= MOST_POINTS else subset(cloud, MOST_POINTS, generator)
    chosen = subset(cloud, MOST_ALPHA if alpha else MOST_RIPS, generator)
    values = distance_to_measure(cloud, chosen, 2 * outliers)
    bars = weighted(chosen.numpy(), values.numpy(), degree, fields, alpha=alpha, budget=budget)
    band = scale * _band(cloud, chosen, values, 2 * outliers, resamples, generator)
    name = "dtm-cech" if alpha else "dtm-rips"
    diagrams = {p: Diagram(p, name, None, tuple(scale * b for b in found)) for p, found in bars.items()}
    betti = {p: _counted(diagram, 2 * band) for p, diagram in diagrams.items()}
    return Robust(betti, 2 * outliers, band, len(points), len(chosen), diagrams)


def distance_to_measure(points: Tensor, at: Tensor, mass: float) -> Tensor:
    """f (m,) at the rows of `at` (m, D): root mean square of the distances to the nearest ceil(mass n) of the points (n, D); data units, float64."""
    count = max(1, math.ceil(mass * len(points)))
    points, at = (t.detach().to(device="cpu", dtype=torch.float64) for t in (points, at))
    return nearest(points, count, at)[0].square().mean(1).sqrt()


def _band(cloud: Tensor, centres: Tensor, values: Tensor, mass: float, resamples: int, generator: torch.Generator | None) -> float:
    """How far the distance to the measure moves at the centres when the points are drawn anew from themselves."""
    n = len(cloud)
    draws = (cloud[torch.randint(n, (n,), generator=generator)] for _ in range(resamples))
    moved = torch.stack([(distance_to_measure(draw, centres, mass) - values).abs().max() for draw in draws])
    return float(torch.quantile(moved, LEVEL, interpolation="higher"))


def _counted(diagram: Diagram, length: float) -> tuple[int | None, ...]:
    found = [_long(bars, length) for bars in diagram.bars]
    return (*found[:1], *(None if None in found[1:] else count for count in found[1:]))


def _long(bars: NDArray[np.float64], length: float) -> int | None:
    """How many bars are longer; None where one of them, or a shorter one, is about as long."""
    lasting = bars[:, 1] - bars[:, 0]
    near = (lasting > length / UNCLEAR) & (lasting < length * UNCLEAR)
    return None if near.any() else int((lasting > length).sum())
