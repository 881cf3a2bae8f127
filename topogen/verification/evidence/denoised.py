"""A second look at a noisy cloud: the homology of its points moved onto the sheets they came from.

Noise that is wider than what the rules need leaves them undecided, however many points there are. Where neighbourhoods show the noise (`clouds.scales`)
and it is above .2 % of the diameter, and d <= 3, every point goes to the foot of a quadratic sheet of dimension d fitted to its k nearest neighbours
(`geometry.clouds.denoising`), and the rules are asked again. Their answer is heuristic: nothing bounds the distance of the moved points from the set, and
what is smaller than k neighbours is smoothed away. It is no answer where it contradicts a number that the points decide as they are.
Levin (1998), The approximation power of moving least-squares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.geometry.clouds.denoising import onto_sheets
from topogen.geometry.clouds.scales import diameter, noise_level
from topogen.topology.inference.duality import Decided
from topogen.topology.inference.homology import Homology
from topogen.verification.verdict import betti_text

__all__ = ["Denoised", "denoised", "second_look"]

LEAST_NOISE = 2e-3
MOST_NEIGHBOURS = 10_000_000
HIGHEST, FEWEST = 3, 400


@dataclass(frozen=True)
class Denoised:
    """Points (m, D) of n, moved onto sheets of k neighbours within a `radius`; the noise these show per normal coordinate and the median move, data units."""

    points: Tensor
    n: int
    k: int
    radius: float
    noise: float
    moved: float

    def to_text(self) -> str:
        """What was done, in words."""
        return f"quadratic sheets of {self.k} of {self.n} neighbours (noise {self.noise:.3g}, median move {self.moved:.3g})"


def denoised(points: Tensor, dim: int, *, generator: torch.Generator | None = None) -> Denoised | None:
    """Distinct points (n, D) of a set of dimension `dim` without their noise; None where none is seen. Where k is so large that moving all of them costs too
    much, evenly chosen ones are moved, onto sheets fitted to all."""
    n = len(points)
    if not 1 <= dim <= min(HIGHEST, points.shape[1] - 1) or n < dim + 2:
        return None
    level = noise_level(points, dim, generator=generator)
    if not level.resolved or level.noise <= LEAST_NOISE * diameter(points):
        return None
    count = min(n, MOST_NEIGHBOURS // level.k)
    if count < min(n, FEWEST):
        return None
    some = points[torch.arange(count) * n // count]
    moved = onto_sheets(points, dim, level.k, some)
    return Denoised(moved, n, level.k, level.radius, level.noise, float((moved - some).norm(dim=1).median()))


def second_look(first: Homology, cloud: Denoised, judge: Callable[[Tensor], Homology]) -> Homology:
    """The homology of the points without noise where `judge` decides it and `first`, of the points as they are, does not contradict it; else `first`."""
    try:
        again = judge(cloud.points)
    except (BudgetExceeded, InvalidInputError) as error:
        return _no_more(first, f"moved onto {cloud.to_text()} the points cannot be judged: {error}")
    if None in again.betti.values():
        return _no_more(first, f"moved onto {cloud.to_text()} the points decide no more")
    if not _agree(first.decided, again.decided):
        return _no_more(first, f"moved onto {cloud.to_text()} the points say {betti_text(again.decided)}, which they contradict as they are")
    assumption = f"{again.assumption}; the points, moved onto {cloud.to_text()}, are near the set, not checked by the data"
    notes = (*again.notes, f"as they are the points do not decide: {first.reason}")
    # what a stronger answer needs, and what is a theorem about the points, is still said of the points as they are
    own = replace(again, needs=first.needs, finest=first.finest, windows=first.windows)
    return replace(own, label="heuristic", assumption=assumption, smoothed=cloud.radius, notes=notes)


def _no_more(first: Homology, note: str) -> Homology:
    return replace(first, notes=(*first.notes, note))


def _agree(first: Decided, again: Decided) -> bool:
    return all(a is None or a == b for p, numbers in first.items() for a, b in zip(numbers, again[p], strict=False))
