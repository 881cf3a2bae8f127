"""Which constraint: local polynomials, or a network where they are not good enough, chosen and judged on points that neither was fitted to.

The points are divided into three parts: most to fit, a tenth to choose with, a tenth to judge with, raw as they are. Local polynomials cost next to nothing and
are fitted first. Where the root mean square distance of the points to choose with is below `CLEAN` of the diameter, nothing else is tried. Otherwise a network
is trained as well, and the one with the smaller mean square distance is taken; a point that does not project counts with its distance to the nearest
fitted one. Local polynomials are then fitted again to both parts. What is handed over is measured on the points to judge with, in units of the noise;
where these contradict local polynomials that were taken alone, a network is trained after all and they decide.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen.errors import DivergenceError, InvalidInputError
from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.clouds.scales import diameter, noise_level
from topogen.learning.base import FittedManifold, ManifoldRequest
from topogen.learning.implicit.fit import defects, fit_implicit, gate_of, hull_notes, hull_of
from topogen.learning.implicit.fit_local import HIGHEST_DIM, FittedSheets, fit_local_constraint
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.topology.level_sets.spurious_components import wilson_interval

__all__ = ["Division", "fit_constraint", "held_out_distances"]

ALL_FITTED = "held out: too few points to set any apart; distances are those of fitted points"
CLEAN = 2e-3
UNDERFIT = 3.0
SHARE, MOST, FEWEST = 0.1, 1000, 10
LOST, WIDER, WIDEST = 0.01, 1.3, 4.0


@dataclass(frozen=True)
class Division:
    """Points to `fit` to, to `choose` with and to `judge` with; the same points three times where there are too few to divide."""

    fit: Tensor
    choose: Tensor
    judge: Tensor

    @property
    def apart(self) -> bool:
        """Whether any points were set apart."""
        return self.fit is not self.judge

    @property
    def both(self) -> Tensor:
        """The points to fit to and to choose with."""
        return torch.cat([self.fit, self.choose]) if self.apart else self.fit


@dataclass(frozen=True)
class _Candidate:
    name: str
    manifold: ImplicitManifold
    notes: tuple[str, ...]
    summary: dict[str, Any]


class _Choice(NamedTuple):
    """The candidate that was taken, why in `notes`, and whether a network was left out because local polynomials were good enough."""

    best: _Candidate
    notes: tuple[str, ...] = ()
    alone: bool = False


class _Judgement(NamedTuple):
    """What is measured on the points to judge with, plain values, and a warning, or none."""

    measured: dict[str, float | int]
    warning: str

    @property
    def rank(self) -> tuple[bool, float]:
        """The lower the better: whether too many points are lost, then the distance."""
        return self.measured["lost"] > LOST, self.measured["distance"]


def fit_constraint(request: ManifoldRequest) -> FittedManifold:
    """The implicit manifold that a request asks for, `request.constraint` being "local", "neural" or "auto"."""
    began = time.perf_counter()
    parts = _divided(request)
    choice = _chosen(request, parts)
    judged = _judged(choice.best.manifold, parts, request)
    if judged.warning and choice.alone:
        choice, judged = _second(request, parts, choice.best, judged)
    if judged.warning:
        warnings.warn(judged.warning, RuntimeWarning, stacklevel=4)
    best, notes = choice.best, [*choice.best.notes, *choice.notes]
    notes += [_set_gate(best.manifold, parts)] if request.boundary else []
    notes += [text for text, told in ((ALL_FITTED, not parts.apart), (judged.warning, bool(judged.warning))) if told]
    anchors = _anchors(best.manifold, request)
    summary = best.summary | {"constraint": best.name, "held_out": judged.measured, "seconds": round(time.perf_counter() - began, 3)}
    return FittedManifold(best.manifold, anchors, tuple(notes), summary)


def _second(request: ManifoldRequest, parts: Division, local: _Candidate, judged: _Judgement) -> tuple[_Choice, _Judgement]:
    """The network in place of local polynomials that the points to judge with contradict, where these points are nearer to it."""
    neural = _neural(request, parts.both)
    after = _judged(neural.manifold, parts, request)
    best, name, found = (neural, "neural", after) if after.rank < judged.rank else (local, "local polynomials", judged)
    off = f"{judged.measured['distance']:.3g} off local polynomials and {after.measured['distance']:.3g} off a network (root mean square)"
    return _Choice(best, (f"constraint: {name}; points to judge with are {off}; they decided, so none are left to judge with",)), found


def _anchors(manifold: ImplicitManifold, request: ManifoldRequest) -> Tensor:
    """Points projected onto the manifold: of all, or of as many drawn at random as a model keeps."""
    points = request.points
    if len(points) > request.most_anchors:
        points = points[torch.randperm(len(points), generator=request.generator)[: request.most_anchors].sort().values]
    found = manifold.project(points)
    anchors = found.points[found.converged]
    if len(anchors) < 0.5 * len(points):
        raise DivergenceError(f"only {len(anchors)} of {len(points)} points project onto the manifold; look at the advice of the inspection")
    return anchors


def _divided(request: ManifoldRequest) -> Division:
    points, apart = request.points, min(int(SHARE * len(request.points)), MOST)
    if apart < FEWEST:
        return Division(points, points, points)
    order = torch.randperm(len(points), generator=request.generator)
    return Division(points[order[2 * apart :]], points[order[:apart]], points[order[apart : 2 * apart]])


def _chosen(request: ManifoldRequest, parts: Division) -> _Choice:
    if request.constraint == "neural":
        return _Choice(_neural(request, parts.both))
    if request.constraint == "local":
        return _Choice(_local(request, parts.both))
    why = _why_not_local(request)
    if why:
        return _Choice(_neural(request, parts.both), (f"constraint: neural, because {why}",))
    try:
        local = _local(request, parts.fit)
    except (InvalidInputError, DivergenceError) as error:
        return _Choice(_neural(request, parts.both), (f"constraint: neural, because local polynomials do not fit ({error})",))
    level, size = _level(local.manifold, parts), diameter(parts.fit)
    if level <= CLEAN * size:
        reason = f"held-out points are {level:.3g} off it (root mean square), {level / size:.2%} of the diameter"
        return _Choice(_local(request, parts.both), (f"constraint: local polynomials; {reason}; a network was not tried",), alone=True)
    neural = _neural(request, parts.fit, _beaten_by(local.manifold, parts))
    other = _level(neural.manifold, parts)
    told = f"held-out points are {level:.4g} off local polynomials and {other:.4g} off a network (root mean square)"
    if other < level:
        return _Choice(neural, (f"constraint: neural; {told}",))
    return _Choice(_local(request, parts.both), (f"constraint: local polynomials; {told}",))


def _why_not_local(request: ManifoldRequest) -> str:
    if request.dim > HIGHEST_DIM:
        return f"local polynomials are made for dimensions up to {HIGHEST_DIM}"
    if request.mixed:
        return "the data have pieces of several dimensions"
    return "the data have gaps, and local polynomials end where the data do" if request.gaps else ""


def _local(request: ManifoldRequest, points: Tensor) -> _Candidate:
    hull = hull_of(points, request.dim)
    fitted = fit_local_constraint(points, request.dim, hull=hull, generator=request.generator)
    size = float((points - points.mean(0)).norm(dim=1).square().mean().sqrt())
    manifold = ImplicitManifold(fitted.constraint, request.dim, predictor_steps=1, max_step=float(fitted.constraint.support.max()), scale=size)
    return _Candidate("local", manifold, (*hull_notes(hull), _told(fitted)), _summary(fitted))


def _told(fitted: FittedSheets) -> str:
    count = fitted.constraint.charts.count
    return f"constraint: {count} sheets, polynomials of degree {fitted.degree} over {fitted.neighbours} neighbours (median), Lepski's rule"


def _summary(fitted: FittedSheets) -> dict[str, Any]:
    return {"sheets": fitted.constraint.charts.count, "neighbours": fitted.neighbours, "degree": fitted.degree}


def _neural(request: ManifoldRequest, points: Tensor, beaten: Callable[[ImplicitManifold], bool] | None = None) -> _Candidate:
    found = fit_implicit(
        points, request.dim, boundary=request.boundary, pieces=request.mixed, settings=request.settings, generator=request.generator,
        checkpoint=request.checkpoint, beaten=beaten, quiet=request.quiet,
    )  # fmt: skip
    notes = tuple(note for note in found.notes if not note.startswith("boundary:"))
    return _Candidate("neural", found.manifold, notes, found.summary())


def held_out_distances(manifold: ImplicitManifold, points: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (n,) of points (n, D) to the zero set without its gate, and a mask (n,) of those that do not project onto it."""
    found = manifold.with_fast_projection(gated=False).project(points)
    return (found.points - points).norm(dim=1), ~found.converged


