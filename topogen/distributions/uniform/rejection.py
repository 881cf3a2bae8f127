"""Independent points of an even law from weighted hits: each hit is kept with probability weight / heaviest.

How many hits a batch of proposals gives is known only once some were drawn, so batches grow and shrink with the share kept so far.
von Neumann (1951), Various techniques used in connection with random digits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from topogen.errors import ProjectionError

__all__ = ["BATCH", "rejection_sample"]

BATCH = 20_000
Hits = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]


def rejection_sample(hits: Hits, n: int, heaviest: float, nothing: Tensor, generator: torch.Generator | None, *, rate: float, failure: str) -> Tensor:
    """n rows (n, D) drawn from `hits(proposals, generator) -> (rows, weights)`, every row kept with probability weight / heaviest.

    `nothing` (0, D) gives the shape of no rows; `rate` is the share of proposals expected to be kept. Weights above `heaviest` are kept as if they were it.
    Raises ProjectionError, with `failure` as its cause, when a whole batch leaves nothing.
    """
    source = generator if generator is not None else torch.default_generator
    kept, have = [nothing], 0
    while have < n:
        proposals = min(BATCH, int(1.1 * (n - have) / rate) + 64)
        rows, weight = hits(proposals, source)
        rows = rows[torch.rand(len(rows), dtype=torch.float64, generator=source) * heaviest < weight]
        kept.append(rows)
        have += len(rows)
        rate = max(len(rows) / proposals, 1e-3) if len(rows) else rate / 10
        if not len(rows) and proposals == BATCH:
            raise ProjectionError(f"sample: none of {proposals} {failure}")
    return torch.cat(kept)[:n]
