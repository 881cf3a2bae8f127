"""Which landmarks carry the homology of a cloud: as many as make eps small at a cost that can be paid.

More landmarks lower the covering radius r, and with it eps and the end 1.5 (theta + 2) eps of the filtration that the spanning rule
asks for, while the number of edges grows. A pilot on 200 landmarks says where the first lasting class dies: a filtration beyond that
costs most and decides nothing. Where even the most landmarks leave eps too large for all rules, few are taken and that is said. Alpha complexes
in R^3 take all landmarks at once; curves get few, since the Delaunay triangulation of two curves may have quadratic size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from topogen.geometry.clouds.farthest_points import Landmarks, covering_radius, farthest_points
from topogen.topology.inference.mass_bound import MassBound
from topogen.topology.inference.reconstruction import Reconstruction
from topogen.topology.inference.rules import SCAN, Rule, plateau_factor, plateau_limit
from topogen.topology.inference.scale import Scale, bounded_scale, held_out_scale, largest_off_plane_distance
from topogen.topology.persistence.budget import GIB, Budget, Cost, estimate_cost
from topogen.topology.persistence.persistence import persistence

__all__ = ["Search"]

ALPHA_CAP, CURVE_CAP = 12_000, 1_000
RIPS_STEPS = (100, 200, 300, 500, 800, 1200, 2000, 3000, 4500, 6000)
RIPS_SECONDS, HOPELESS_SECONDS = 12.0, 0.3
FEWEST = 100
# how often a number of landmarks can be quartered before it is below FEWEST
QUARTERS = 4
PILOT, PILOT_RATIO = 200, 1.3


class Search:
    """The choice of landmarks: the split of the cloud, and for each number of them the scale eps and the cost it leads to.

    `notes`, `finest`: where no number of landmarks can decide at a price, what is said of it, and the eps of the most of them. `skipped`: where some number
    could, but costs more than is spent unasked: which, and what it is predicted to cost.
    """

    def __init__(
        self,
        cloud: Tensor,
        rule: Rule,
        dim: int | None,
        closed: bool | None,
        landmarks: int | str,
        scale: float | str,
        generator: torch.Generator | None,
        crossing: bool = False,
        density_ratio: float | None = None,
        level: float = 0.95,
    ) -> None:
        self.dim, self.known = dim, dim is not None and closed is True
        self.noise_known = not crossing and (not isinstance(scale, str) or (dim is not None and dim < cloud.shape[1]))
        self.notes: tuple[str, ...] = ()
        self.finest: float | None = None
        self.skipped = ""
        self.cloud, self.rule, self.asked, self.given = cloud, rule, landmarks, scale
        most = ALPHA_CAP if rule.filtration == "cech" else RIPS_STEPS[-1]
        n, wanted = len(cloud), most if isinstance(landmarks, str) else landmarks
        order = torch.randperm(n, generator=generator)
        part = n if not isinstance(scale, str) else min(n // 2, 4 * wanted)
        self.source, self.held_out = cloud[order[:part]], cloud[order[part:]]
        self.all = farthest_points(self.source, min(wanted, part))
        self.rough_dim = float(dim) if dim is not None else self._scaling_dimension()
        self.noise = largest_off_plane_distance(cloud, dim) if dim is not None and isinstance(scale, str) else 0.0
        self.bound = None if density_ratio is None or not isinstance(scale, str) else self._bounded(density_ratio, level)

    def choose(self, degree: int, budget: Budget) -> tuple[Landmarks, Scale, float | None]:
        """Landmarks, their scale and the radius at which the filtration may end (None: nowhere)."""
        if self.rule.filtration == "cech":
            cap = CURVE_CAP if self.rough_dim < 1.5 else ALPHA_CAP
            chosen = self._first(len(self.all.indices) if self.asked != "auto" else min(cap, len(self.all.indices)))
            return chosen, self._scale(chosen), None
        if self.asked != "auto":
            chosen = self._first(len(self.all.indices))
            return chosen, *self._asked_end(chosen, degree, budget)
        return self._best_rips(degree, budget)

    def can_do_with_fewer(self, chosen: Landmarks) -> bool:
        """Whether the number of landmarks is ours to lower."""
        return self.asked == "auto" and len(chosen.indices) > FEWEST

    def fewer(self, chosen: Landmarks, degree: int, budget: Budget) -> tuple[Landmarks, Scale, float | None]:
        """A quarter of the landmarks, with their scale and the end of their filtration."""
        less = self._first(max(FEWEST, len(chosen.indices) // 4))
        self.skipped = f"{len(chosen.indices)} landmarks exceed the budget, {len(less.indices)} are judged: raise budget= or say landmarks="
        return (less, self._scale(less), None) if self.rule.filtration == "cech" else (less, *self._asked_end(less, degree, budget))

    def _scaling_dimension(self) -> float:
        """Dimension at the scale of the landmarks: the covering radius of m of them falls like m^(-1/d)."""
        few = max(4, min(100, len(self.all.indices) // 16))
        many = min(16 * few, len(self.all.indices))
        ratio = max(self._first(few).radius / max(self._first(many).radius, 1e-300), 1.0)
        return math.log(many / few) / max(math.log(ratio), 1e-3)

    def _steps(self) -> list[int]:
        return sorted({min(m, len(self.all.indices)) for m in RIPS_STEPS})

    def _first(self, count: int) -> Landmarks:
        points = self.all.points[:count]
        return Landmarks(self.all.indices[:count], points, covering_radius(self.cloud, points))

    def _bounded(self, density_ratio: float, level: float) -> MassBound | None:
        # an alpha complex takes as many landmarks as its own cost allows, from one of two numbers where the dimension is read off the cloud
        choices = 1 if self.asked != "auto" else 1 + (self.dim is None) if self.rule.filtration == "cech" else len(self._steps()) + QUARTERS
        found = MassBound.of(self.all.points, self.source, self.held_out, density_ratio, level, choices)
        if found is None:
            few = f"{len(self.held_out)} held-out points are too few for density_ratio={density_ratio:.3g} at confidence {level:.4g}"
            self.notes = (f"{few}: eps is estimated without it; take more points or a smaller ratio",)
        return found

    def _scale(self, chosen: Landmarks) -> Scale:
        if not isinstance(self.given, str):
            eps, source = float(self.given) + chosen.radius, f"given {self.given:.3g} + landmarks' covering radius {chosen.radius:.3g}"
            return Scale(eps, chosen.radius, float(self.given), 0.0, source, "proved-for-sample")
        if self.bound is not None:
            return bounded_scale(chosen.points, self.held_out, self.bound, self.noise)
        return held_out_scale(chosen.points, self.held_out, self.noise)

    def _best_rips(self, degree: int, budget: Budget) -> tuple[Landmarks, Scale, float | None]:
        """Most landmarks for which the spanning rule can decide at an affordable cost; if there are none, most for the plateau rule.

        Edges that span the cloud collapse hardly at all, so a filtration from which neither rule could read anything is kept cheap.
        """
        options = [(chosen, self._scale(chosen)) for chosen in map(self._first, self._steps())]
        death = self._first_death(degree, budget)
        fine = [o for o in options if self.rule.reach * o[1].eps < self.rule.enclosing]
        second = [(Reconstruction(self.rule, scale.eps, scale.off), chosen, scale) for chosen, scale in options]
        near = [(chosen, scale, r.far * scale.eps) for r, chosen, scale in second if r.reach * scale.eps < self.rule.enclosing and self.noise_known]
        limit = plateau_limit(self.rule, known=self.known, complete=self.known and degree >= (self.dim or 0))
        level = [o for o in options if o[1].eps <= limit]
        if not fine and not near and not level:
            return self._hopeless(options, max(limit, self.rule.enclosing / self.rule.reach), degree, budget)
        spans = [(chosen, scale, SCAN * self.rule.far * scale.eps) for chosen, scale in fine]
        flats = [(chosen, scale, plateau_factor(self.known) * scale.eps) for chosen, scale in level]
        for useful in (spans, near, flats):
            ends = [(chosen, scale, 1.001 * end) for chosen, scale, end in useful]
            affordable = [o for o in ends if o[2] <= 0.95 * death and self._seconds(o[0].points, degree, o[2], budget) <= RIPS_SECONDS]
            if affordable:
                return affordable[-1]
            if ends:
                self.skipped = _told(len(ends[0][0].indices), self._cost(ends[0][0].points, degree, ends[0][2]), "costs more than is spent unasked")
        self.finest = options[-1][1].eps
        chosen, scale = options[0]
        return chosen, scale, plateau_factor(self.known) * scale.eps

    def _hopeless(self, options: list[tuple[Landmarks, Scale]], limit: float, degree: int, budget: Budget) -> tuple[Landmarks, Scale, float]:
        """Landmarks for a diagram to look at, none of which can decide."""
        most, finest = options[-1]
        self.finest = finest.eps
        self.notes = (
            *self.notes,
            f"even {len(most.indices)} landmarks leave eps {finest.eps:.3g}; a rule applies below {limit:.3g}, which takes more samples",
        )
        ends = [(chosen, scale, min(plateau_factor(self.known) * scale.eps, self.rule.filled)) for chosen, scale in options]
        cheap = [o for o in ends if self._seconds(o[0].points, degree, o[2], budget) <= HOPELESS_SECONDS]
        return cheap[-1] if cheap else ends[0]

    def _first_death(self, degree: int, budget: Budget) -> float:
        """Radius at which the first of the lasting classes dies, from a pilot on few landmarks: beyond it the filtration costs much and tells nothing."""
        pilot = self._first(min(PILOT, len(self.all.indices)))
        bars = persistence(pilot.points, max_degree=degree, fields=(2,), engine="rips", threshold=self.rule.filled, budget=budget)[2].bars
        deaths = [float(d) for degree_bars in bars for b, d in degree_bars if d > max(PILOT_RATIO * b, PILOT_RATIO * pilot.radius)]
        return min([*deaths, self.rule.filled])

    def _asked_end(self, chosen: Landmarks, degree: int, budget: Budget) -> tuple[Scale, float]:
        """End of the filtration for a number of landmarks that the caller chose: the spanning rule's if affordable, else the plateau's."""
        scale = self._scale(chosen)
        full = min(SCAN * self.rule.far * scale.eps * 1.001, self.rule.filled)
        if self._seconds(chosen.points, degree, full, budget) <= RIPS_SECONDS:
            return scale, full
        return scale, plateau_factor(self.known) * scale.eps * 1.001

    def _cost(self, points: Tensor, degree: int, end: float) -> Cost:
        """What these landmarks are predicted to cost up to radius `end`, before edge collapse."""
        return estimate_cost(len(points), points.shape[1], degree, end, points, "rips")

    def _seconds(self, points: Tensor, degree: int, end: float, budget: Budget) -> float:
        """Rough seconds for both fields; infinite above the budget. Edge collapse saves columns up to dimension 2, hardly above."""
        edges = estimate_cost(len(points), points.shape[1], 1, end, points, "rips")
        if not budget.allows(edges):
            return float("inf")
        return edges.seconds_rough * (1 if self.rough_dim < 2.5 else 3 if degree < 2 else 100)


def _told(landmarks: int, cost: Cost, why: str) -> str:
    """What was left out for its cost, and the option that takes it all the same."""
    predicted = f"{cost.simplices:.2g} simplices, {cost.bytes / GIB:.2g} GiB, some {cost.seconds_rough:.2g} s"
    return f"a look at {landmarks} landmarks was left out, since it {why} (predicted: {predicted} before edges are collapsed): landmarks={landmarks} takes it"
