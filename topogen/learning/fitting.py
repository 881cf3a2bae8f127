"""From a cleaned cloud to an `ImplicitManifold`: hull, scales, constraint, gate, and the data brought onto it.

A closed hypersurface of its hull is first tried with one output. Where the result keeps a small singular value at more than 1 % of the data (a seam
where the sign of F could not be chosen), or where the data have a boundary or pieces of several dimensions, the overcomplete form is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from topogen.errors import DivergenceError, InvalidInputError
from topogen.geometry.dimension import AffineHull, affine_hull
from topogen.geometry.neighbours import nearest
from topogen.geometry.scales import Scales, estimate_scales
from topogen.learning.constraint import LearnedConstraint, learn_constraint
from topogen.learning.trainer import Settings, TrainingReport
from topogen.manifolds.gate import Gate
from topogen.manifolds.implicit import ImplicitManifold

__all__ = ["Fitted", "fit_implicit", "gate_of"]

GATE_NEIGHBOURS = 40
SEAM = 0.3


@dataclass(frozen=True)
class Fitted:
    """A learned manifold, the data projected onto it (those that converged), the scales and training behind it, and notes in words."""

    manifold: ImplicitManifold
    anchors: Tensor
    scales: Scales
    training: TrainingReport
    notes: tuple[str, ...]


def fit_implicit(
    points: Tensor,
    dim: int,
    *,
    boundary: bool = False,
    pieces: bool = False,
    settings: Settings | None = None,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> Fitted:
    """Learn the zero set behind distinct points (n, D) of dimension `dim`; `boundary`: gate it; `pieces`: several local dimensions are present.

    Raises InvalidInputError where the cloud fills its affine hull, DivergenceError when training fails or the data do not project onto what it found.
    """
    hull = _hull(points, dim)
    scales = estimate_scales(hull.coordinates(points), dim, generator=generator)
    notes = [f"hull: {hull.dim} of {points.shape[1]} linear directions carry more than noise"] if hull.dim < points.shape[1] else []
    closed = hull.dim - dim == 1 and not boundary and not pieces

    def learn(one_output: bool) -> LearnedConstraint:
        return learn_constraint(points, dim, hull, scales, closed=one_output, settings=settings, generator=generator, checkpoint=checkpoint, quiet=quiet)

    learned = learn(closed)
    if closed and _seam(learned, points, dim):
        notes.append("constraint: one output left a seam, learned again with an overcomplete constraint")
        learned = learn(False)
    manifold = manifold_of(learned, dim)
    if learned.levels.empty:
        notes.append(f"scales: at {learned.levels.empty:.0%} of the points spacing or noise leave no room below the reach; do not trust the manifold there")
    return _gated(manifold, points, learned, scales, boundary, notes)


def manifold_of(learned: LearnedConstraint, dim: int, gate: Gate | None = None) -> ImplicitManifold:
    """The zero set of a learned constraint, with predictor steps and a step control that suit it."""
    scale = float(learned.network.get_buffer("scale"))
    longest = max(float(learned.levels.high.max()), 0.1 * scale)
    return ImplicitManifold(learned.network, dim, gate=gate, predictor_steps=2, max_step=longest, scale=scale)


def gate_of(anchors: Tensor, dim: int) -> Gate:
    """Gate whose radius holds GATE_NEIGHBOURS anchors at the median one; fewer than a quarter of the half ball's share is outside."""
    k = min(GATE_NEIGHBOURS, len(anchors) - 1)
    radius = float(nearest(anchors, k)[0][:, -1].median())
    return Gate(anchors, radius, max(dim + 1, k // 8))


def _hull(points: Tensor, dim: int) -> AffineHull:
    hull = affine_hull(points)
    if hull.dim > dim:
        return hull
    whole = torch.eye(points.shape[1], dtype=points.dtype, device=points.device)
    if points.shape[1] > dim:
        return AffineHull(points.mean(0), whole, whole[:, :0], 0.0)
    raise InvalidInputError(f"dim: the points fill R^{points.shape[1]} with dim={dim}; there is no lower-dimensional manifold to learn, pass a smaller dim")


def _seam(learned: LearnedConstraint, points: Tensor, dim: int) -> bool:
    kept = manifold_of(learned, dim).frame(points).values[:, : points.shape[1] - dim].min(1).values
    return float((kept < SEAM * kept.median()).double().mean()) > 0.01


def _gated(manifold: ImplicitManifold, points: Tensor, learned: LearnedConstraint, scales: Scales, boundary: bool, notes: list[str]) -> Fitted:
    projection = manifold.project(points)
    anchors = projection.points[projection.converged].detach()
    if len(anchors) < 0.5 * len(points):
        raise DivergenceError(f"only {len(anchors)} of {len(points)} points project onto the learned constraint; train longer or look at the advice of the inspection")
    if len(anchors) < len(points):
        notes.append(f"projection: {len(points) - len(anchors)} of {len(points)} data points do not converge onto the manifold")
    if boundary:
        notes.append("boundary: the zero set is gated to where the data are")
        manifold = manifold_of(learned, manifold.dim, gate_of(anchors, manifold.dim))
    return Fitted(manifold, anchors, scales, learned.training, tuple(notes))
