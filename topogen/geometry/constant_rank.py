"""Zero sets of constant rank: the numerics of M = {x : Pi_r(x) F(x) = 0} for a callable F: R^D -> R^m with m >= r = D - d.

J(x) = U S V^t is the Jacobian of F, Pi_r = U_r U_r^t the projector on its r leading left singular vectors and

    s(x) = Pi_r(x) F(x)                      the section whose zero set M is; |s| is the *kept residual*
    x  <-  x - V_r S_r^-1 U_r^t F(x)         Gauss-Newton step with the rank-r pseudo-inverse
    Ds     = Pi_r J + (D Pi_r) F             its derivative on M; T_xM is the kernel of Ds, not of Pi_r J alone

With r = m this is the ordinary regular level set (Ds = J). The overcomplete form m > r also covers sets whose normal bundle is not trivial,
non-orientable ones among them.
Perturbation of singular subspaces: Kato (1966), Perturbation Theory for Linear Operators; rank-deficient Gauss-Newton: Ben-Israel (1966), A
Newton-Raphson method for the solution of systems of equations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen.geometry.frames import apply
from topogen.geometry.newton import State, clipped, iterate
from topogen.geometry.projection import Projection

__all__ = [
    "Frame",
    "Jet",
    "exact_derivative",
    "frame",
    "gram_frame",
    "jacobian",
    "jet",
    "newton",
    "projector_change",
    "pullback",
    "shape_operator",
    "value_and_jacobian",
]

Field = Callable[[Tensor], Tensor]
SecondDerivative = Callable[[Tensor, Tensor], Tensor]
# Directions of second derivatives that autograd takes together, which bounds the memory.
_TOGETHER = 8


class Jet(NamedTuple):
    """F (n, m), J (n, m, D) and the second derivatives of F at n points.

    `second_derivative(direction, output)` is output^t D^2F[direction, .] (n, p, D) for directions (n, p, D) and outputs (n, p, m), or (n, 1, m) for all
    of them.
    """

    value: Tensor
    rows: Tensor
    second_derivative: SecondDerivative


@dataclass(frozen=True)
class Frame:
    """Singular frame of J at n points: F (n, m), U (n, m, q), S (n, q) descending, V (n, D, q), q = min(m, D); `rank` r <= q."""

    value: Tensor
    left: Tensor
    values: Tensor
    right: Tensor
    rank: int

    @property
    def kept(self) -> Tensor:
        """Coordinates U_r^t F (n, r) of the section s."""
        return (self.left[..., : self.rank].mT @ self.value.unsqueeze(-1)).squeeze(-1)

    @property
    def residual(self) -> Tensor:
        """Kept residual |s| (n,)."""
        return self.kept.norm(dim=-1)

    @property
    def distance(self) -> Tensor:
        """|S_r^-1 U_r^t F| (n,), the length of the Gauss-Newton step: the distance from the zero set to first order, whatever factor F carries."""
        return self.step.norm(dim=-1)

    @property
    def kept_rows(self) -> Tensor:
        """Pi_r J (n, r, D) in coordinates of U_r."""
        return (self.right[..., : self.rank] * self.values[:, None, : self.rank]).mT

    @property
    def step(self) -> Tensor:
        """Gauss-Newton step -V_r S_r^-1 U_r^t F (n, D)."""
        scaled = self.kept / self.values[..., : self.rank].clamp_min(torch.finfo(self.values.dtype).tiny)
        return -(self.right[..., : self.rank] @ scaled.unsqueeze(-1)).squeeze(-1)


def pullback(field: Field, x: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor]]]:
    """F(x) and the map that takes cotangents of it to cotangents of x, J^t."""
    result: Any = torch.func.vjp(field, x)
    return result[0], result[1]


def value_and_jacobian(field: Field, x: Tensor) -> tuple[Tensor, Tensor]:
    """F(x) (n, m) and its Jacobian (n, m, D) at points (n, D); rows must not interact.

    By the field's own `value_and_jacobian` where it has one, else by one forward and m batched backward passes.
    """
    own = getattr(field, "value_and_jacobian", None)
    if own is not None:
        found: tuple[Tensor, Tensor] = own(x)
        return found
    value, pull = pullback(field, x)
    outputs = value.shape[-1]
    cotangents = torch.eye(outputs, dtype=x.dtype, device=x.device).unsqueeze(1).expand(outputs, *value.shape)
    (rows,) = torch.func.vmap(pull)(cotangents)
    return value, rows.transpose(0, 1)


def jacobian(field: Field, x: Tensor) -> Tensor:
    """Jacobian (n, m, D) of F at points (n, D)."""
    return value_and_jacobian(field, x)[1]


def frame(field: Field, x: Tensor, rank: int) -> Frame:
    """Singular frame of the Jacobian of F at points (n, D); x and F(x) must be finite."""
    with torch.no_grad():
        value, rows = value_and_jacobian(field, x)
        if rows.shape[-2] == 1:
            return _single(value, rows)
        left, values, right = torch.linalg.svd(rows, full_matrices=False)
        return Frame(value, left, values, right.mT, rank)


def _single(value: Tensor, rows: Tensor) -> Frame:
    norm = rows.norm(dim=-1, keepdim=True)
    right = (rows / norm.clamp_min(torch.finfo(rows.dtype).tiny)).mT
    return Frame(value, torch.ones_like(norm), norm.squeeze(-1), right, 1)


def gram_frame(value: Tensor, rows: Tensor, rank: int) -> Frame:
    """Singular frame of Jacobians (n, m, D) by the eigenvectors of J^t J, at less than half the price of their singular values.

    It is exact where the kept values are of one order and well above the others: the values are squared, and so is their condition. Rows that are not
    finite give frames that are not.
    """
    finite = torch.isfinite(rows).all((-2, -1))
    squares, right = torch.linalg.eigh(torch.where(finite[:, None, None], rows.mT @ rows, 0.0))
    values, right = squares.clamp_min(torch.finfo(rows.dtype).tiny).sqrt().flip(-1), right.flip(-1)
    return Frame(value, rows @ right / values.unsqueeze(1), values, right, rank)


def newton(field: Field, x: Tensor, rank: int, tolerance: float, max_iterations: int = 40, max_step: float = torch.inf, halvings: int = 4) -> Projection:
    """Bring points (n, D) to the zero set of s by clipped Gauss-Newton steps with backtracking, each sample by itself.

    A step is clipped to length `max_step` and halved up to `halvings` times while it makes |s| grow; a sample leaves the active set once the next step, its
    distance from the zero set to first order, is at most `tolerance`. The residual is that distance; it does not depend on a factor of F. Samples whose
    value or Jacobian stops being finite are returned at their last finite point, not converged.
    """
    points = x.detach().clone()

    def step(y: Tensor, residual: Tensor, move: Tensor) -> tuple[State, Tensor]:
        state = _descended(field, rank, y, residual, clipped(move, max_step), halvings)
        return state, _unsolved(state, tolerance)

    start = (points, *_aim(field, points, rank))
    found = iterate(step, start, max_iterations=max_iterations, active=_unsolved(start, tolerance))
    points, residual, move = found.state
    # Where J vanishes no step says how far the zero set is, if there is one.
    stuck = (residual > 0) & (move == 0).all(-1)
    distance = torch.where(torch.isfinite(residual) & ~stuck, move.norm(dim=-1), torch.inf)
    converged = distance <= tolerance
    # The step that showed how near they are is known already: taking it leaves its square.
    return Projection(torch.where(converged.unsqueeze(-1), points + move, points), distance, converged, found.steps)


def _unsolved(state: State, tolerance: float) -> Tensor:
    _, residual, move = state
    return (move.norm(dim=-1) > tolerance) & torch.isfinite(residual)


def _descended(field: Field, rank: int, x: Tensor, before: Tensor, move: Tensor, halvings: int) -> State:
    """y = x + move, the move halved while |s| grows along it, with |s(y)| and the step to take from there."""

    def halve(y: Tensor, after: Tensor, _: Tensor, move: Tensor, x: Tensor, before: Tensor) -> tuple[State, Tensor]:
        y, move = x + move / 2, move / 2
        after, following = _aim(field, y, rank)
        return (y, after, following, move), ~(after <= before)

    y = x + move
    after, following = _aim(field, y, rank)
    return iterate(halve, (y, after, following, move), (x, before), max_iterations=halvings, active=~(after <= before)).state[:3]


def _aim(field: Field, x: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    at = _safe_frame(field, x, rank)
    return at.residual, at.step


def _safe_frame(field: Field, x: Tensor, rank: int) -> Frame:
    """Singular frame where F and J are finite; elsewhere frames of zeros with an infinite residual, because one NaN row makes LAPACK refuse the batch."""
    with torch.no_grad():
        value, rows = value_and_jacobian(field, x)
        if rows.shape[-2] == 1:
            return _single(torch.where(torch.isfinite(rows).all(-1), value, torch.inf), rows.nan_to_num())
        finite = torch.isfinite(value).all(-1) & torch.isfinite(rows).all((-2, -1))
        rows = torch.where(finite[:, None, None], rows, 0.0)
        left, values, right = torch.linalg.svd(rows, full_matrices=False)
        return Frame(torch.where(finite[:, None], value, torch.inf), left, values, right.mT, rank)


def jet(field: Field, x: Tensor) -> Jet:
    """F and its first two derivatives at points (n, D), by the field's own `jet` where it has one; rows must not interact."""
    own = getattr(field, "jet", None)
    if own is not None:
        found: Jet = own(x)
        return found
    return Jet(*value_and_jacobian(field, x), lambda direction, output: _contract(field, x, direction, output))


