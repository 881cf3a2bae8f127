"""Bars that one diagram has and another has not, and where in the cloud they lie.

Bars are matched at least total cost, the cost of a pair being the larger of the differences of births and deaths (at most the floor) and that of a
bar left alone half its length; what is left alone and is longer than the floor is a feature of one cloud only. Its place is the simplex
that ends it: for a component the gap to the next one, for a hole or void the points that surround it where it is filled at last (in an
alpha complex they lie on the largest empty ball inside, of radius the death).

Cohen-Steiner, Edelsbrunner, Harer (2007), Stability of persistence diagrams; Edelsbrunner, Harer (2010), Computational Topology.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topogen.geometry.clouds.farthest_points import Landmarks
from topogen.topology.persistence.persistence import Diagram, finishing_simplices

__all__ = ["UnmatchedFeature", "unmatched_features"]

MOST_BARS, ROUGHLY = 400, 1e-3


@dataclass(frozen=True)
class UnmatchedFeature:
    """A bar [birth, death) in `degree` (radii, data units), the `rows` of the cloud at which it ends (empty: it does not), and the `centre` of the ball
    through these (their mean in Rips filtrations)."""

    degree: int
    birth: float
    death: float
    rows: tuple[int, ...]
    centre: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        death = None if math.isinf(self.death) else self.death
        return {"degree": self.degree, "birth": self.birth, "death": death, "rows": list(self.rows), "centre": list(self.centre)}

    def to_text(self) -> str:
        """In words."""
        kind = {0: "a gap", 1: "a hole", 2: "a void"}.get(self.degree, f"a class of degree {self.degree}")
        where = f" around ({', '.join(f'{c:.3g}' for c in self.centre[:6])}{', ...' if len(self.centre) > 6 else ''})" if self.centre else ""
        return f"{kind} from radius {self.birth:.3g} to {self.death:.3g}{where}"


def unmatched_features(mine: Diagram, theirs: Diagram, floors: Sequence[float], landmarks: Landmarks) -> tuple[UnmatchedFeature, ...]:
    """Features of the diagram `mine` of some landmarks that have no partner in `theirs`, longest first; bars of degree k count above the radius `floors[k]`."""
    alone = [(k, *bar) for k, floor in enumerate(floors) for bar in _alone(mine.bars[k], theirs.bars[k], floor)]
    if not alone:
        return ()
    ends = finishing_simplices(landmarks.points, mine)
    found = (_feature(degree, birth, death, ends, landmarks) for degree, birth, death in alone)
    return tuple(sorted(found, key=lambda feature: feature.birth - feature.death))


def _alone(mine: NDArray[np.float64], theirs: NDArray[np.float64], floor: float) -> list[tuple[float, float]]:
    """Bars of mine, longer than the floor, that the cheapest matching leaves alone."""
    from scipy.optimize import linear_sum_assignment

    one, other = (bars[np.argsort(bars[:, 0] - bars[:, 1], kind="stable")[:MOST_BARS]] for bars in (mine, theirs))
    finite = [bars[np.isfinite(bars)] for bars in (one, other)]
    # bars that never die are matched by their births, at a death above all others
    top = 4 * max([float(values.max()) for values in finite if len(values)], default=1.0)
    a, b = (np.minimum(bars, top) for bars in (one, other))
    n, m = len(a), len(b)
    cost = np.zeros((n + m, n + m))
    pairs = np.abs(a[:, None] - b[None]).max(2)
    cost[:n, :m] = np.where(pairs > floor, (n + m) * (top + pairs), pairs)
    cost[:n, m:] = (a[:, 1] - a[:, 0])[:, None] / 2
    cost[n:, :m] = (b[:, 1] - b[:, 0])[None] / 2
    rows, columns = linear_sum_assignment(cost)
    left = rows[(rows < n) & (columns >= m)]
    return [(float(one[i, 0]), float(one[i, 1])) for i in left if one[i, 1] - one[i, 0] > floor]


def _feature(degree: int, birth: float, death: float, ends: list[tuple[NDArray[np.float64], NDArray[np.int64]]], landmarks: Landmarks) -> UnmatchedFeature:
    bars, simplices = ends[degree]
    if math.isinf(death) or not len(bars):
        return UnmatchedFeature(degree, birth, death, (), ())
    chosen = torch.from_numpy(simplices[np.abs(bars - (birth, death)).sum(1).argmin()])
    centre = _centre(landmarks.points[chosen].detach().double(), death)
    return UnmatchedFeature(degree, birth, death, tuple(landmarks.indices[chosen].tolist()), tuple(centre.tolist()))


def _centre(corners: Tensor, death: float) -> Tensor:
    """Centre of the ball through the corners (k, D) if its radius is the death (an alpha complex, or an edge), else their mean."""
    sides = corners[1:] - corners[0]
    offset = torch.linalg.lstsq(sides, sides.square().sum(1, keepdim=True) / 2, driver="gelsd").solution[:, 0]
    return corners[0] + offset if abs(float(offset.norm()) - death) <= ROUGHLY * death else corners.mean(0)