def _level(manifold: ImplicitManifold, parts: Division) -> float:
    """Root mean square distance of the points to choose with; one that does not project counts with its distance to the nearest fitted one."""
    return float(_distances(manifold, parts).square().mean().sqrt())


def _distances(manifold: ImplicitManifold, parts: Division) -> Tensor:
    off, lost = held_out_distances(manifold, parts.choose)
    return torch.where(lost, nearest(parts.fit, 1, parts.choose)[0][:, 0], off) if bool(lost.any()) else off


def _beaten_by(local: ImplicitManifold, parts: Division) -> Callable[[ImplicitManifold], bool]:
    """Whether the points to choose with are nearer to `local` than to a network (root mean square) where that has no defects."""
    known = _distances(local, parts)

    def beaten(network: ImplicitManifold) -> bool:
        sound = ~defects(network, parts.choose)
        return bool(_distances(network, parts)[sound].square().sum() > known[sound].square().sum())

    return beaten


def _judged(manifold: ImplicitManifold, parts: Division, request: ManifoldRequest) -> _Judgement:
    """Distances of the points to judge with, and a warning, or none, where they are farther than noise and scale explain."""
    off, lost = held_out_distances(manifold, parts.judge)
    level = float(torch.where(lost, torch.nan, off).square().nanmean().sqrt()) if not bool(lost.all()) else float("inf")
    judged: dict[str, float | int] = {"points": len(off) if parts.apart else 0, "distance": level, "lost": float(lost.double().mean())}
    floor = CLEAN * diameter(parts.fit)
    if level > UNDERFIT * floor:
        noise = noise_level(parts.fit, request.dim, generator=request.generator)
        judged["noise"] = noise.noise
        floor = max(floor, noise.noise * manifold.codim**0.5)
    if level <= UNDERFIT * floor and judged["lost"] <= LOST:
        return _Judgement(judged, "")
    which = "held-out" if parts.apart else "fitted"
    return _Judgement(
        judged,
        f"underfit: {which} points are {level:.3g} off the manifold (root mean square), {level / floor:.1f} times what noise and scale explain, and"
        f" {judged['lost']:.1%} do not project onto it; more points, another dim or the other constraint may help",
    )


