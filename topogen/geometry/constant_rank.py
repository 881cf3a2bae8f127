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
from typing import Any

import torch
from torch import Tensor

from topogen.geometry.newton import State, clipped, iterate
from topogen.geometry.projection import Projection

__all__ = ["Frame", "exact_derivative", "frame", "jacobian", "newton", "pullback", "shape_operator", "value_and_jacobian"]

Field = Callable[[Tensor], Tensor]


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


def newton(field: Field, x: Tensor, rank: int, tolerance: float, max_iterations: int = 40, max_step: float = torch.inf, halvings: int = 4) -> Projection:
    """Bring points (n, D) to the zero set of s by clipped Gauss-Newton steps with backtracking, each sample by itself.

    A step is clipped to length `max_step` and halved up to `halvings` times while it makes |s| grow; a sample leaves the active set once
    |s| <= `tolerance`. Samples whose value or Jacobian stops being finite are returned at their last finite point, not converged.
    """
    points = x.detach().clone()

    def step(y: Tensor, residual: Tensor, move: Tensor) -> tuple[State, Tensor]:
        state = _descended(field, rank, y, residual, clipped(move, max_step), halvings)
        return state, _unsolved(state[1], tolerance)

    residual, move = _aim(field, points, rank)
    found = iterate(step, (points, residual, move), max_iterations=max_iterations, active=_unsolved(residual, tolerance))
    points, residual, _ = found.state
    return Projection(points, residual, residual <= tolerance, found.steps)


def _unsolved(residual: Tensor, tolerance: float) -> Tensor:
    return (residual > tolerance) & torch.isfinite(residual)


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


def exact_derivative(field: Field, x: Tensor, at: Frame) -> Tensor:
    """Coordinates (n, r, D) in U_r of Ds = Pi_r J + (D Pi_r) F at points of M.

    First-order perturbation of the projector, with g = U_rest^t F the full residual that the section ignores:

        row_i = sigma_i v_i^t + sum_j g_j / (sigma_i^2 - sigma_j^2) (sigma_i u_j^t D^2F[v_i, .] + sigma_j u_i^t D^2F[v_j, .]),  i kept, j dropped.
    """
    r = at.rank
    rows = (at.right[..., :r] * at.values[:, None, :r]).mT
    if at.left.shape[-1] == r:
        return rows
    rest = (at.left[..., r:].mT @ at.value.unsqueeze(-1)).squeeze(-1)
    return torch.stack([rows[:, i] + _projector_change(field, x, at, rest, i) for i in range(r)], dim=1)


def _projector_change(field: Field, x: Tensor, at: Frame, rest: Tensor, i: int) -> Tensor:
    r, sigma_i, sigma = at.rank, at.values[:, i : i + 1], at.values[:, at.rank :]
    weight = rest / (sigma_i**2 - sigma**2)
    output = (at.left[..., r:] @ (weight * sigma_i).unsqueeze(-1)).squeeze(-1)
    direction = (at.right[..., r:] @ (weight * sigma).unsqueeze(-1)).squeeze(-1)
    return _contract(field, x, at.right[..., i], output) + _contract(field, x, direction, at.left[..., i])


def _contract(field: Field, x: Tensor, direction: Tensor, output: Tensor) -> Tensor:
    """output^t D^2F[direction, .] (n, D): the gradient of <output, DF[direction]>."""

    def slope(y: Tensor) -> Tensor:
        return torch.func.jvp(field, (y,), (direction,))[1]

    _, pull = pullback(slope, x)
    (gradient,) = pull(output)
    return gradient


def shape_operator(field: Field, x: Tensor, output: Tensor, basis: Tensor) -> Tensor:
    """T^t (sum_a output_a D^2F_a) T (n, d, d) for output weights (n, m) and bases (n, D, d)."""
    columns = [_contract(field, x, basis[..., i], output) for i in range(basis.shape[-1])]
    hessian = basis.mT @ torch.stack(columns, dim=-1)
    return (hessian + hessian.mT) / 2
