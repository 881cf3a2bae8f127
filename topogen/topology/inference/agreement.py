"""Do two halves of a cloud say the same? Homology of two disjoint random halves, each with its own landmarks and scale.

A number that only one half shows was made by the draw, not by the set. Agreement is no proof: both halves share the sampler and its blind spots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from topogen.geometry.clouds.point_clouds import check_cloud
from topogen.topology.inference.homology import LEAST_POINTS, Homology, homology

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """Homology of both halves."""

    first: Homology
    second: Homology

    @property
    def agree(self) -> bool | None:
        """False where a decided number differs, True where all are decided and equal, None otherwise."""
        pairs = [pair for p, betti in self.first.decided.items() for pair in zip(betti, self.second.decided[p], strict=True)]
        if any(None not in (a, b) and a != b for a, b in pairs):
            return False
        return True if all(None not in pair for pair in pairs) else None

    def to_text(self) -> str:
        """In a few lines."""
        word = {True: "agree", False: "DISAGREE", None: "are not both decided"}[self.agree]
        numbers = [
            ", ".join(f"({','.join('?' if b is None else str(b) for b in betti)}) over Z/{p}" for p, betti in half.decided.items()) for half in self.halves
        ]
        return f"two halves of {self.first.n_points} and {self.second.n_points} points {word}: {numbers[0]}; {numbers[1]}"

    @property
    def halves(self) -> tuple[Homology, Homology]:
        """Both, in order."""
        return self.first, self.second

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"agree": self.agree, "first": self.first.to_dict(), "second": self.second.to_dict()}


def agreement(points: Tensor, *, generator: torch.Generator | None = None, **options: Any) -> Agreement:
    """Homology of two random halves of a cloud (n, D) of at least 24 distinct points; `options` are those of `homology`, which says what is raised."""
    check_cloud(points, 2 * LEAST_POINTS)
    order = torch.randperm(len(points), generator=generator).to(points.device)
    first, second = (homology(points[half], generator=generator, **options) for half in order.tensor_split(2))
    return Agreement(first, second)