def exact_derivative(field: Field, x: Tensor, at: Frame) -> Tensor:
    """Coordinates (n, r, D) in U_r of Ds = Pi_r J + (D Pi_r) F at points of M, from the frame there."""
    return at.kept_rows + projector_change(at, lambda direction, output: _contract(field, x, direction, output))


def projector_change(at: Frame, second_derivative: SecondDerivative) -> Tensor:
    """Coordinates (n, r, D) in U_r of (D Pi_r) F, by first-order perturbation of the projector.

    With u_j the left singular vectors that are dropped, those beyond the thin ones (sigma_j = 0) among them, and g_j = u_j^t F,

        row_i = sum_j g_j / (sigma_i^2 - sigma_j^2) (sigma_i u_j^t D^2F[v_i, .] + sigma_j u_i^t D^2F[v_j, .]),       i kept, j dropped.

    With d_i = sum_j g_j sigma_j / (sigma_i^2 - sigma_j^2) v_j and F' = F - Pi_r F this is

        row_i = (F' + J d_i)^t D^2F[v_i, .] / sigma_i + u_i^t D^2F[d_i, .]

    which needs no left singular vector of a vanishing sigma_j: all of them together act through F'.
    """
    r, sigma = at.rank, at.values
    if at.value.shape[-1] == r:
        return torch.zeros_like(at.right[..., :r].mT)
    tiny = torch.finfo(sigma.dtype).tiny
    left, right, kept, dropped = at.left[..., :r], at.right[..., :r], sigma[:, :r], sigma[:, r:]
    missed = at.value - apply(left, at.kept)
    along = apply(at.left[..., r:].mT, missed) * dropped
    weight = along.unsqueeze(1) / (kept.square().unsqueeze(2) - dropped.square().unsqueeze(1)).clamp_min(tiny)
    direction = weight @ at.right[..., r:].mT
    output = (missed.unsqueeze(1) + (weight * dropped.unsqueeze(1)) @ at.left[..., r:].mT) / kept.clamp_min(tiny).unsqueeze(2)
    bends = second_derivative(torch.cat([right.mT, direction], 1), torch.cat([output, left.mT], 1))
    return bends[:, :r] + bends[:, r:]


def _contract(field: Field, x: Tensor, direction: Tensor, output: Tensor) -> Tensor:
    """output^t D^2F[direction, .] (n, p, D), as in `Jet`: by the field's own `second_derivative` where it has one, else the gradients of
    <output, DF[direction]>."""
    own = getattr(field, "second_derivative", None)
    if own is not None:
        found: Tensor = own(x, direction, output)
        return found

    # Two reverse passes: a forward one would not run inside of a caller's forward mode.
    def gradient(direction: Tensor, output: Tensor) -> Tensor:
        return pullback(lambda y: pullback(field, y)[1](output)[0], x)[1](direction)[0]

    return torch.func.vmap(gradient, in_dims=1, chunk_size=_TOGETHER)(direction, output.expand(*direction.shape[:2], -1)).transpose(0, 1)


def shape_operator(field: Field, x: Tensor, output: Tensor, basis: Tensor) -> Tensor:
    """T^t (sum_a output_a D^2F_a) T (n, d, d) for output weights (n, m) and bases (n, D, d)."""
    hessian = _contract(field, x, basis.mT, output.unsqueeze(1)) @ basis
    return (hessian + hessian.mT) / 2
