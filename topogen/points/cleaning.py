"""Repairs that are always safe, and always told.

Exact duplicates carry no topology, and zero-length bars and dropped alpha vertices follow from them: the first of each is kept, in
the order given. Constant columns are named and kept, since dropping them would change the ambient space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.geometry.clouds.point_clouds import first_occurrences
from topogen.points.checking import as_points

__all__ = ["Repairs", "clean", "distinct"]


@dataclass(frozen=True)
class Repairs:
    """What `clean` found and did.

    `found` points came in, `kept` went out; `duplicates` = found - kept were exact copies, the most frequent point occurring
    `largest_multiplicity` times (1: no copies). `constant_columns` are the indices of columns with a single value; they are kept.
    """

    found: int
    kept: int
    duplicates: int
    largest_multiplicity: int
    constant_columns: tuple[int, ...]

    def to_text(self) -> str:
        """One line per repair or finding; says so where there is none."""
        lines = []
        if self.duplicates:
            lines.append(
                f"removed {self.duplicates} exact duplicates of {self.found} points (the most frequent point occurs {self.largest_multiplicity} times)"
            )
        if self.constant_columns:
            lines.append(f"constant columns, kept: {', '.join(map(str, self.constant_columns))}")
        return "\n".join(lines) or f"nothing to repair in {self.found} points"


def clean(points: Any) -> tuple[Tensor, Repairs]:
    """The distinct points (m, D) of a cloud (n, D), float64, in the order of their first occurrence, and what was repaired.

    Raises InvalidInputError for what `as_points` refuses.

    >>> kept, repairs = clean([[3.0, 1.0], [0.0, 1.0], [3.0, 1.0]])
    >>> kept.tolist()
    [[3.0, 1.0], [0.0, 1.0]]
    >>> print(repairs.to_text())
    removed 1 exact duplicates of 3 points (the most frequent point occurs 2 times)
    constant columns, kept: 1
    """
    cloud = as_points(points)
    first, counts = first_occurrences(cloud)
    constant = torch.nonzero(cloud.amin(0) == cloud.amax(0)).flatten() if len(cloud) > 1 else torch.empty(0)
    repairs = Repairs(
        found=len(cloud),
        kept=len(first),
        duplicates=len(cloud) - len(first),
        largest_multiplicity=int(counts.max()),
        constant_columns=tuple(int(column) for column in constant),
    )
    kept = cloud if repairs.duplicates == 0 else cloud[first.to(cloud.device)]
    return kept, repairs


def distinct(points: Any) -> Tensor:
    """The rows (m,) int64 of a cloud (n, D) that `clean` keeps: what belongs to the points one by one is to be cut to them."""
    return first_occurrences(as_points(points))[0]
