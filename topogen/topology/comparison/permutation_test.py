"""Do two clouds have the same persistence diagrams, up to what chance does? A permutation test on split halves with exact bottleneck distances.

    T = d_B(Dgm A, Dgm B),  A, B of m points of X and Y;     T_i the same for the halves of a random split of A and B together.

If X and Y are draws of one distribution the labels are exchangeable and p = (1 + #{T_i >= T}) / (1 + N) is exact in every degree; over all
degrees the smallest is multiplied by their number (Bonferroni). The 95 % quantile of T_i says how large a distance chance makes: bars longer
than twice that in one cloud and not in the other are no accident.

Robinson, Turner (2017), Hypothesis testing for topological data analysis; Kerber, Morozov, Nigmetov (2017), Geometry helps to compare persistence
diagrams (hera, exact with relative error 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.topology.persistence.budget import Budget
from topogen.topology.persistence.hausdorff import check_pair, subset
from topogen.topology.persistence.persistence import Diagram, persistence

__all__ = ["PermutationTest", "bottleneck", "permutation_test"]

LEVEL = 0.95


@dataclass(frozen=True)
class PermutationTest:
    """Per degree the bottleneck distance of `size` points of each cloud, its p-value, and the 95 % quantile of what random splits make; radius units."""

    distances: tuple[float, ...]
    p_values: tuple[float, ...]
    by_chance: tuple[float, ...]
    size: int
    permutations: int
    field: int

    @property
    def p_value(self) -> float:
        """Over all degrees, by Bonferroni."""
        return min(1.0, len(self.p_values) * min(self.p_values))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        lists = {name: list(getattr(self, name)) for name in ("distances", "p_values", "by_chance")}
        return {**lists, "p_value": self.p_value, "size": self.size, "permutations": self.permutations, "field": self.field}


def permutation_test(
    x: Tensor,
    y: Tensor,
    *,
    max_degree: int = 1,
    size: int | None = None,
    permutations: int = 99,
    field: int = 2,
    engine: str = "auto",
    budget: Budget | None = None,
    generator: torch.Generator | None = None,
) -> PermutationTest:
    """Test whether clouds (n, D) and (m, D) have the same diagrams over Z/field in degrees 0 to max_degree.

    `size`: points taken of each (None: 300 for the alpha complex, 150 for Rips, or all there are). `engine` and `budget` as in `persistence`.
    """
    check_pair(x, y, least=4)
    if permutations < 1 or (size is not None and size < 4):
        raise InvalidInputError(f"permutations, size: expected at least 1 and 4, found {permutations} and {size}")
    alpha = engine == "alpha" or (engine == "auto" and x.shape[1] <= 3)
    size = min(size or (300 if alpha else 150), len(x), len(y))
    pool = torch.cat([subset(x, size, generator), subset(y, size, generator)])
    splits = [torch.arange(2 * size), *(torch.randperm(2 * size, generator=generator) for _ in range(permutations))]

    def distances(order: Tensor) -> list[float]:
        halves = [persistence(pool[part], max_degree=max_degree, fields=(field,), engine=engine, budget=budget)[field] for part in order.split(size)]
        return [bottleneck(halves[0], halves[1], k) for k in range(max_degree + 1)]

    found = np.array([distances(order) for order in splits])
    by_chance = np.quantile(found[1:], LEVEL, axis=0, method="higher")
    reached = (found[1:] >= found[0] * (1 - 1e-12)).sum(0)
    p_values = tuple(float(1 + count) / (1 + permutations) for count in reached)
    return PermutationTest(tuple(map(float, found[0])), p_values, tuple(map(float, by_chance)), size, permutations, field)


def bottleneck(one: Diagram, other: Diagram, degree: int) -> float:
    """Exact bottleneck distance of two diagrams in a degree, radius units; infinite where the numbers of bars that never die differ."""
    from gudhi.hera import bottleneck_distance

    return float(bottleneck_distance(_off_diagonal(one.bars[degree]), _off_diagonal(other.bars[degree]), 0.0))


def _off_diagonal(bars: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.ascontiguousarray(bars[bars[:, 1] > bars[:, 0]])
