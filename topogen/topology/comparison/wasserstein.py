"""Wasserstein distances of two clouds as distributions, exact on a subset and sliced on all, beside what two halves of one cloud are apart.

    W_2(X, Y)^2 = min over couplings of E |x - y|^2 ,      SW_2^2 = mean over directions u of W_2(<u, X>, <u, Y>)^2 <= W_2^2

Finite samples of one distribution are not at distance zero; `within` is that floor, W_2 of two disjoint subsets of X of the same size.
Both are POT's. Villani (2009), Optimal transport; Bonneel, Rabin, Peyre, Pfister (2015), Sliced and Radon Wasserstein barycenters of measures.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.topology.persistence.hausdorff import check_pair, subset

__all__ = ["Wasserstein", "wasserstein"]


@dataclass(frozen=True)
class Wasserstein:
    """Wasserstein-2 distances in data units: `exact` and `within` from `n_exact` points a side, `sliced` over `directions` from `n_sliced`."""

    exact: float
    within: float
    sliced: float
    n_exact: int
    n_sliced: int
    directions: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def wasserstein(x: Tensor, y: Tensor, *, most: int = 1000, directions: int = 200, generator: torch.Generator | None = None) -> Wasserstein:
    """Exact and sliced Wasserstein-2 distances of clouds (n, D) and (m, D), n, m at least 2, each point of the same mass.

    `most`: how many points a side the exact distance takes (its cost grows with their cube); the sliced one takes fifty times as many.
    """
    check_pair(x, y, least=2)
    if min(most, directions) < 1:
        raise InvalidInputError(f"most, directions: expected numbers from 1 on, found {most} and {directions}")
    size = min(most, len(x) // 2, len(y))
    pool = subset(x, 2 * size, generator)
    one, other, theirs = pool[:size], pool[size:], subset(y, size, generator)
    wide = (subset(x, 50 * most, generator), subset(y, 50 * most, generator))
    return Wasserstein(_exact(one, theirs), _exact(one, other), _sliced(*wide, directions, generator), size, min(len(wide[0]), len(wide[1])), directions)


def _exact(x: Tensor, y: Tensor) -> float:
    import ot

    unit = _unit(x, y)
    cost = ot.dist((x / unit).numpy(), (y / unit).numpy())
    return unit * math.sqrt(max(float(ot.emd2([], [], cost, numItermax=1_000_000)), 0.0))


def _sliced(x: Tensor, y: Tensor, directions: int, generator: torch.Generator | None) -> float:
    import ot

    unit = _unit(x, y)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    found = ot.sliced_wasserstein_distance((x / unit).numpy(), (y / unit).numpy(), n_projections=directions, seed=np.random.RandomState(seed))
    return unit * float(found)


def _unit(x: Tensor, y: Tensor) -> float:
    """The largest coordinate: squares of clouds in units of it neither overflow nor vanish."""
    return max(float(x.abs().max()), float(y.abs().max())) or 1.0
