"""From a cleaned cloud to an `ImplicitManifold`: hull, scales, noise, constraint, gate, and the data brought onto it.

Noise above .2 % of the diameter is first averaged away by local quadratic sheets (measured at 1 %: the distance to the truth falls by a fifth on surfaces,
a third on curves).

A constraint is judged by its *defects*: data points where the smallest kept singular value is below half its median (a seam where the sign of a
single output could not be chosen, a place where F vanishes to second order). Attempts are made in this order until one has few of them (1 % of the
data; 5 % with one output, whose mesh is worth more), else the best is taken: one output (closed hypersurfaces of their hull only), the overcomplete
form with half the identity in it at first, and without. Where local polynomials are fitted already, an attempt that they beat away from its defects
is the last: another start removes defects and nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topogen.errors import DivergenceError, InvalidInputError
from topogen.geometry.clouds.denoising import onto_sheets
from topogen.geometry.clouds.dimension import AffineHull, affine_hull
from topogen.geometry.clouds.neighbours import nearest
from topogen.geometry.clouds.scales import Scales, estimate_scales
from topogen.learning.implicit.denoising_loss import LearnedConstraint, learn_constraint
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.training.trainer import Settings, TrainingReport

__all__ = ["Fitted", "defects", "fit_implicit", "gate_of", "hull_notes", "hull_of"]

GATE_NEIGHBOURS = 40
NOISY = 2e-3
FEW_DEFECTS, FEW_SEAMS = 1e-2, 5e-2
SLACK = 4.0
Attempt = tuple[bool, float]
_ATTEMPTS: tuple[Attempt, ...] = ((True, 0.0), (False, 0.5), (False, 0.0))


@dataclass(frozen=True)
class Fitted:
    """A learned manifold, the data projected onto it (those that converged), the scales and training behind it, and notes in words.

    `attempts`: per attempt the share of the data with defects; `seconds`: what they all took.
    """

    manifold: ImplicitManifold
    anchors: Tensor
    scales: Scales
    training: TrainingReport
    notes: tuple[str, ...]
    attempts: tuple[float, ...] = ()
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Steps, last losses (None where none was measured), rescues, attempts and seconds of the training, as plain values."""
        report = self.training
        losses = {name: value if math.isfinite(value) else None for name, value in (("loss", report.loss), ("held_out_loss", report.held_out))}
        return {"steps": report.steps, **losses, "rescued": report.rescued, "attempts": list(self.attempts), "seconds": round(self.seconds, 3)}


def fit_implicit(
    points: Tensor,
    dim: int,
    *,
    boundary: bool = False,
    pieces: bool = False,
    settings: Settings | None = None,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    beaten: Callable[[ImplicitManifold], bool] | None = None,
    quiet: bool = False,
) -> Fitted:
    """Learn the zero set behind distinct points (n, D) of dimension `dim`; `boundary`: gate it; `pieces`: several local dimensions are present;
    `beaten`: whether local polynomials are better than what an attempt found, so that no other is made.

    Raises InvalidInputError where the cloud fills its affine hull, DivergenceError when training fails or the data do not project onto what it found.
    """
    hull = hull_of(points, dim)
    scales = estimate_scales(hull.coordinates(points), dim, generator=generator)
    notes = hull_notes(hull)
    removed = scales.noise if scales.resolved and scales.noise > NOISY * scales.diameter else 0.0
    if removed:
        notes.append(f"noise: {scales.noise:.3g} per coordinate; the data were moved onto quadratic sheets of {scales.k} neighbours before learning")
        points = onto_sheets(hull.coordinates(points), dim, scales.k) @ hull.basis.T + hull.mean
        scales = estimate_scales(hull.coordinates(points), dim, generator=generator)
    attempts = _ATTEMPTS if hull.dim - dim == 1 and not boundary and not pieces else _ATTEMPTS[1:]

    def learn(attempt: Attempt, file: Path | None) -> LearnedConstraint:
        closed, skip = attempt
        return learn_constraint(
            points, dim, hull, scales, closed=closed, skip=skip, removed=removed, settings=settings, generator=generator, checkpoint=file, quiet=quiet
        )  # fmt: skip

    start = time.perf_counter()
    learned, tried = _best(attempts, learn, points, dim, checkpoint, notes, beaten)
    seconds = time.perf_counter() - start
    if learned.levels.empty:
        notes.append(f"scales: at {learned.levels.empty:.0%} of the points spacing or noise leave no room below the reach; do not trust the manifold there")
    return replace(_gated(manifold_of(learned, dim), points, learned, scales, boundary, notes), attempts=tried, seconds=seconds)


