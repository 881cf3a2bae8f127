"""The singular strata of a cloud: where its sheets cross or branch, of what dimension these places are, and their Betti numbers.

`singular_points` marks the points in whose neighbourhood the cloud is no smooth sheet. They fill a tube of about a neighbourhood's radius w around the
singular set, cluster by cluster. A cluster no longer than 4 w is a point of the singular set; of a longer one the dimension is the number of
principal axes that balls of radius 4 w show, the width of the tube not being one of them, and its Betti numbers over Z/2 are those of its Rips
complex that last from radius .75 w, at which it hangs together, to 1.5 w; undecided where others live in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.errors import BudgetExceeded, NotSupportedError
from topogen.geometry.clouds.farthest_points import farthest_points
from topogen.geometry.clouds.scales import diameter
from topogen.geometry.clouds.sheets import Crossing, Sheets, smooth_sheets
from topogen.geometry.clouds.singular_points import singular_points
from topogen.topology.persistence.persistence import persistence

__all__ = ["Stratum", "find_strata", "sheets"]

LONG, THIN, NEAR = 4.0, 0.25, 0.75
LANDMARKS, BALLS = 300, 50


@dataclass(frozen=True)
class Stratum:
    """One piece of the singular set of a cloud.

    `points` (m, D): those of the cloud near it; `rows` (m,) int64: where they stand in the cloud; `dim`: its dimension; `betti`: Betti numbers over Z/2
    by degree up to `dim`, None where undecided or too costly; `width`: how far its points may lie from it, data units; `crowding`: points per ball over
    those of the regular points around, nearly 2 where two sheets cross. All heuristic.
    """

    points: Tensor
    rows: Tensor
    dim: int
    betti: tuple[int, ...] | None
    width: float
    crowding: float

    @property
    def size(self) -> int:
        """Number of points of the cloud near it."""
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Size, dimension, Betti numbers, width and crowding as plain values."""
        betti = None if self.betti is None else list(self.betti)
        return {"size": self.size, "dim": self.dim, "betti": betti, "width": self.width, "crowding": self.crowding}

    def to_text(self) -> str:
        """The same in a few words."""
        names = {(0, (1,)): "a point", (1, (1, 1)): "a circle", (1, (1, 0)): "an arc"}
        what = names.get((self.dim, self.betti or ()), f"dimension {self.dim}, Betti {self.betti or 'undecided'}")
        return f"{what} ({self.size} points within some {self.width:.3g})"


def find_strata(points: Tensor, dim: int) -> tuple[Stratum, ...]:
    """The pieces of the singular set of distinct points (n, D) of dimension `dim`, the largest first; empty where one sheet passes everywhere.

    What is found is true of the scale of the sampling (`geometry.clouds.singular_points.singular_points`).

    Example:
        >>> from topogen.manifolds.shapes import Torus
        >>> find_strata(Torus().sample(2000, generator=torch.Generator().manual_seed(0)), 2)
        ()
    """
    found = singular_points(points, dim)
    labels = [(found.labels == label).nonzero().squeeze(1) for label in range(int(found.labels.max()) + 1)]
    return tuple(_stratum(points[rows], rows, dim, found.radius, float(crowding)) for rows, crowding in zip(labels, found.crowding, strict=True))


def sheets(points: Tensor, dim: int, strata: tuple[Stratum, ...]) -> Sheets:
    """The smooth sheets of distinct points (n, D) of dimension `dim` >= 2 that cross in `topology.strata.strata`, the largest first (`geometry.clouds.sheets`).

    Raises NotSupportedError for curves: their samples have gaps as wide as the neighbourhoods in which they cross.
    """
    if dim < 2:
        raise NotSupportedError(f"sheets: curves (dim={dim}) are not taken apart where they cross; the strata say where that is")
    return smooth_sheets(points, dim, [Crossing(stratum.rows, stratum.dim, stratum.width) for stratum in strata])


def _stratum(points: Tensor, rows: Tensor, dim: int, width: float, crowding: float) -> Stratum:
    own = min(_dimension(points, width), dim)
    return Stratum(points, rows, own, _betti(points, own, width), width, crowding)


def _dimension(points: Tensor, width: float) -> int:
    """0 for a cluster no longer than the tube is wide, else the median number of axes of balls of radius 4 w with over a quarter of the first's variance."""
    if diameter(points) <= LONG * width:
        return 0
    counts = []
    for centre in farthest_points(points, min(BALLS, len(points))).points:
        ball = points[(points - centre).norm(dim=1) <= LONG * width]
        values = torch.linalg.svdvals(ball - ball.mean(0)).square()
        counts.append(int((values > THIN * values[0]).sum()))
    return int(torch.tensor(counts).median())


def _betti(points: Tensor, dim: int, width: float) -> tuple[int, ...] | None:
    """Classes of the Rips complex that live from NEAR w to twice that, degrees 0 to `dim`; None where others live in the middle."""
    if dim == 0:
        return (1,)
    chosen = farthest_points(points, min(LANDMARKS, len(points)))
    near = max(NEAR * width, chosen.radius)
    try:
        diagram = persistence(chosen.points, max_degree=dim, fields=(2,), engine="rips", threshold=2.1 * near)[2]
    except BudgetExceeded:
        return None
    whole = tuple(diagram.spanning(degree, near, 2 * near) for degree in range(dim + 1))
    return whole if diagram.betti(1.5 * near)[: dim + 1] == whole else None
