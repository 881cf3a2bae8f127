"""How stable Betti numbers are: how often halves of the cloud, or models refitted to them, show the same.

Of n distinct points, half are drawn without replacement, N times; each half gets the Betti numbers that its homology (`topology.inference.homology`) decides,
or "undecided". The stability of Betti numbers b is the share of halves with b, undecided ones counting against every b. It is no probability that b is right:
the halves overlap and come from one cloud, so that what no point saw no half sees, and no confidence follows from their number. A half has a coarser scale
than the whole, so the share errs towards doubt. With `refit` each half is handed to a learner, and the Betti numbers are those of samples of what it
learned: doubt about the fit is in them as well.
Politis, Romano, Wolf (1999), Subsampling; Meinshausen, Buehlmann (2010), Stability selection.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError, TopogenError
from topogen.geometry.clouds.point_clouds import distinct_rows
from topogen.topology.inference.homology import homology
from topogen.topology.persistence.budget import Budget
from topogen.verification.evidence.betti_evidence import check_primes
from topogen.verification.evidence.inputs import as_cloud

__all__ = ["BettiStability", "betti_stability"]

LEAST = 24
Numbers = tuple[tuple[int, ...], ...]
Refit = Callable[[Tensor, torch.Generator], Callable[[int, torch.Generator], Tensor]]


@dataclass(frozen=True)
class BettiStability:
    """What `resamples` halves said: `counts` of Betti numbers (one tuple for each of `fields`, in their order), how many were `undecided`, and how many
    `failed` (no fit, or no cloud; undecided too)."""

    fields: tuple[int, ...]
    counts: dict[Numbers, int]
    resamples: int
    undecided: int
    failed: int
    size: int
    seed: int

    @property
    def best(self) -> dict[int, tuple[int, ...]] | None:
        """The most frequent Betti numbers by field; None where every half is undecided."""
        if not self.counts:
            return None
        numbers = max(self.counts, key=lambda found: (self.counts[found], found))
        return dict(zip(self.fields, numbers, strict=True))

    def share(self, betti: dict[int, tuple[int, ...]] | None = None) -> float:
        """The share of all halves with Betti numbers by field; with the most frequent ones where None."""
        return self._count(betti) / self.resamples

    def to_text(self) -> str:
        """A few lines, the most frequent first."""
        rows = sorted(self.counts.items(), key=lambda item: -item[1])
        lines = [f"[heuristic] {count} of {self.resamples} halves: {self._said(found)}" for found, count in rows]
        lines.append(f"undecided: {self.undecided} of {self.resamples} halves of {self.size} points" + (f", {self.failed} failed" if self.failed else ""))
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        rows = [
            {"betti": {str(p): list(b) for p, b in zip(self.fields, found, strict=True)}, "count": count, "share": count / self.resamples}
            for found, count in sorted(self.counts.items(), key=lambda item: -item[1])
        ]
        plain = {name: getattr(self, name) for name in ("resamples", "undecided", "failed", "size", "seed")}
        return {"schema_version": 1, "found": rows, **plain}

    def to_json(self) -> str:
        """One JSON document of `to_dict`."""
        return json.dumps(self.to_dict(), allow_nan=False, indent=2)

    def _count(self, betti: dict[int, tuple[int, ...]] | None) -> int:
        wanted = self.best if betti is None else betti
        return 0 if wanted is None else self.counts.get(tuple(_trimmed(wanted[p]) for p in self.fields), 0)

    def _said(self, found: Numbers) -> str:
        return ", ".join(f"Z/{p} ({','.join(map(str, b))})" for p, b in zip(self.fields, found, strict=True))


def betti_stability(
    points: Any,
    *,
    dim: int | None = None,
    closed: bool | None = None,
    fields: Sequence[int] = (2, 3),
    resamples: int = 20,
    refit: Refit | None = None,
    samples: int = 10_000,
    seed: int = 0,
    budget: Budget | None = None,
    executor: Executor | None = None,
) -> BettiStability:
    """The distribution of the Betti numbers of a cloud (n, D) over `resamples` halves of it; trailing zeros are left out.

    `dim`, `closed`: as in `homology`. `refit(points, generator)` learns from a half and returns a sampler `draw(n, generator) -> (n, D)`, of which
    `samples` are judged. Each half has a generator of its own, seeded by its number, so an `executor` changes nothing but the time.
    Raises InvalidInputError for fewer than 24 distinct points or unusable options.

    Example:
        >>> from topogen.manifolds.shapes import Circle
        >>> found = betti_stability(Circle().sample(1000, torch.Generator().manual_seed(0)), dim=1, closed=True, fields=(2,))
        >>> found.best, found.share()
        ({2: (1, 1)}, 1.0)
    """
    cloud = distinct_rows(as_cloud(points, "points"))
    if len(cloud) < LEAST:
        raise InvalidInputError(f"points: found {len(cloud)} distinct points, halves need at least {LEAST}; add samples")
    if isinstance(resamples, bool) or not isinstance(resamples, int) or resamples < 1:
        raise InvalidInputError(f"resamples: expected an integer of at least 1, found {resamples!r}")
    primes = check_primes(fields)
    judge = partial(_judge, cloud, dim, closed, primes, refit, samples, seed, budget)
    found = list((map if executor is None else executor.map)(judge, range(resamples)))
    counts = Counter(numbers for numbers in found if isinstance(numbers, tuple))
    failed = sum(numbers == "failed" for numbers in found)
    return BettiStability(primes, dict(counts), resamples, resamples - counts.total(), failed, len(cloud) // 2, seed)


def _judge(
    cloud: Tensor,
    dim: int | None,
    closed: bool | None,
    fields: tuple[int, ...],
    refit: Refit | None,
    samples: int,
    seed: int,
    budget: Budget | None,
    number: int,
) -> Numbers | str:
    """Betti numbers of one half, "undecided" or "failed"."""
    source = torch.Generator().manual_seed(1_000_003 * seed + number)
    half = cloud[torch.randperm(len(cloud), generator=source)[: len(cloud) // 2]]
    try:
        judged = half if refit is None else refit(half, source)(samples, source).detach().double()
        betti = homology(judged, dim=dim, fields=fields, closed=closed, budget=budget, generator=source).betti
    except TopogenError:
        return "failed"
    numbers = tuple(_trimmed(b) for b in betti.values() if b is not None)
    return numbers if len(numbers) == len(fields) else "undecided"


def _trimmed(betti: tuple[int, ...]) -> tuple[int, ...]:
    numbers = list(betti)
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
