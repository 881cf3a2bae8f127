"""The tangent move, the one step under every kernel: along a tangent vector, back to M, and a check that the way back exists.

    y = x + v + A(x)^t a  on M,     v tangent at x, the rows of A(x) (r, D) spanning the normal space
    w = P(y) (x - y)                the tangent vector that should lead from y to x
    reversible  iff  the move from y along w ends in x

For a regular constraint (as many outputs as normals) A = J and a is found by the chord iteration a <- a - (J(x) J(x)^t)^-1 F(y), whose matrix is factored
once per point: one Jacobian per move, where Newton's method takes one per iteration. Otherwise A is an orthonormal normal basis and a is found by Newton's
method on `Manifold.section`. Either way the solution is a function of (x, v) alone, which is all that reversibility needs. P(x) = 1 - A^t (A A^t)^-1 A
never forms a D x D matrix.
Zappa, Holmes-Cerfon, Goodman (2018), Monte Carlo on manifolds; Barth, Kuczera, Leimkuhler, Skeel (1995), Algorithms for constrained molecular dynamics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, final

import torch
from torch import Tensor

from topogen.geometry.constant_rank import pullback, value_and_jacobian
from topogen.geometry.frames import apply
from topogen.geometry.newton import State, iterate
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.normal_space_projection import project_along_normals
from topogen.manifolds.implicit.valid_zeros import full_residual_bound, is_valid_zero

__all__ = ["NormalFrame", "MoveSolver", "Landing", "Mover"]

RESIDUAL_TO_POSITION = 10.0
RETURN_TO_POSITION = 2.0
_CHORD_ITERATIONS = 24
_FREE = 2  # chord steps before they have to shrink
_SLOWEST = 0.9
_DENSE = 1000


class NormalFrame(NamedTuple):
    """Normal frames of n points: independent rows `rows` (n, r, D) of the normal spaces and the lower factors `factor` (n, r, r) of A A^t."""

    rows: Tensor
    factor: Tensor


class Landing(NamedTuple):
    """Where a move ended: points y (n, D), their frames, the way back w (n, D), and masks (n,): nothing found, no way back."""

    points: Tensor
    frame: NormalFrame
    back: Tensor
    failed: Tensor
    irreversible: Tensor


class MoveSolver(Protocol):
    """How one kind of manifold is stood on and come back to."""

    def place(self, points: Tensor) -> NormalFrame:
        """Frames at points (n, D) of M."""
        ...

    def tangent(self, frame: NormalFrame, vectors: Tensor) -> Tensor:
        """P v (n, D) of ambient vectors (n, D)."""
        ...

    def land(self, points: Tensor, frame: NormalFrame, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """y = x + v + A^t a (n, D) on M and a mask (n,) of those found; x where nothing was."""
        ...


@final
class Mover:
    """Tangent moves with their reversal check on any manifold.

    Points are on M within its float64 tolerance t, positions are settled to 10 t, and the way back must end within 20 t of where it should: tied,
    because otherwise rounding would be taken for irreversibility or the other way round.
    """

    def __init__(self, manifold: Manifold, max_iterations: int = 10) -> None:
        self.manifold = manifold
        self.tolerance = manifold.tolerance(torch.float64)
        self.reversal_tolerance = RETURN_TO_POSITION * RESIDUAL_TO_POSITION * self.tolerance
        self.ground: MoveSolver = _ground(manifold, self.tolerance, max_iterations)
        self._bound: float | None = None

    def bound(self, points: Tensor) -> Tensor:
        """Largest full residual of a point of M (n,), read off the first points (n, D) that are seen: taken again where chains are, it could creep upwards."""
        if self._bound is None:
            self._bound = full_residual_bound(self.manifold, points)
        return points.new_full(points.shape[:1], self._bound)

    def place(self, points: Tensor) -> NormalFrame:
        """Frames at points (n, D) of M."""
        return self.ground.place(points)

    def tangent(self, frame: NormalFrame, vectors: Tensor) -> Tensor:
        """Tangent parts (n, D) of ambient vectors (n, D)."""
        return self.ground.tangent(frame, vectors)

    def move(self, points: Tensor, frame: NormalFrame, vectors: Tensor, bound: Tensor) -> Landing:
        """From points (n, D) along tangent vectors (n, D); `bound` (n,) is the largest full residual of a point of M (`valid_zeros`)."""
        y, found = self.ground.land(points, frame, vectors)
        found &= is_valid_zero(self.manifold, y, bound)
        y = torch.where(found.unsqueeze(-1), y, points)
        there = self.ground.place(y)
        back = self.ground.tangent(there, points - y)
        returned, closed = self.ground.land(y, there, back)
        reversible = closed & ((returned - points).norm(dim=-1) <= self.reversal_tolerance)
        return Landing(y, there, back, ~found, found & ~reversible)


def _ground(manifold: Manifold, tolerance: float, max_iterations: int) -> MoveSolver:
    if manifold.regular:
        return _Regular(manifold, tolerance)
    return _Sectioned(manifold, tolerance, max_iterations)


@final
class _Regular:
    """A regular constraint: the rows are its Jacobian, the way back a chord iteration."""

    def __init__(self, manifold: Manifold, tolerance: float) -> None:
        self.field, self.tolerance = manifold.value, tolerance

    def place(self, points: Tensor) -> NormalFrame:
        with torch.no_grad():
            _, rows = value_and_jacobian(self.field, points)
            return NormalFrame(rows, _factor(rows))

    def tangent(self, frame: NormalFrame, vectors: Tensor) -> Tensor:
        inner = _solve(frame.factor, apply(frame.rows, vectors))
        return vectors - apply(frame.rows.mT, inner)

    def land(self, points: Tensor, frame: NormalFrame, vectors: Tensor) -> tuple[Tensor, Tensor]:
        spread = self._spread(points, frame)

        def step(y: Tensor, _last: Tensor, _found: Tensor) -> tuple[State, Tensor]:
            value = self.field(y)
            move = spread(_solve(frame.factor, value))
            length = move.norm(dim=-1)
            settled = length <= self.tolerance
            return (y - move, length, settled), ~settled & (length < torch.inf)

        def shrinking(y: Tensor, last: Tensor, found: Tensor) -> tuple[State, Tensor]:
            state, going = step(y, last, found)
            return state, going & (state[1] < _SLOWEST * last)

        y = points + vectors
        last = y.new_full(y.shape[:1], torch.inf)
        with torch.no_grad():
            begun = iterate(step, (y, last, torch.zeros_like(last, dtype=torch.bool)), max_iterations=_FREE, gather=False)
            y, _, found = iterate(shrinking, begun.state, max_iterations=_CHORD_ITERATIONS - _FREE, active=begun.active, gather=False).state
        return torch.where(found.unsqueeze(-1), y, points), found

    def _spread(self, points: Tensor, frame: NormalFrame) -> Callable[[Tensor], Tensor]:
        """b (n, r) -> J^t b (n, D), by the stored Jacobian or, where that is the larger of the two, by a backward pass."""
        if frame.rows.shape[1] * frame.rows.shape[2] <= _DENSE:
            return lambda b: apply(frame.rows.mT, b)
        _, pull = pullback(self.field, points)
        return lambda b: pull(b)[0]


@final
class _Sectioned:
    """Any other manifold: the rows are an orthonormal normal basis, the way back Newton's method on a section."""

    def __init__(self, manifold: Manifold, tolerance: float, max_iterations: int) -> None:
        self.manifold, self.tolerance, self.max_iterations = manifold, tolerance, max_iterations
        self.section = manifold.section

    def place(self, points: Tensor) -> NormalFrame:
        rows = self.manifold.normal_basis(points).mT
        return NormalFrame(rows, rows.new_zeros(len(rows), 0, 0))

    def tangent(self, frame: NormalFrame, vectors: Tensor) -> Tensor:
        return vectors - apply(frame.rows.mT, apply(frame.rows, vectors))

    def land(self, points: Tensor, frame: NormalFrame, vectors: Tensor) -> tuple[Tensor, Tensor]:
        return project_along_normals(self.section, points, vectors, frame.rows.mT, self.tolerance, self.max_iterations)


def _factor(rows: Tensor) -> Tensor:
    """Lower Cholesky factors (n, r, r) of A A^t; NaN where A A^t is singular, so that every move from there fails."""
    if rows.shape[-2] == 1:
        return rows.norm(dim=-1, keepdim=True)
    factor, info = torch.linalg.cholesky_ex(rows @ rows.mT)
    return torch.where((info == 0)[:, None, None], factor, torch.nan)


def _solve(factor: Tensor, value: Tensor) -> Tensor:
    """(A A^t)^-1 b (n, r)."""
    if factor.shape[-1] == 1:
        return value / factor[..., 0].square()
    return torch.cholesky_solve(value.unsqueeze(-1), factor).squeeze(-1)
