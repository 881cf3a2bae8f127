"""The Betti numbers of the set that a cloud samples, with the evidence, and "undecided" as an answer.

Farthest-point landmarks of one part of the cloud carry the filtration, the other part bounds their distance eps to the set
(`scale`). The spanning rule counts the bars that live from eps to 3 eps (Cech; wider for Rips), scanned over [1, 1.5] eps; where it
does not apply a plateau of constant Betti numbers answers under a weaker label (`rules`). For a closed manifold of known dimension
Poincare duality checks the answer and completes it (`duality`). Nothing is read off by eye, and no answer comes without its assumption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.topology.budget import Budget, estimate_cost
from topogen.topology.duality import Decided, complete, contradiction
from topogen.topology.landmarks import Landmarks, check_cloud, farthest_points
from topogen.topology.persistence import Diagram, jung, persistence
from topogen.topology.rules import SCAN, Count, Rule, plateau, plateau_factor, spanning, stable
from topogen.topology.scale import Scale, held_out_scale, noise_level

__all__ = ["Homology", "homology"]

LEAST_POINTS = 12
# two curves in R^3 may have a Delaunay triangulation of quadratic size
ALPHA_CAP, CURVE_CAP = 12_000, 1_000
RIPS_STEPS = (100, 200, 300, 500, 800, 1200, 2000, 3000, 4500, 6000)
RIPS_SECONDS = 12.0
PILOT, PILOT_RATIO = 200, 1.3


@dataclass(frozen=True)
class Homology:
    """Betti numbers of the set a cloud samples, by field, with everything they rest on.

    `decided[p]` holds the Betti numbers over Z/p from degree 0, None where undecided; `betti[p]` the same, or None unless all are
    decided. `scale` (eps), `covering_radius` are in data units. `label` is "proved-for-sample" (eps was given), "statistical" (eps was
    estimated) or "heuristic" (plateau rule), always under `assumption`. `stable`: the spanning count does not change over [1, 1.5] eps.
    """

    decided: Decided
    scale: float
    scale_source: str
    rule: str
    assumption: str
    label: str
    covering_radius: float
    n_points: int
    n_landmarks: int
    engine: str
    stable: bool
    reason: str
    notes: tuple[str, ...] = ()
    diagrams: dict[int, Diagram] = field(default_factory=dict, repr=False)

    @property
    def betti(self) -> dict[int, tuple[int, ...] | None]:
        """Betti numbers by field; None where a degree is undecided."""
        return {p: _whole(betti) for p, betti in self.decided.items()}

    def to_text(self) -> str:
        """A few lines for people: the numbers, the rule, the assumption, the scale."""
        lines = [f"Z/{p}: Betti ({', '.join('?' if b is None else str(b) for b in betti)})" for p, betti in self.decided.items()]
        lines.append(f"[{self.label}] {self.rule}, eps {self.scale:.4g} ({self.scale_source}); {'stable' if self.stable else 'not stable'} over [1, 1.5] eps")
        lines.append(f"assumes {self.assumption}")
        lines.append(f"{self.n_points} points, {self.n_landmarks} landmarks (covering radius {self.covering_radius:.4g}), {self.engine}; radii in data units")
        lines += [*self.notes, *([f"undecided: {self.reason}"] if self.reason else [])]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; the diagrams are summarised by their longest bars."""
        plain = ("scale", "scale_source", "rule", "assumption", "label", "covering_radius", "n_points", "n_landmarks", "engine", "stable", "reason")
        return {
            "betti": {str(p): None if b is None else list(b) for p, b in self.betti.items()},
            "decided": {str(p): list(b) for p, b in self.decided.items()},
            **{name: getattr(self, name) for name in plain},
            "notes": list(self.notes),
            "diagrams": {str(p): d.to_dict() for p, d in self.diagrams.items()},
        }


