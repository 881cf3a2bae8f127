"""Are two clouds draws of one distribution? Maximum mean discrepancy with a permutation p-value.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),     k(a, b) = exp(-|a - b|^2 / (2 h^2)),  h the median distance in the pool,

without the diagonal terms, hence unbiased. Under the hypothesis labels are exchangeable: p = (1 + #{permuted >= observed}) / (1 + N) is exact.
A small p says that the clouds differ as distributions; their topology may be the same. Gretton, Borgwardt, Rasch, Schoelkopf, Smola (2012),
A kernel two-sample test.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.topology.persistence.hausdorff import check_pair, subset

__all__ = ["MaximumMeanDiscrepancy", "mmd"]


@dataclass(frozen=True)
class MaximumMeanDiscrepancy:
    """Squared maximum mean discrepancy (may be slightly negative), its permutation `p_value`, the `bandwidth` h in data units and the sizes."""

    squared: float
    p_value: float
    bandwidth: float
    n_x: int
    n_y: int
    permutations: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def mmd(x: Tensor, y: Tensor, *, most: int = 1000, permutations: int = 199, generator: torch.Generator | None = None) -> MaximumMeanDiscrepancy:
    """Maximum mean discrepancy of clouds (n, D) and (m, D), n, m at least 2, from at most `most` points of each."""
    check_pair(x, y, least=2)
    if most < 2 or permutations < 1:
        raise InvalidInputError(f"most, permutations: expected at least 2 and 1, found {most} and {permutations}")
    x, y = subset(x, most, generator), subset(y, most, generator)
    pool = torch.cat([x, y])
    distance = torch.cdist(pool, pool, compute_mode="donot_use_mm_for_euclid_dist")
    bandwidth = float(distance[distance > 0].median()) if bool((distance > 0).any()) else 1.0
    kernel = (distance / bandwidth).square().mul(-0.5).exp().fill_diagonal_(0)
    labels = torch.zeros(len(pool), permutations + 1, dtype=torch.float64)
    labels[: len(x), 0] = 1
    for column in range(1, permutations + 1):
        labels[torch.randperm(len(pool), generator=generator)[: len(x)], column] = 1
    values = _squared(kernel, labels, len(x), len(y))
    # permuted values that equal the observed one up to rounding count as reaching it
    reached = int((values[1:] >= values[0] - 1e-12).sum())
    return MaximumMeanDiscrepancy(float(values[0]), (1 + reached) / (1 + permutations), bandwidth, len(x), len(y), permutations)


def _squared(kernel: Tensor, labels: Tensor, n: int, m: int) -> Tensor:
    """MMD^2 for every column of labels (n + m, permutations), 1 for x and 0 for y."""
    ours, theirs = kernel @ labels, kernel @ (1 - labels)
    return (labels * ours).sum(0) / (n * (n - 1)) + ((1 - labels) * theirs).sum(0) / (m * (m - 1)) - 2 * (labels * theirs).sum(0) / (n * m)