def _set_gate(manifold: ImplicitManifold, parts: Division) -> str:
    """Gate the manifold so that no more than `LOST` of the held-out points are outside, by a wider radius if need be; the note says what was done.

    More than that are outside where the lower end of Wilson's interval for their share is above it.
    """
    bare = manifold.with_fast_projection(gated=False)
    anchors, held = (found.points[found.converged] for found in (bare.project(parts.fit), bare.project(parts.choose)))
    gate = first = gate_of(anchors, manifold.dim)
    outside = _outside(gate, held, bare)
    while wilson_interval(outside, max(len(held), 1))[0] > LOST and gate.radius <= WIDEST * first.radius:
        gate = Gate(gate.get_buffer("anchors"), WIDER * gate.radius, gate.minimum)
        outside = _outside(gate, held, bare)
    told = f"{outside} of {len(held)} held-out points"
    if wilson_interval(outside, max(len(held), 1))[0] > LOST:
        manifold.gate = None
        return f"boundary: no gate, because even the widest one loses {told}"
    manifold.gate = gate
    wider = f", {gate.radius / first.radius:.1f} times the usual radius" if gate is not first else ""
    return f"boundary: the zero set is gated to where the data are ({told} outside{wider})"


def _outside(gate: Gate, points: Tensor, manifold: ImplicitManifold) -> int:
    return int((~gate(points, manifold.tangent_basis)).sum()) if len(points) else 0
