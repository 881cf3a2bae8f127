"""What the diagram of some points proves about other points near them: counts of classes, exact where no bar is in between.

Let L and X be finite sets, f = max_l d(l, X), g = max_x d(x, L). Balls of radius s round L lie in balls of radius s + f round X and back,
so for the number rank(s, t) of classes born by s that are alive at t (bars with b <= s, d > t), in radius units,

    rank_L(s - f, t + g)  <=  rank_X(s, t)  <=  rank_L(s + g, t - f)           (the upper bound where s + g <= t - f).

The same holds of Rips complexes, by the simplicial maps that send a point to its nearest landmark: they make edges longer by 2 g at most, hence radii by g, and
are contiguous to inclusions. Balls and Rips complexes differ: since Rips(s) lies in Cech(theta s), theta <= 2^(1/2), and Cech(t) in Rips(t),

    rank_Rips(s, t)  <=  rank_Cech(2^(1/2) s, t),

exact numbers of Rips complexes are lower bounds for balls, and nothing more.

Landmarks are part of their cloud: f = 0 and g the covering radius. A *window* is an interval [s, t] on which both bounds agree in every degree over every
field, so that its Betti numbers are a theorem about X: a gap certificate. No assumption on the set that X samples is made, and none follows about it.

Cohen-Steiner, Edelsbrunner, Harer (2007), Stability of persistence diagrams; Chazal, de Silva, Glisse, Oudot (2016), The structure and stability
of persistence modules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topogen.topology.persistence.persistence import Diagram

__all__ = ["Excess", "Window", "rank_bounds", "excess", "windows"]

SCALES, WIDE = 400, 1.5
Counts = NDArray[np.int64]
Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """Exactly `betti[p][k]` classes of degree k over Z/p are born by radius `start` and alive at `stop` (data units, inf: for ever), in the complexes of
    `filtration` of all points: "cech", the balls round them, or "rips"."""

    betti: Mapping[int, tuple[int, ...]]
    start: float
    stop: float
    filtration: str = "cech"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        betti = {str(p): list(b) for p, b in self.betti.items()}
        return {"betti": betti, "start": self.start, "stop": None if np.isinf(self.stop) else self.stop, "filtration": self.filtration}

    def to_text(self) -> str:
        """In one line."""
        numbers = ", ".join(f"({','.join(map(str, b))}) over Z/{p}" for p, b in self.betti.items())
        where = "balls round all points" if self.filtration == "cech" else "Rips complexes of all points"
        text = f"in the {where} exactly {numbers} classes last from radius {self.start:.4g} to {self.stop:.4g}"
        later = math.sqrt(2) * self.start
        return f"{text}, in balls at least as many from {later:.4g} on" if self.filtration == "rips" and later < self.stop else text


@dataclass(frozen=True)
class Excess:
    """At least `count` classes of `degree` over Z/`field` live from radius `start` to `stop` in one cloud, and in none within `tolerance` of the other."""

    degree: int
    field: int
    count: int
    start: float
    stop: float
    tolerance: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return dict(vars(self))


def windows(diagrams: Mapping[int, Diagram], forward: float, back: float) -> tuple[Window, ...]:
    """What diagrams of L prove of X, f = `forward`, g = `back` (data units): windows of different Betti numbers, the widest first.

    They begin at g or later and reach at least half as far again; one that contains another is left out: it counts only what outlives both. Scales are
    looked at on a grid of 400; a window is a theorem, that there is none may be due to the grid.
    """
    grid = _grid(diagrams, back)
    filtration = next(iter(diagrams.values())).filtration
    both = [rank_bounds(diagram, grid, forward, back) for diagram in diagrams.values()]
    low, high = (np.concatenate(side) for side in zip(*both, strict=True))
    wide = (grid >= max(back, grid[1]))[:, None] & (grid[None, :] >= WIDE * grid[:, None])
    rows, columns = np.nonzero((low == high).all(0) & low.any(0) & wide)
    widths = grid[columns] - grid[rows]
    kinds, which = np.unique(low[:, rows, columns], axis=1, return_inverse=True)
    degrees = [len(diagram.bars) for diagram in diagrams.values()]
    found = []
    for kind, numbers in enumerate(kinds.T):
        widest = int(np.where(which.reshape(-1) == kind, widths, -1.0).argmax())
        found.append(Window(_by_field(tuple(numbers.tolist()), diagrams, degrees), float(grid[rows[widest]]), float(grid[columns[widest]]), filtration))
    innermost = [w for w in found if not any(w is not v and w.start <= v.start and v.stop <= w.stop for v in found)]
    return tuple(sorted(innermost, key=lambda window: window.start - window.stop))


def rank_bounds(diagram: Diagram, grid: Grid, forward: float, back: float) -> tuple[Counts, Counts]:
    """Lower and upper bounds (degrees, scales, scales) of the ranks of X at all pairs (s, t) of the ascending grid, from a diagram of L.

    Where nothing is proved, the lower bound is 0 and the upper one -1 (t <= s) or the largest integer (s and t are too close together, or the diagram
    ends before).
    """
    low = np.stack([_ranks(bars, grid - forward, grid + back) for bars in diagram.bars])
    high = np.stack([_ranks(bars, grid + back, grid - forward) for bars in diagram.bars])
    start, stop = grid[:, None], grid[None, :]
    low[:, (stop + back > diagram.end) | (start < forward)] = 0
    high[:, (start + back > stop - forward) | (stop - forward > diagram.end)] = np.iinfo(np.int64).max
    high[:, stop <= start] = -1
    return low, high


def excess(
    mine: Mapping[int, Diagram], theirs: Mapping[int, Diagram], back: tuple[float, float], tolerance: float = 0.0, forward: tuple[float, float] = (0.0, 0.0)
) -> tuple[Excess, ...]:
    """Classes that X has and no set within Hausdorff distance `tolerance` of Y has, proved from diagrams of points near each.

    Per field and degree the largest surplus, at its widest interval. `forward[0]`, `back[0]` are f and g of the points behind `mine` with respect to X,
    `forward[1]`, `back[1]` those behind `theirs` with respect to Y (zero and the covering radius for landmarks).
    """
    found = []
    for p in mine:
        grid = _grid({0: mine[p], 1: theirs[p]}, max(back))
        low = rank_bounds(mine[p], grid, forward[0], back[0])[0]
        high = rank_bounds(theirs[p], grid, forward[1] + tolerance, back[1] + tolerance)[1]
        for degree in range(min(len(low), len(high))):
            surplus = np.where(high[degree] < 0, 0, low[degree] - np.minimum(high[degree], low[degree]))
            if surplus.max() > 0:
                rows, columns = np.nonzero(surplus == surplus.max())
                widest = (grid[columns] - grid[rows]).argmax()
                found.append(Excess(degree, p, int(surplus.max()), float(grid[rows[widest]]), float(grid[columns[widest]]), tolerance))
    return tuple(found)


def _ranks(bars: NDArray[np.float64], births: Grid, deaths: Grid) -> Counts:
    """How many bars have b <= births[i] and d > deaths[j]; by cumulated histogram, so that a million bars are no trouble."""
    first = np.searchsorted(births, bars[:, 0], side="left")
    last = np.searchsorted(deaths, bars[:, 1], side="left")
    table = np.zeros((len(births) + 1, len(deaths) + 1), dtype=np.int64)
    np.add.at(table, (first, last), 1)
    # bars born by births[i]: first <= i; alive at deaths[j]: last > j
    born = table.cumsum(0)[:-1]
    return born[:, ::-1].cumsum(1)[:, ::-1][:, 1:]


def _grid(diagrams: Mapping[int, Diagram], back: float) -> Grid:
    """Scales up to just above where the last bar dies, evenly spaced, and zero."""
    finite = [bars[np.isfinite(bars)] for d in diagrams.values() for bars in d.bars]
    top = max((float(values.max()) for values in finite if len(values)), default=0.0)
    end = min(d.end for d in diagrams.values())
    return np.linspace(0.0, min(1.01 * (top + 2 * back) or 1.0, end), SCALES)


def _by_field(numbers: tuple[int, ...], diagrams: Mapping[int, Diagram], degrees: list[int]) -> dict[int, tuple[int, ...]]:
    ends = np.cumsum([0, *degrees])
    return {p: numbers[ends[i] : ends[i + 1]] for i, p in enumerate(diagrams)}