def manifold_of(learned: LearnedConstraint, dim: int, gate: Gate | None = None, full_tolerance: float = math.inf) -> ImplicitManifold:
    """The zero set of a learned constraint, with predictor steps and a step control that suit it."""
    scale = float(learned.network.get_buffer("scale"))
    longest = max(float(learned.levels.high.max()), 0.1 * scale)
    return ImplicitManifold(learned.network, dim, gate=gate, predictor_steps=2, max_step=longest, scale=scale, full_tolerance=full_tolerance)


def gate_of(anchors: Tensor, dim: int) -> Gate:
    """Gate whose radius holds GATE_NEIGHBOURS anchors at the median one; fewer than a quarter of the half ball's share is outside."""
    k = min(GATE_NEIGHBOURS, len(anchors) - 1)
    radius = float(nearest(anchors, k)[0][:, -1].median())
    return Gate(anchors, radius, max(dim + 1, k // 8))


def hull_of(points: Tensor, dim: int) -> AffineHull:
    """The affine hull of points (n, D), at least d + 1 dimensions of it; raises InvalidInputError where the points fill it with d = `dim`."""
    hull = affine_hull(points)
    if hull.dim > dim:
        return hull
    whole = torch.eye(points.shape[1], dtype=points.dtype, device=points.device)
    if points.shape[1] > dim:
        return AffineHull(points.mean(0), whole, whole[:, :0], 0.0)
    raise InvalidInputError(f"dim: the points fill R^{points.shape[1]} with dim={dim}; there is no lower-dimensional manifold to learn, pass a smaller dim")


def hull_notes(hull: AffineHull) -> list[str]:
    """A note where the hull leaves out linear directions."""
    ambient = len(hull.mean)
    return [f"hull: {hull.dim} of {ambient} linear directions carry more than noise"] if hull.dim < ambient else []


def _best(
    attempts: Sequence[Attempt],
    learn: Callable[[Attempt, Path | None], LearnedConstraint],
    points: Tensor,
    dim: int,
    checkpoint: Path | None,
    notes: list[str],
    beaten: Callable[[ImplicitManifold], bool] | None,
) -> tuple[LearnedConstraint, tuple[float, ...]]:
    """The first attempt with few defects, else the one with the fewest; and the share of defects of each that was made."""
    tried: list[tuple[float, LearnedConstraint]] = []
    for number, attempt in enumerate(attempts):
        file = checkpoint if checkpoint is None or number == 0 else checkpoint.with_name(f"{checkpoint.name}.{number}")
        learned = learn(attempt, file)
        tried.append((float(defects(manifold_of(learned, dim), points).double().mean()), learned))
        if tried[-1][0] <= (FEW_SEAMS if attempt[0] else FEW_DEFECTS):
            break
        if number + 1 < len(attempts) and beaten is not None and beaten(manifold_of(learned, dim)):
            notes.append(f"constraint: {number + 1} of {len(attempts)} attempts at a network, because local polynomials are nearer away from its defects")
            break
    share, learned = min(tried, key=lambda entry: entry[0])
    if len(tried) > 1 or share > FEW_DEFECTS:
        notes.append(f"constraint: attempts had defects at {', '.join(f'{s:.1%}' for s, _ in tried)} of the data, the one with {share:.1%} was taken")
    return learned, tuple(share for share, _ in tried)


def defects(manifold: ImplicitManifold, points: Tensor) -> Tensor:
    """Mask (n,) of the points (n, D) where the smallest kept singular value is below half its median."""
    kept = manifold.spectrum(points)[:, points.shape[1] - manifold.dim - 1]
    return kept < kept.median() / 2


def _gated(manifold: ImplicitManifold, points: Tensor, learned: LearnedConstraint, scales: Scales, boundary: bool, notes: list[str]) -> Fitted:
    projection = manifold.project(points)
    anchors = projection.points[projection.converged].detach()
    if len(anchors) < 0.5 * len(points):
        raise DivergenceError(
            f"only {len(anchors)} of {len(points)} points project onto the learned constraint; train longer or look at the advice of the inspection"
        )
    if len(anchors) < len(points):
        notes.append(f"projection: {len(points) - len(anchors)} of {len(points)} data points do not converge onto the manifold")
    gate = gate_of(anchors, manifold.dim) if boundary else None
    if boundary:
        notes.append("boundary: the zero set is gated to where the data are")
    if manifold.outputs > manifold.codim:
        manifold = manifold_of(learned, manifold.dim, gate, SLACK * float(manifold.full_residual(anchors).max()))
    return Fitted(manifold, anchors, scales, learned.training, tuple(notes))
