"""The Betti numbers of the set that a cloud samples, with the evidence, and "undecided" as an answer.

Farthest-point landmarks of one part of the cloud carry the filtration, the other part bounds their distance eps to the set
(`scale`). The spanning rule counts the bars that live from eps to 3 eps (Cech; wider for Rips), scanned over [1, 1.5] eps (`rules`); where it does not
apply and noise is small the reconstruction rule asks for less reach (`reconstruction`), and a plateau of constant Betti numbers answers under a
weaker label. For a closed manifold of known dimension
Poincare duality checks the answer and completes it (`duality`). Nothing is read off by eye, and no answer comes without its assumption.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.geometry.clouds.farthest_points import Landmarks
from topogen.geometry.clouds.neighbours import nearest_distance
from topogen.geometry.clouds.point_clouds import by_radius, check_cloud, distinct_rows
from topogen.geometry.clouds.sampling_density import UNEVEN, sampling_density
from topogen.geometry.clouds.strays import pieces
from topogen.topology.inference.duality import Decided, complete, contradiction
from topogen.topology.inference.landmark_bounds import Window, windows
from topogen.topology.inference.reach_bound import reach_upper_bound
from topogen.topology.inference.reconstruction import NO_LESS, Reconstruction
from topogen.topology.inference.rules import SCAN, Count, Rule, hidden, plateau, spanning, stable
from topogen.topology.inference.scale import Scale
from topogen.topology.inference.search import Search
from topogen.topology.inference.tangent_signs import agree_in_sign
from topogen.topology.persistence.budget import Budget
from topogen.topology.persistence.persistence import Diagram, jung, persistence

__all__ = ["Homology", "homology"]

LEAST_POINTS = 12
MOST_PIECES, APART = 10, 4.0
LEVEL = 0.95
LONGEST = 20.0
PROBES, LISTED = 2000, 5


@dataclass(frozen=True)
class Homology:
    """Betti numbers of the set a cloud samples, by field, with everything they rest on.

    `decided[p]` holds the Betti numbers over Z/p from degree 0, None where undecided; `betti[p]` the same, or None unless all are
    decided. `scale` (eps), `covering_radius` are in data units; `scale_label`: "proved-for-sample" (eps was given), "statistical" (a density ratio was) or
    "heuristic" (estimated). `label` is no better than that, and "heuristic" under the plateau rule; always under `assumption`.
    `stable`: the spanning count does not change over [1, 1.5] eps.
    `needs`: the largest eps at which undecided numbers would be decided, or heuristic ones more than that, as far as these diagrams say; None where none.
    `finest`: the smallest eps that landmarks of this cloud can have, below `scale` where the diagrams are for a look only (None: not known).
    `smoothed`: where the noise was taken off the points first, the radius of the neighbourhoods that were smoothed over (data units, 0 where none was);
    `needs`, `finest` and `windows` are those of the points as they are.
    `skipped`: what could have decided and was left out for its cost, and the option that takes it; empty where nothing was.
    `windows`: what is a theorem about all the points, whatever set they sample (`landmark_bounds`), the widest first.
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
    needs: float | None = None
    finest: float | None = None
    smoothed: float = 0.0
    scale_label: str = "heuristic"
    skipped: str = ""
    notes: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    diagrams: dict[int, Diagram] = field(default_factory=dict, repr=False)

    @property
    def betti(self) -> dict[int, tuple[int, ...] | None]:
        """Betti numbers by field; None where a degree is undecided."""
        return {p: _complete(betti) for p, betti in self.decided.items()}

    def to_text(self) -> str:
        """A few lines for people: the numbers, the rule, the assumption, the scale."""
        lines = [f"Z/{p}: Betti ({', '.join('?' if b is None else str(b) for b in betti)})" for p, betti in self.decided.items()]
        lines.append(f"[{self.label}] {self.rule}, eps {self.scale:.4g} ({self.scale_source}); {'stable' if self.stable else 'not stable'} over [1, 1.5] eps")
        lines.append(f"assumes {self.assumption}")
        lines.append(f"{self.n_points} points, {self.n_landmarks} landmarks (covering radius {self.covering_radius:.4g}), {self.engine}; radii in data units")
        lines += [f"[proved-for-sample] {window.to_text()}" for window in self.windows[:1]]
        lines += [*self.notes, *([f"undecided: {self.reason}"] if self.reason else [])]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; the diagrams are summarised by their longest bars."""
        plain = (
            "scale",
            "scale_source",
            "scale_label",
            "rule",
            "assumption",
            "label",
            "covering_radius",
            "n_points",
            "n_landmarks",
            "engine",
            "stable",
            "reason",
            "needs",
            "finest",
            "smoothed",
            "skipped",
        )
        return {
            "betti": {str(p): None if b is None else list(b) for p, b in self.betti.items()},
            "decided": {str(p): list(b) for p, b in self.decided.items()},
            **{name: getattr(self, name) for name in plain},
            "notes": list(self.notes),
            "windows": [window.to_dict() for window in self.windows[:LISTED]],
            "diagrams": {str(p): d.to_dict() for p, d in self.diagrams.items()},
        }


def homology(
    points: Tensor,
    *,
    dim: int | None = None,
    fields: Sequence[int] = (2, 3),
    landmarks: int | str = "auto",
    scale: float | str = "auto",
    density_ratio: float | None = None,
    level: float = LEVEL,
    max_degree: int | None = None,
    closed: bool | None = None,
    orientable: bool | None = None,
    crossing: bool = False,
    engine: str = "auto",
    budget: Budget | None = None,
    generator: torch.Generator | None = None,
) -> Homology:
    """Betti numbers over the prime fields of the set M that a cloud (n, D) samples, by degree, or undecided.

    `dim`, `closed`, `orientable`: what is known of M; a closed M of known dimension lets duality check and complete the answer. `crossing`:
    sheets of M cross, so that it has no reach; what the rules then say is heuristic.
    `scale` "auto" takes eps from held-out points; a number is taken as a bound on the Hausdorff distance (data units) of cloud
    and M. `density_ratio`: how many times more points at most fall into a ball round one point than into a ball of the same radius round another (of a closed
    manifold: largest over smallest density; twice that where M has a boundary). With it eps holds with confidence `level` for points drawn independently, and
    what theorems say at it is "statistical"; without, eps is an estimate and everything "heuristic".
    `landmarks` "auto" takes as many as the engine affords. `max_degree` defaults to what the dimension needs (dim; half of it
    by duality from dimension 3 on). `engine` as in `persistence`. Deterministic for a given generator (None: torch's global one).
    Raises InvalidInputError for fewer than 12 distinct points or unusable options; BudgetExceeded before the work starts.
    """
    check_cloud(points)
    cloud = _distinct(points)
    _check_options(dim, landmarks, scale, cloud.shape[1])
    _check_confidence(density_ratio, level)
    asked = _Asked(dim, tuple(fields), landmarks, scale, density_ratio, level, max_degree, closed, orientable, crossing, engine, budget or Budget(), generator)
    found = _of_cloud(cloud, asked)
    undecided = any(None in numbers for numbers in found.decided.values())
    return _in_pieces(cloud, found, asked) if undecided and found.scale_label == "heuristic" and not crossing else found


class _Asked(NamedTuple):
    """The options of `homology`."""

    dim: int | None
    fields: tuple[int, ...]
    landmarks: int | str
    scale: float | str
    density_ratio: float | None
    level: float
    max_degree: int | None
    closed: bool | None
    orientable: bool | None
    crossing: bool
    engine: str
    budget: Budget
    generator: torch.Generator | None


def _of_cloud(cloud: Tensor, asked: _Asked) -> Homology:
    """Of distinct points (n, D), with one scale for all of them."""
    dim, closed, orientable, crossing = asked.dim, asked.closed, asked.orientable, asked.crossing
    filtration = "cech" if asked.engine == "alpha" or (asked.engine == "auto" and cloud.shape[1] <= 3) else "rips"
    enclosing = float((cloud - cloud.mean(0)).norm(dim=1).max())
    rule = Rule(filtration, 1.0 if filtration == "cech" else jung(cloud.shape[1]), enclosing)
    search = Search(cloud, rule, dim, closed, asked.landmarks, asked.scale, asked.generator, crossing, asked.density_ratio, asked.level)
    degree = _top_degree(asked.max_degree, dim, closed, cloud.shape[1], search.rough_dim)
    chosen, eps, diagrams = _diagrams(search, degree, asked.fields, filtration, asked.budget)
    by_tangents = _orientable_by_tangents(cloud, chosen, eps, dim, closed) if orientable is None else ""
    seen = math.inf if crossing else reach_upper_bound(cloud, search.rough_dim, rule.reach * eps.eps, eps.off)
    known = _Known(dim, closed, True if by_tangents else orientable, crossing, search.noise_known, seen)
    density = sampling_density(cloud, PROBES)
    found = _without_hidden(_judge(_Evidence(diagrams, eps, rule, chosen, len(cloud)), known), diagrams, uneven=density.ratio > UNEVEN)
    above = (f"degrees above {degree} were not computed",) if dim is None and degree < cloud.shape[1] - 1 else ()
    warning = tuple(filter(None, [by_tangents, density.to_text()]))
    finest = eps.eps if search.finest is None else min(eps.eps, search.finest)
    notes = [note.replace("orientable: given", "orientable: tangents") if by_tangents else note for note in found.notes]
    skipped = search.skipped if any(None in numbers for numbers in found.decided.values()) else ""
    return replace(found, notes=(*notes, *search.notes, *above, *warning), finest=finest, windows=windows(diagrams, 0.0, chosen.radius), skipped=skipped)


def _without_hidden(found: Homology, diagrams: dict[int, Diagram], *, uneven: bool) -> Homology:
    """Undecided from degree 1 on where the scale is an estimate and some class lies below it: no such scale fits all of the points."""
    estimated = diagrams.values() if found.scale_label == "heuristic" else ()
    text = next(filter(None, (hidden(diagram, found.scale, uneven=uneven) for diagram in estimated)), "")
    if not text:
        return found
    decided: Decided = {p: (*numbers[:1], *(None,) * (len(numbers) - 1)) for p, numbers in found.decided.items()}
    return replace(found, decided=decided, label="heuristic", reason=text, needs=None)


def _in_pieces(cloud: Tensor, whole: Homology, asked: _Asked) -> Homology:
    """The sum over pieces that lie far apart, each at its own scale, where that decides what one scale for all does not; else the `whole`.

    Homology is additive over components. That pieces are components, and each in one, is read off the points: heuristic.
    """
    rows = pieces(cloud)
    if not 2 <= len(rows) <= MOST_PIECES or min(map(len, rows)) < 2 * LEAST_POINTS or not isinstance(asked.scale, str):
        return whole
    parts = [_of_cloud(cloud[some], asked) for some in rows]
    scales = ", ".join(f"{part.scale:.3g}" for part in parts)
    text = f"pieces of {', '.join(str(len(some)) for some in rows)} points, each at its own scale (eps {scales})"
    apart = min(float(nearest_distance(cloud[some], torch.cat([cloud[other] for other in rows if other is not some])).min()) for some in rows)
    if apart < APART * max(part.scale for part in parts) or any(None in numbers for part in parts for numbers in part.decided.values()):
        return replace(whole, notes=(*whole.notes, f"{text}, {apart:.3g} apart, decide no more"))
    coarsest = max(parts, key=lambda part: part.scale)
    decided: Decided = {p: tuple(map(sum, zip_longest(*(part.decided[p] for part in parts), fillvalue=0))) for p in whole.decided}  # type: ignore[arg-type]
    assumption = _joined(f"{coarsest.assumption} (of the sparsest piece)", f"the pieces, {apart:.3g} apart, are different components")
    notes = (*whole.notes, f"{text}; one scale for all does not decide: {whole.reason}")
    rule = f"{coarsest.rule}, piece by piece"
    return replace(
        coarsest,
        decided=decided,
        label="heuristic",
        rule=rule,
        assumption=assumption,
        notes=notes,
        needs=None,
        finest=None,
        n_points=whole.n_points,
        n_landmarks=sum(part.n_landmarks for part in parts),
        windows=whole.windows,
        diagrams=whole.diagrams,
    )


def _diagrams(search: Search, degree: int, fields: Sequence[int], filtration: str, budget: Budget) -> tuple[Landmarks, Scale, dict[int, Diagram]]:
    """Diagrams of the chosen landmarks; where these turn out to be above the budget and were not asked for, of a quarter of them, and so on.

    What edge collapse leaves is known only after it; a number of landmarks of ours that leaves more than LONGEST seconds of columns is given up too.
    """
    chosen, eps, end = search.choose(degree, budget)
    engine = "alpha" if filtration == "cech" else "rips"
    hurried = replace(budget, max_seconds=min(LONGEST, math.inf if budget.max_seconds is None else budget.max_seconds))
    while True:
        limit = hurried if search.can_do_with_fewer(chosen) else budget
        try:
            return chosen, eps, persistence(chosen.points, max_degree=degree, fields=fields, engine=engine, threshold=end, budget=limit)
        except BudgetExceeded:
            if not search.can_do_with_fewer(chosen):
                raise
            chosen, eps, end = search.fewer(chosen, degree, budget)


def _orientable_by_tangents(cloud: Tensor, chosen: Landmarks, scale: Scale, dim: int | None, closed: bool | None) -> str:
    """What tells that a closed set of dimension 3 or more is orientable, which duality needs; empty where nothing does."""
    if dim is None or not closed or not 3 <= dim < cloud.shape[1]:
        return ""
    agree, edges, least = agree_in_sign(cloud, chosen.points, dim, scale.eps)
    return f"orientable: tangents fitted to the points agree in sign along {edges} edges up to 2 eps, least |det| {least:.2g}" if agree else ""


def _complete(betti: tuple[int | None, ...]) -> tuple[int, ...] | None:
    numbers = tuple(b for b in betti if b is not None)
    return numbers if len(numbers) == len(betti) else None


def _distinct(points: Tensor) -> Tensor:
    cloud: Tensor = distinct_rows(points.detach().to(device="cpu", dtype=torch.float64))
    if len(cloud) < LEAST_POINTS:
        raise InvalidInputError(f"points: homology needs at least {LEAST_POINTS} distinct points, found {len(cloud)}; add samples, or call persistence")
    return by_radius(cloud)


def _check_options(dim: int | None, landmarks: int | str, scale: float | str, ambient_dim: int) -> None:
    if dim is not None and not 0 <= dim <= ambient_dim:
        raise InvalidInputError(f"dim: expected 0 to {ambient_dim} for points in R^{ambient_dim}, found {dim}")
    if landmarks != "auto" and (isinstance(landmarks, str) or landmarks < 1):
        raise InvalidInputError(f"landmarks: expected 'auto' or a number of points, found {landmarks!r}")
    if scale != "auto" and (isinstance(scale, str) or not scale > 0):
        raise InvalidInputError(f"scale: expected 'auto' or a positive radius in data units, found {scale!r}")


def _check_confidence(density_ratio: float | None, level: float) -> None:
    if density_ratio is not None and not 1 <= density_ratio < math.inf:
        raise InvalidInputError(f"density_ratio: expected a number of at least 1, the largest over the smallest density, found {density_ratio!r}")
    if not 0 < level < 1:
        raise InvalidInputError(f"level: expected a confidence between 0 and 1, such as .95, found {level!r}")


def _top_degree(max_degree: int | None, dim: int | None, closed: bool | None, ambient_dim: int, rough_dim: float) -> int:
    """Highest degree that the filtration computes; sets in R^D have no homology from degree D on."""
    if max_degree is not None:
        return max_degree
    if dim is not None and dim >= 3 and ambient_dim > 3:
        return dim // 2 if closed else 1
    wanted = dim if dim is not None else ambient_dim - 1 if ambient_dim <= 3 else 2 if rough_dim < 2.5 else 1
    return max(0, min(wanted, ambient_dim - 1))


class _Try(NamedTuple):
    """What one rule reads off the diagrams by field, its name, the label of its answers, what they assume, the eps above which the label is no better, and
    whether it is a theorem at the scale."""

    rule: str
    label: str
    assumption: str
    counts: dict[int, Count]
    noise_known: float = math.inf
    theorem: bool = False

    @property
    def limit(self) -> float | None:
        """The eps below which it would decide over all fields, under a better label if it has none; None where it does."""
        limits = [count.limit for count in self.counts.values() if count.limit is not None]
        return min([*limits, self.noise_known]) if limits or math.isfinite(self.noise_known) else None


class _Known(NamedTuple):
    """What is known of M: dimension, closedness, orientability, whether its sheets cross, whether the noise of the points is known (`noise_known`), and the
    least
    reach that the points show (`seen`, data units)."""

    dim: int | None
    closed: bool | None
    orientable: bool | None
    crossing: bool
    noise_known: bool
    seen: float


class _Evidence(NamedTuple):
    """What is computed: diagrams by field of `chosen` landmarks of n points, at a scale, under the constants of the filtration."""

    diagrams: dict[int, Diagram]
    scale: Scale
    rule: Rule
    chosen: Landmarks
    n_points: int


def _judge(evidence: _Evidence, known: _Known) -> Homology:
    """The strongest answer of the rules: spanning, reconstruction where the noise is known, plateau; else what each of them needs."""
    tries = [_spanning(evidence, known), *([_reconstruction(evidence, known)] if known.noise_known else []), _plateau(evidence, known)]
    found = [_by_laws(_answer(one, evidence), known) for one in tries]
    return _strongest(found, tries)


def _spanning(evidence: _Evidence, known: _Known) -> _Try:
    """The spanning rule; where the points show less reach than it assumes, or sheets cross, it is evidence only."""
    diagrams, scale, rule, *_ = evidence
    counts = {p: spanning(diagram, scale.eps, rule) for p, diagram in diagrams.items()}
    far = f"{rule.reach:.3g} eps = {rule.reach * scale.eps:.3g}"
    if known.crossing:
        return _Try(rule.name, "heuristic", f"thickening the set changes no homology up to {far}, not checked by the data", counts)
    if known.seen < rule.reach * scale.eps:
        assumption = f"thickening the set changes no homology up to {far}, though the points show a reach of {known.seen:.3g}"
        return _Try(rule.name, "heuristic", assumption, counts, known.seen / rule.reach)
    return _Try(rule.name, scale.label, _joined(f"reach > {far}, {NO_LESS}", scale.assumption), counts, theorem=True)


def _reconstruction(evidence: _Evidence, known: _Known) -> _Try:
    """The reconstruction rule, which needs to know the noise."""
    rule = Reconstruction(evidence.rule, evidence.scale.eps, evidence.scale.off, known.seen)
    return _Try(rule.name, evidence.scale.label, _joined(rule.assumption, evidence.scale.assumption), rule.read_all(evidence.diagrams), theorem=True)


def _plateau(evidence: _Evidence, known: _Known) -> _Try:
    """The plateau rule: evidence only."""
    diagrams, scale, rule, *_ = evidence
    closed = known.dim is not None and known.closed is True
    counts = {p: plateau(diagram, scale.eps, rule, known=closed, complete=closed and len(diagram.bars) > (known.dim or 0)) for p, diagram in diagrams.items()}
    name = f"{rule.filtration.capitalize()} plateau rule {'[eps, 1.5 eps]' if closed else '[.8 eps, 2 eps]'}"
    return _Try(name, "heuristic", f"no feature of the set is smaller than some 2 eps = {2 * scale.eps:.3g}, not checked by the data", counts)


def _joined(*assumptions: str) -> str:
    return "; ".join(filter(None, assumptions))


def _strongest(found: list[Homology], tries: list[_Try]) -> Homology:
    """The first complete answer, that of a theorem if there is one, with what a stronger one would need; else the first with all reasons."""
    complete = [i for i, answer in enumerate(found) if all(b is not None for b in answer.betti.values())]
    limits = [one.limit for one in tries]
    if not complete:
        first, *others = found
        reasons = [first.reason, *(f"{other.rule}: {other.reason}" for other in others if other.reason)]
        return replace(first, reason="; ".join(reasons), needs=_largest(limits))
    best = next((i for i in complete if tries[i].theorem), complete[0])
    answer = found[best]
    notes = (*answer.notes, *(f"the {other.rule} does not decide: {other.reason}" for other in found[:best] if other.reason))
    # at an estimated scale a theorem is heuristic, and no smaller eps would change that
    return replace(answer, notes=notes, needs=None if tries[best].theorem else _largest(limits[:-1]))


def _largest(limits: list[float | None]) -> float | None:
    return max((limit for limit in limits if limit is not None), default=None)


def _answer(one: _Try, evidence: _Evidence) -> Homology:
    diagrams, scale, rule, chosen, n_points = evidence
    first = next(iter(diagrams.values()))
    return Homology(
        decided={p: count.betti for p, count in one.counts.items()},
        scale=scale.eps,
        scale_source=scale.source,
        scale_label=scale.label,
        rule=one.rule,
        assumption=one.assumption,
        label=one.label,
        covering_radius=chosen.radius,
        n_points=n_points,
        n_landmarks=len(chosen.indices),
        engine=f"gudhi {'alpha complex' if first.filtration == 'cech' else 'Rips'}",
        stable=first.end >= SCAN * rule.far * scale.eps and all(stable(d, scale.eps, rule) for d in diagrams.values()),
        reason="; ".join(dict.fromkeys(f"Z/{p}: {count.reason}" for p, count in one.counts.items() if count.reason)),
        diagrams=diagrams,
    )


def _by_laws(found: Homology, known: _Known) -> Homology:
    """Complete by duality where M is closed of known dimension; what breaks a law becomes undecided."""
    decided: Decided = found.decided
    dim, closed, notes = known.dim, known.closed, list[str]()
    # a computed degree that is undecided says that the scale is too coarse: duality must not paper over it
    if closed and dim is not None and not any(None in b for b in decided.values()):
        decided, notes = complete(decided, dim, known.orientable)
    elif dim is not None:
        decided = {p: (*b, *(None,) * (dim + 1 - len(b))) for p, b in decided.items()}
    broken = contradiction(decided, dim, closed, all_degrees=dim is not None and all(len(b) > dim for b in decided.values()))
    if broken:
        return replace(found, decided={p: (None,) * len(b) for p, b in decided.items()}, reason=f"{broken}: the scale eps {found.scale:.3g} is too coarse")
    reason = found.reason if any(None in b for b in decided.values()) else ""
    if not reason and any(None in b for b in decided.values()):
        reason = "; ".join(notes) or "degrees above the computed ones; raise max_degree, or say closed=True if M is closed"
    return replace(found, decided=decided, notes=tuple(notes), reason=reason)
