"""What persistent homology will cost, said before it starts.

Rips of n points without a threshold has sum_j C(n, j) simplices; with one, a point of about delta neighbours within it has
about delta^j q^(j(j-1)/2) / (j+1)! simplices of dimension j, q the chance that two neighbours of a point are neighbours too.
An alpha complex in R^3 has some 60 simplices a point. Measured peaks: 300 bytes a simplex (alpha), 240 bytes an edge and
94 bytes a higher simplex that must become a column (Rips, after edge collapse). These are rough: right within a factor of about 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.geometry.clouds.point_clouds import even_rows

__all__ = ["Budget", "Cost", "estimate_cost"]

GIB = 2**30
ALPHA_SIMPLICES = {1: 2, 2: 6, 3: 60}
BYTES_ALPHA, BYTES_EDGE, BYTES_COLUMN = 300, 240, 94
PROBES = 200


@dataclass(frozen=True)
class Cost:
    """A prediction: `simplices` of the complex, `bytes` at the peak, `seconds_rough` on one core for one field."""

    simplices: float
    bytes: float
    seconds_rough: float


def available_bytes() -> int:
    """min(2 GiB, a quarter of the memory that is free), the default memory budget."""
    import os

    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        free = 8 * GIB
    return min(2 * GIB, free // 4)


@dataclass(frozen=True)
class Budget:
    """Limits of one computation of persistence: `max_bytes` of memory and, if given, `max_seconds` on one core.

    What is predicted (roughly) to break them is refused before it starts. With a `wall` native code runs in a process of its own that cannot take more memory
    or time, and whose crash is an exception here (`subprocess_runner`), one to two seconds slower.
    """

    max_bytes: int = field(default_factory=available_bytes)
    max_seconds: float | None = None
    wall: bool = False

    def allows(self, cost: Cost) -> bool:
        """Whether the predicted cost stays within both limits."""
        return cost.bytes <= self.max_bytes and (self.max_seconds is None or cost.seconds_rough <= self.max_seconds)

    def check(self, cost: Cost, what: str) -> None:
        """Raise BudgetExceeded, with the prediction and ways out, if the cost is above the budget."""
        if self.allows(cost):
            return
        seconds = "" if self.max_seconds is None else f" and {self.max_seconds:.3g} s"
        raise BudgetExceeded(
            f"{what}: predicted {cost.simplices:.2g} simplices, {cost.bytes / GIB:.3g} GiB, some {cost.seconds_rough:.2g} s;"
            f" the budget is {self.max_bytes / GIB:.3g} GiB{seconds}."
            " Ways out: a smaller landmarks= or threshold, or a larger budget="
        )


def estimate_cost(n: int, ambient_dim: int, max_degree: int, threshold: float | None = None, points: Tensor | None = None, engine: str = "auto") -> Cost:
    """Predict the cost of persistence of n points in R^D up to homology degree `max_degree`.

    `threshold` is in radius units; with it and the `points` (n, D), Rips is counted from the neighbours within 2 threshold of
    some 200 of them. Rips figures are before edge collapse, an upper estimate. Raises InvalidInputError for an unknown engine.
    """
    if engine not in ("auto", "alpha", "rips"):
        raise InvalidInputError(f"engine: expected 'auto', 'alpha' or 'rips', found {engine!r}")
    if engine == "alpha" or (engine == "auto" and ambient_dim <= 3):
        return _alpha_cost(n, ambient_dim)
    if threshold is None or points is None or not math.isfinite(threshold):
        return rips_cost([float(math.comb(n, j + 1)) for j in range(max_degree + 2)], n - 1)
    degree, clustering = _sampled_degree(points, 2 * threshold)
    return rips_cost([_flag_count(n, degree, clustering, j) for j in range(max_degree + 2)], degree)


def rips_cost(counts: list[float], degree: float) -> Cost:
    """Cost of a Rips complex with counts[j] simplices of dimension j; the last dimension only kills and makes no columns."""
    edges = counts[1] if len(counts) > 1 else 0.0
    columns = sum(counts[2:-1])
    # edge collapse works on edge neighbourhoods; columns of the matrix cost about 3 microseconds each
    return Cost(sum(counts), BYTES_EDGE * edges + BYTES_COLUMN * columns, 1e-8 * edges * degree + 3e-6 * columns)


def _alpha_cost(n: int, ambient_dim: int) -> Cost:
    # Delaunay of m points in R^D may reach m^(D/2); above R^3 the figure doubles with every point's neighbours
    each = ALPHA_SIMPLICES.get(ambient_dim, 60 * 12 ** (ambient_dim - 3))
    return Cost(each * n, BYTES_ALPHA * each * n, 3e-6 * each * n)


def _sampled_degree(points: Tensor, length: float) -> tuple[float, float]:
    """Mean number of neighbours within a length, and the chance that two of them are neighbours, from up to 200 points."""
    probes = points[even_rows(len(points), PROBES)].to(torch.float64)
    near = torch.cdist(probes, points.to(torch.float64)) <= length
    degree = float(near.sum(1).to(torch.float64).mean()) - 1
    few = [points[row.nonzero()[:: max(1, int(row.sum()) // 40), 0]].to(torch.float64) for row in near[::20]]
    shares = [float((torch.cdist(p, p) <= length).to(torch.float64).mean()) for p in few]
    return degree, sum(shares) / len(shares)


def _flag_count(n: int, degree: float, clustering: float, j: int) -> float:
    return float(n * degree**j * clustering ** (j * (j - 1) / 2) / math.factorial(j + 1))
