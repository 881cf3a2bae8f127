"""Betti numbers at one scale, where balls round the points retract onto the set: a rule that asks for less reach than the spanning one where noise is small.

Let L be finite, every point of M within eps of L and every point of L within nu eps of M, nu <= 1, and R the reach of M. If
Delta = 2 (R - nu eps)^2 - (R + eps)^2 >= 0, the balls of radius r round L retract onto M for all

    (R + eps - sqrt Delta) / 2  <=  r  <=  (R + eps + sqrt Delta) / 2,

an interval that grows with R at both ends. It holds [a eps, w a eps] once R >= k eps, with

    a = (1 + nu) (1 + w + sqrt(1 + w^2)) / (2 w),      k = (1 + w) a - 1.

Cech, w = 4/3: k = 2.5 without noise, and every radius in [1.5 eps, 2 eps] has the Betti numbers of M. Rips, w = theta^2: from
Cech(s) in Rips(s) in Cech(theta s), beta_k(M) = #{bars [b, d) : b <= a eps, d > theta a eps}, k = 2.93 at most. A bar that is there at only a part
of the interval contradicts the assumption, which is how a cloud too coarse for its set betrays itself; so does one that is born after eps, since
M in L^eps in L^r, whose whole is an isomorphism in homology, lets no class of M begin later. What the points show of the reach (`reach_bound`) is a third
check.

Attali, Dal Poz Kourimska, Fillmore, Ghosh, Lieutier, Stephenson, Wintraecken (2024), Tight bounds for the learning of homotopy a la Niyogi, Smale, and
Weinberger; Niyogi, Smale, Weinberger (2008), Finding the homology of submanifolds with high confidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from topogen.topology.inference.rules import Count, Rule, constant, too_coarse, too_far
from topogen.topology.persistence.persistence import Diagram

__all__ = ["NO_LESS", "Reconstruction"]

WIDTH = 4 / 3
NO_LESS = "the points show no less, and cannot show more"


@dataclass(frozen=True)
class Reconstruction:
    """The rule at a scale `eps` for points within `noise` <= eps of the set, both in data units; `seen` is the least reach that the points show."""

    rule: Rule
    eps: float
    noise: float
    seen: float = math.inf

    @property
    def near(self) -> float:
        """a: where the interval begins, in units of eps."""
        w = WIDTH if self.rule.filtration == "cech" else self.rule.theta**2
        return (1 + self.noise / self.eps) * (1 + w + math.sqrt(1 + w * w)) / (2 * w)

    @property
    def far(self) -> float:
        """Where it ends: w a (Cech), theta a (Rips)."""
        return self.near * (WIDTH if self.rule.filtration == "cech" else self.rule.theta)

    @property
    def reach(self) -> float:
        """k: what the reach must exceed, in units of eps."""
        w = WIDTH if self.rule.filtration == "cech" else self.rule.theta**2
        return (1 + w) * self.near - 1

    @property
    def name(self) -> str:
        """The rule in words."""
        return f"{self.rule.filtration.capitalize()} reconstruction rule [{self.near:.3g} eps, {self.far:.3g} eps]"

    @property
    def assumption(self) -> str:
        """What it rests on, and how far the data check it."""
        return f"reach > {self.reach:.3g} eps = {self.reach * self.eps:.3g}, {NO_LESS}"

    def read_all(self, diagrams: Mapping[int, Diagram]) -> dict[int, Count]:
        """`read` of each field's diagram."""
        return {p: self.read(diagram) for p, diagram in diagrams.items()}

    def read(self, diagram: Diagram) -> Count:
        """Betti numbers; undecided where the reach cannot be as large, or where a bar meets the interval without spanning it."""
        undecided = (None,) * len(diagram.bars)
        most = min(self.rule.enclosing, self.seen)
        if self.reach * self.eps >= most:
            return too_coarse(undecided, self.reach, self.eps, most, self.rule, seen=self.seen < self.rule.enclosing)
        if diagram.end < self.far * self.eps:
            return too_far(undecided, self.eps, self.far, diagram.end)
        return constant(diagram, self.near * self.eps, self.far * self.eps, self.eps, born=self.eps)
