"""Closest points on the zero set M of a section s = Pi_r F, where F has cheap derivatives of its own (`geometry.constant_rank.Jet`).

The equations s(z) = 0 and P (x - z) = 0, P the projector on the tangents, the kernel of Ds, are solved together: z moves by

    n  +  T (1 + S)^-1 T^t (x - z - H n) ,      n = -Ds^+ s ,   H = lambda . D^2 s ,   S = T^t H T ,   Ds^t lambda = the normal part of x - z .

Ds is exact in every round, so that the tangents are; H is that of the first round, because it decides how fast the moves shrink and not where they end.
The first rounds are taken in single precision. A row that does not end in a closest point is given back as not converged.
Boumal (2023), An Introduction to Optimization on Smooth Manifolds; Deuflhard (2011), Newton methods for nonlinear problems.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry import constant_rank
from topogen.geometry.constant_rank import Frame, Jet
from topogen.geometry.frames import apply
from topogen.geometry.newton import State, clipped, iterate
from topogen.geometry.projection import Projection
from topogen.manifolds.implicit.section import FOOT_TOLERANCE, Approach, inverse_of_bent, kernel, predicted

__all__ = ["taken_together"]

Field = Callable[[Tensor], Tensor]
# A move in single precision, in units of the scale, after which double precision goes on; coordinates, in the same units, that are too large for it.
_ROUGH, _FAR = 1e-3, 100.0
# A long first move shrinks with its square, which promises a faster rate than the later ones keep: theirs is the change of H since the first round, which
# grows with the distance from M; this much per unit of it.
_LEAST_RATE = 0.1
_SURE = 0.1
_ROUNDS = 12
# Numbers in the points taken at a time: enough to hide what a call costs, few enough to keep their tangents near the processor.
_CHUNK = 4096


@torch.no_grad()
def taken_together(field: Field, rank: int, x: Tensor, how: Approach) -> Projection:
    """The closest points of M to points x (n, D) in float64, for a field that has a `jet` and, for predictor steps, a `gradient`."""
    rounds = _Rounds(field, rank, how)
    parts = [rounds.closest(part) for part in x.split(max(64, _CHUNK // x.shape[1]))]
    return Projection(*(torch.cat(fields) for fields in zip(*parts, strict=True)))


class _Linear(NamedTuple):
    """At n points: the `frame` of J, `change` (n, r, D) of its projector, and `rows` Ds (n, r, D), in coordinates of U_r."""

    frame: Frame
    change: Tensor
    rows: Tensor


@dataclass(frozen=True)
class _Rounds:
    """Newton's rounds on both equations. A row carries z (n, D), its residual (n,), infinite before it has ended, the length (n,) of its last move and
    T (1 + S)^-1 T^t (1, -H) (n, D, 2 D)."""

    field: Field
    rank: int
    how: Approach

    def closest(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points, residuals, whether they are closest points, and how many rounds it took."""
        finite, how = torch.isfinite(x).all(1), self.how
        x = torch.where(finite.unsqueeze(1), x, 0.0)
        y = x.float() if bool((x.abs() < _FAR * how.scale).all()) else x
        unknown = y.new_full((len(x),), torch.inf)
        start = (predicted(self.field, y, how.predictor_steps), unknown, unknown, y.new_zeros(len(x), x.shape[1], 2 * x.shape[1]))
        rough = iterate(self._rough, start, (y,), max_iterations=_ROUNDS, active=finite)
        near = tuple(part.double() for part in rough.state)
        found = iterate(self._fine, near, (x,), max_iterations=_ROUNDS, active=finite & ~rough.active & torch.isfinite(near[2]))
        points, residual, *_ = found.state
        return points, residual, residual <= how.tolerance, rough.steps + found.steps + how.predictor_steps

    def _rough(self, z: Tensor, residual: Tensor, length: Tensor, turn: Tensor, x: Tensor) -> tuple[State, Tensor]:
        """A round that is corrected later; the row goes on while its moves are long."""
        jet = constant_rank.jet(self.field, z)
        at = self._linear(jet)
        if bool(torch.isinf(length).any()):
            turn = _turn(jet, at, x - z)
        move = clipped(_moves(at, x - z, turn)[0], self.how.max_step)
        length = move.norm(dim=1)
        return (z + move, residual, length, turn), length > _ROUGH * self.how.scale

    def _fine(self, z: Tensor, residual: Tensor, last: Tensor, turn: Tensor, x: Tensor) -> tuple[State, Tensor]:
        """A round in double precision; the row ends where both equations hold, or the moves that are left hold them."""
        how = self.how
        at = self._linear(constant_rank.jet(self.field, z))
        move, slope = _moves(at, x - z, turn)
        length = move.norm(dim=1)
        arrived = (at.frame.distance <= how.tolerance) & (slope.norm(dim=1) <= FOOT_TOLERANCE * how.scale)
        # Moves that shrink at the rate seen leave less than |move| rate; a rate is seen once, so that a tenth of the tolerance is asked for.
        rate = torch.maximum(length / last, _LEAST_RATE / how.scale * (x - z).norm(dim=1)).clamp(max=1.0)
        ended = arrived | (length * rate <= _SURE * FOOT_TOLERANCE * how.scale)
        moved = z + clipped(move, how.max_step)
        left = torch.where(ended, self._residual(moved, at, move), torch.inf) if bool(ended.any()) else residual
        return (moved, left, length, turn), ~(left <= how.tolerance) & torch.isfinite(length)

    def _residual(self, moved: Tensor, at: _Linear, move: Tensor) -> Tensor:
        """The distance (n,) from M after a move, by the value alone: the projector changes to first order, which leaves an error of the square of the move."""
        kept = at.frame.left[..., : self.rank].mT
        section = apply(kept, self.field(moved)) + apply(at.change, move)
        return (section / at.frame.values[..., : self.rank]).norm(dim=1)

    def _linear(self, jet: Jet) -> _Linear:
        at = constant_rank.gram_frame(jet.value, jet.rows, self.rank)
        change = constant_rank.projector_change(at, jet.second_derivative)
        return _Linear(at, change, at.kept_rows + change)


def _moves(at: _Linear, back: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """The move (n, D) on both equations and P (x - z) (n, D), where x - z = `back`."""
    multipliers = _multipliers(at.rows, torch.stack([at.frame.kept, apply(at.rows, back)], 2))
    normal, held = (at.rows.mT @ multipliers).unbind(2)
    slope = back - held
    return apply(turn, torch.cat([slope, -normal], 1)) - normal, slope


def _multipliers(rows: Tensor, sides: Tensor) -> Tensor:
    """(Ds Ds^t)^-1 b (n, r, k)."""
    found: Tensor = torch.linalg.solve_ex(rows @ rows.mT, sides)[0]
    return found


def _turn(jet: Jet, at: _Linear, back: Tensor) -> Tensor:
    """T (1 + S)^-1 T^t (1, -H) (n, D, 2 D), NaN where 1 + S is not safely positive."""
    basis = kernel(at.rows)
    multiplier = _multipliers(at.rows, apply(at.rows, back).unsqueeze(2))
    bends = jet.second_derivative(basis.mT, (at.frame.left[..., : at.frame.rank] @ multiplier).mT)
    inverse, ok = inverse_of_bent((bends @ basis + (bends @ basis).mT) / 2)
    return basis @ torch.where(ok[:, None, None], inverse, torch.nan) @ torch.cat([basis.mT, -bends], 2)