def homology(
    points: Tensor,
    *,
    dim: int | None = None,
    fields: Sequence[int] = (2, 3),
    landmarks: int | str = "auto",
    scale: float | str = "auto",
    max_degree: int | None = None,
    closed: bool | None = None,
    orientable: bool | None = None,
    engine: str = "auto",
    budget: Budget | None = None,
    generator: torch.Generator | None = None,
) -> Homology:
    """Betti numbers over the prime fields of the set M that a cloud (n, D) samples, by degree, or undecided.

    `dim`, `closed`, `orientable`: what is known of M; a closed M of known dimension lets duality check and complete the answer.
    `scale` "auto" estimates eps from held-out points; a number is taken as a bound on the Hausdorff distance (data units) of cloud
    and M. `landmarks` "auto" takes as many as the engine affords. `max_degree` defaults to what the dimension needs (dim; half of it
    by duality from dimension 3 on). `engine` as in `persistence`. Deterministic for a given generator (None: torch's global one).
    Raises InvalidInputError for fewer than 12 distinct points or unusable options; BudgetExceeded before the work starts.
    """
    check_cloud(points)
    cloud = _distinct(points)
    _check_options(dim, landmarks, scale, cloud.shape[1])
    budget = Budget() if budget is None else budget
    filtration = "cech" if engine == "alpha" or (engine == "auto" and cloud.shape[1] <= 3) else "rips"
    enclosing = float((cloud - cloud.mean(0)).norm(dim=1).max())
    rule = Rule(filtration, 1.0 if filtration == "cech" else jung(cloud.shape[1]), enclosing)
    search = _Search(cloud, rule, dim, closed, landmarks, scale, generator)
    degree = _top_degree(max_degree, dim, closed, cloud.shape[1], search.rough_dim)
    chosen, eps, end = search.choose(degree, budget)
    diagrams = persistence(chosen.points, max_degree=degree, fields=fields, engine="alpha" if filtration == "cech" else "rips", threshold=end, budget=budget)
    return _judge(diagrams, eps, rule, chosen, len(cloud), dim, closed, orientable)


def _whole(betti: tuple[int | None, ...]) -> tuple[int, ...] | None:
    numbers = tuple(b for b in betti if b is not None)
    return numbers if len(numbers) == len(betti) else None


def _distinct(points: Tensor) -> Tensor:
    cloud = torch.unique(points.detach().to(device="cpu", dtype=torch.float64), dim=0)
    if len(cloud) < LEAST_POINTS:
        raise InvalidInputError(f"points: homology needs at least {LEAST_POINTS} distinct points, found {len(cloud)}; add samples, or call persistence directly")
    return cloud


def _check_options(dim: int | None, landmarks: int | str, scale: float | str, ambient_dim: int) -> None:
    if dim is not None and not 0 <= dim <= ambient_dim:
        raise InvalidInputError(f"dim: expected 0 to {ambient_dim} for points in R^{ambient_dim}, found {dim}")
    if landmarks != "auto" and (isinstance(landmarks, str) or landmarks < 1):
        raise InvalidInputError(f"landmarks: expected 'auto' or a number of points, found {landmarks!r}")
    if scale != "auto" and (isinstance(scale, str) or not scale > 0):
        raise InvalidInputError(f"scale: expected 'auto' or a positive radius in data units, found {scale!r}")


def _top_degree(max_degree: int | None, dim: int | None, closed: bool | None, ambient_dim: int, rough_dim: float) -> int:
    """Highest degree that the filtration computes; sets in R^D have no homology from degree D on."""
    if max_degree is not None:
        return max_degree
    if dim is not None and dim >= 3 and ambient_dim > 3:
        return dim // 2 if closed else 1
    wanted = dim if dim is not None else ambient_dim - 1 if ambient_dim <= 3 else 2 if rough_dim < 2.5 else 1
    return max(0, min(wanted, ambient_dim - 1))


