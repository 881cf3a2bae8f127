"""Independent points of an even law from weighted hits: each hit is kept with probability weight / heaviest.

How many hits a batch of proposals gives is known only once some were drawn, so batches grow and shrink with the share kept so far.
von Neumann (1951), Various techniques used in connection with random digits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from topogen.errors import ProjectionError

__all__ = ["BATCH", "Mass", "rejection_sample"]

BATCH = 20_000
TOLD = 1e-3
Hits = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]


def rejection_sample(hits: Hits, n: int, heaviest: float, nothing: Tensor, generator: torch.Generator | None, *, rate: float, failure: str) -> Tensor:
    """n rows (n, D) drawn from `hits(proposals, generator) -> (rows, weights)`, every row kept with probability weight / heaviest.

    `nothing` (0, D) gives the shape of no rows; `rate` is the share of proposals expected to be kept. Weights above `heaviest` are kept as if they were it,
    which leaves their excess out of the law: a RuntimeWarning tells its share of the mass where that is above one in a thousand.
    Raises ProjectionError, with `failure` as its cause, when a whole batch leaves nothing.
    """
    source = generator if generator is not None else torch.default_generator
    kept, have, mass = [nothing], 0, Mass(heaviest)
    while have < n:
        proposals = min(BATCH, int(1.1 * (n - have) / rate) + 64)
        rows, weight = hits(proposals, source)
        mass.add(weight)
        rows = rows[torch.rand(len(rows), dtype=torch.float64, generator=source) * heaviest < weight]
        kept.append(rows)
        have += len(rows)
        rate = max(len(rows) / proposals, 1e-3) if len(rows) else rate / 10
        if not len(rows) and proposals == BATCH:
            raise ProjectionError(f"sample: none of {proposals} {failure}")
    if mass.clipped > TOLD:
        warnings.warn(
            f"sample: {mass.count} of {mass.drawn} weights are above the largest one expected, {heaviest:.4g}, which leaves {100 * mass.clipped:.2g} %"
            " of the mass out; the draws are that far from the law",
            RuntimeWarning,
            stacklevel=3,
        )
    return torch.cat(kept)[:n]


class Mass:
    """How much of the mass of weights lies above `heaviest`: `clipped`, its share, `count` of `drawn` weights."""

    def __init__(self, heaviest: float) -> None:
        self.heaviest, self.count, self.drawn = heaviest, 0, 0
        self._total = self._excess = 0.0

    def add(self, weight: Tensor) -> None:
        """Take note of weights (m,)."""
        excess = (weight - self.heaviest).clamp_min(0)
        self.drawn, self.count = self.drawn + len(weight), self.count + int((excess > 0).sum())
        self._total, self._excess = self._total + float(weight.sum()), self._excess + float(excess.sum())

    @property
    def clipped(self) -> float:
        """Share of the mass above."""
        return self._excess / self._total if self._total > 0 else 0.0

    def words(self) -> str:
        """What is to be said of it beside a volume, where anything is above."""
        return f", {100 * self.clipped:.2g} % of the mass above the largest weight expected" if self.count else ""