class _Search:
    """The choice of landmarks: the split of the cloud, and for each number of them the scale eps and the cost it leads to."""

    def __init__(
        self, cloud: Tensor, rule: Rule, dim: int | None, closed: bool | None, landmarks: int | str, scale: float | str, generator: torch.Generator | None
    ) -> None:
        self.known = dim is not None and closed is True
        self.cloud, self.rule, self.asked, self.given = cloud, rule, landmarks, scale
        most = ALPHA_CAP if rule.filtration == "cech" else RIPS_STEPS[-1]
        n, wanted = len(cloud), most if isinstance(landmarks, str) else landmarks
        order = torch.randperm(n, generator=generator)
        part = n if not isinstance(scale, str) else min(n // 2, 4 * wanted)
        self.source, self.held_out = cloud[order[:part]], cloud[order[part:]]
        self.all = farthest_points(self.source, min(wanted, part))
        self.rough_dim = float(dim) if dim is not None else self._scaling_dimension()
        self.noise = noise_level(cloud, dim) if dim is not None and isinstance(scale, str) else 0.0

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

    def _scaling_dimension(self) -> float:
        """Dimension at the scale of the landmarks: the covering radius of m of them falls like m^(-1/d)."""
        few = max(4, min(100, len(self.all.indices) // 16))
        many = min(16 * few, len(self.all.indices))
        ratio = self._first(few).radius / max(self._first(many).radius, 1e-300)
        return float(torch.tensor(many / few).log() / max(torch.tensor(ratio).log(), torch.tensor(1e-3)))

    def _first(self, count: int) -> Landmarks:
        from topogen.topology.landmarks import covering_radius

        points = self.all.points[:count]
        return Landmarks(self.all.indices[:count], points, covering_radius(self.cloud, points))

    def _scale(self, chosen: Landmarks) -> Scale:
        if isinstance(self.given, str):
            return held_out_scale(chosen.points, self.held_out, self.noise)
        eps = float(self.given) + chosen.radius
        return Scale(eps, chosen.radius, float(self.given), 0.0, f"given {self.given:.3g} + landmarks' covering radius {chosen.radius:.3g}", given=True)

    def _best_rips(self, degree: int, budget: Budget) -> tuple[Landmarks, Scale, float | None]:
        """Most landmarks for which the spanning rule can decide at an affordable cost; if there are none, most for the plateau rule."""
        options = [(chosen, self._scale(chosen)) for chosen in map(self._first, sorted({min(m, len(self.all.indices)) for m in RIPS_STEPS}))]
        death = self._first_death(degree, budget)
        fine = [o for o in options if self.rule.reach * o[1].eps < self.rule.enclosing]
        for factor, useful in ((SCAN * self.rule.far, fine), (plateau_factor(self.known), options)):
            ends = [(chosen, scale, factor * scale.eps * 1.001) for chosen, scale in useful]
            affordable = [o for o in ends if o[2] <= death * 1.05 and self._seconds(o[0].points, degree, o[2], budget) <= RIPS_SECONDS]
            if affordable:
                return affordable[-1]
        chosen, scale = options[0]
        return chosen, scale, plateau_factor(self.known) * scale.eps

    def _first_death(self, degree: int, budget: Budget) -> float:
        """Radius at which the first of the lasting classes dies, from a pilot on few landmarks: beyond it the filtration costs much and tells nothing."""
        pilot = self._first(min(PILOT, len(self.all.indices)))
        bars = persistence(pilot.points, max_degree=degree, fields=(2,), engine="rips", threshold=self.rule.filled, budget=budget)[2].bars
        deaths = [float(d) for degree_bars in bars for b, d in degree_bars if d > max(PILOT_RATIO * b, PILOT_RATIO * pilot.radius)]
        return min(deaths, default=self.rule.filled)

    def _asked_end(self, chosen: Landmarks, degree: int, budget: Budget) -> tuple[Scale, float]:
        """End of the filtration for a number of landmarks that the caller chose: the spanning rule's if affordable, else the plateau's."""
        scale = self._scale(chosen)
        full = min(SCAN * self.rule.far * scale.eps * 1.001, self.rule.filled)
        if self._seconds(chosen.points, degree, full, budget) <= RIPS_SECONDS:
            return scale, full
        return scale, plateau_factor(self.known) * scale.eps * 1.001

    def _seconds(self, points: Tensor, degree: int, end: float, budget: Budget) -> float:
        """Rough seconds for both fields; infinite above the budget. Edge collapse saves columns up to dimension 2, hardly above."""
        edges = estimate_cost(len(points), points.shape[1], 1, end, points, "rips")
        if not budget.allows(edges):
            return float("inf")
        return edges.seconds_rough * (1 if self.rough_dim < 2.5 else 3 if degree < 2 else 100)


def _judge(
    diagrams: dict[int, Diagram], scale: Scale, rule: Rule, chosen: Landmarks, n_points: int, dim: int | None, closed: bool | None, orientable: bool | None
) -> Homology:
    known = dim is not None and closed is True
    strong = {p: spanning(diagram, scale.eps, rule) for p, diagram in diagrams.items()}
    proved = _answer(strong, rule, scale, chosen, n_points, diagrams, label="proved-for-sample" if scale.given else "statistical")
    proved = _by_laws(proved, dim, closed, orientable)
    if all(b is not None for b in proved.betti.values()):
        return proved
    weak = {p: plateau(diagram, scale.eps, rule, known=known, whole=known and len(diagram.bars) > (dim or 0)) for p, diagram in diagrams.items()}
    span = "[eps, 1.5 eps]" if known else "[.8 eps, 2 eps]"
    guess = _answer(weak, rule, scale, chosen, n_points, diagrams, label="heuristic")
    guess = replace(guess, rule=f"{rule.filtration.capitalize()} plateau rule {span}", assumption=f"no feature of the set is smaller than some 2 eps = {2 * scale.eps:.3g}, not checked by the data")
    guess = _by_laws(guess, dim, closed, orientable)
    if all(b is not None for b in guess.betti.values()):
        return replace(guess, notes=(*guess.notes, f"the {rule.name} does not decide: {proved.reason}"))
    return proved


def _answer(counts: dict[int, Count], rule: Rule, scale: Scale, chosen: Landmarks, n_points: int, diagrams: dict[int, Diagram], label: str) -> Homology:
    first = next(iter(diagrams.values()))
    return Homology(
        decided={p: count.betti for p, count in counts.items()},
        scale=scale.eps,
        scale_source=scale.source,
        rule=rule.name,
        assumption=f"reach > {rule.reach:.3g} eps = {rule.reach * scale.eps:.3g}, not checked by the data",
        label=label,
        covering_radius=chosen.radius,
        n_points=n_points,
        n_landmarks=len(chosen.indices),
        engine=f"gudhi {'alpha complex' if first.filtration == 'cech' else 'Rips'}",
        stable=first.end >= SCAN * rule.far * scale.eps and all(stable(d, scale.eps, rule) for d in diagrams.values()),
        reason="; ".join(dict.fromkeys(f"Z/{p}: {count.reason}" for p, count in counts.items() if count.reason)),
        diagrams=diagrams,
    )


def _by_laws(found: Homology, dim: int | None, closed: bool | None, orientable: bool | None) -> Homology:
    """Complete by duality where M is closed of known dimension; what breaks a law becomes undecided."""
    decided, notes = found.decided, []
    # a computed degree that is undecided says that the scale is too coarse: duality must not paper over it
    if closed and dim is not None and not any(None in b for b in decided.values()):
        decided, notes = complete(decided, dim, orientable)
    elif dim is not None:
        decided = {p: (*b, *(None,) * (dim + 1 - len(b))) for p, b in decided.items()}
    broken = contradiction(decided, dim, closed, all_degrees=dim is not None and all(len(b) > dim for b in decided.values()))
    if broken:
        return replace(found, decided={p: (None,) * len(b) for p, b in decided.items()}, reason=f"{broken}: the scale eps {found.scale:.3g} is too coarse")
    reason = found.reason if any(None in b for b in decided.values()) else ""
    if not reason and any(None in b for b in decided.values()):
        reason = "; ".join(notes) or "degrees above the computed ones; raise max_degree, or say closed=True if M is closed"
    return replace(found, decided=decided, notes=tuple(notes), reason=reason)
