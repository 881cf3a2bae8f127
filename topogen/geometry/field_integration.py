"""Integration of a time-dependent tangent field along a manifold, with the divergence that its density loses on the way.

    dx/dt = v(x, t) in T_xM,        d/dt log p_t(x_t) = -div_M v(x_t, t)

Stages of the Runge-Kutta pair of Bogacki and Shampine are projected to M: this is the ambient pair for v o proj, which M is invariant under, so its order 3
is kept. One step length serves the whole batch; it follows the root mean square over the batch of the difference between the orders 3 and 2.
Bogacki, Shampine (1989), A 3(2) pair of Runge-Kutta formulas; Hairer, Lubich, Wanner (2006), Geometric numerical integration, IV.4;
Chen, Rubanova, Bettencourt, Duvenaud (2018), Neural ordinary differential equations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.errors import ProjectionError

__all__ = ["Drift", "IntegratedField", "integrate_field"]

Drift = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""Points (n, D) and a time -> velocities (n, D) and their divergences (n,)."""

_STAGES = ((0.5,), (0.0, 0.75), (2 / 9, 1 / 3, 4 / 9))
_TIMES = (0.5, 0.75, 1.0)
_ERROR = (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8)
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 3.0
_TRIES = 2000


@dataclass(frozen=True)
class IntegratedField:
    """Where points have gone (n, D), the integral of the divergence on the way (n,), how many evaluations of the field it took, and which of the n are lost
    because a stage did not project (`ok` is False there and they stay where they last were)."""

    points: Tensor
    divergence: Tensor
    evaluations: int
    ok: Tensor


@torch.no_grad()
def integrate_field(
    drift: Drift,
    project: Callable[[Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    start: float,
    end: float,
    *,
    tolerance: float,
    unit: float,
    steps: int | None = None,
) -> IntegratedField:
    """Carry points (n, D) float64 from time `start` to `end` (either may be the later).

    `project` maps points (n, D) to points of M and a mask (n,) of those found; `tolerance` is the error allowed per step, relative to the length `unit` for
    positions and absolute for divergences; `steps` takes so many equal ones instead.
    Raises ProjectionError where the field cannot be integrated: steps run to nothing.
    """
    state = _State(x, x.new_zeros(len(x)), torch.ones(len(x), dtype=torch.bool, device=x.device))
    slope, evaluations = drift(x, start), 1
    now, step = start, (end - start) / (16 if steps is None else steps)
    for _ in range(_TRIES if steps is None else steps):
        step = step if abs(step) < abs(end - now) * (1 - 1e-9) else end - now
        there, last, error = _attempt(drift, project, state, slope, now, step, tolerance, unit)
        evaluations += 3
        if error <= 1 or steps is not None:
            state, slope, now = there, last, end if step == end - now else now + step
        if now == end or not len(x):
            return IntegratedField(state.points, state.divergence, evaluations, state.ok)
        step *= 1.0 if steps is not None else min(_MOST, max(_LEAST, _SAFETY * max(error, 1e-9) ** (-1 / 3)))
    raise ProjectionError(f"flow: {_TRIES} steps do not lead from time {start:.4g} to {end:.4g}, stopped at {now:.4g}; raise the tolerance {tolerance:.2g}")


@dataclass(frozen=True)
class _State:
    points: Tensor
    divergence: Tensor
    ok: Tensor


def _attempt(
    drift: Drift,
    project: Callable[[Tensor], tuple[Tensor, Tensor]],
    state: _State,
    first: tuple[Tensor, Tensor],
    now: float,
    step: float,
    tolerance: float,
    unit: float,
) -> tuple[_State, tuple[Tensor, Tensor], float]:
    """The state after a step, the slope there, and the error in units of what is allowed."""
    slopes = [first]
    here = state
    for shares, share in zip(_STAGES, _TIMES, strict=True):
        moved = state.points + step * _combined(shares, [v for v, _ in slopes])
        found, ok = project(moved)
        ok = ok & state.ok
        gone = state.divergence + step * _combined(shares, [w for _, w in slopes])
        here = _State(torch.where(ok.unsqueeze(-1), found, state.points), torch.where(ok, gone, state.divergence), ok)
        slopes.append(drift(here.points, now + share * step))
    astray = step * _combined(_ERROR, [v for v, _ in slopes])[here.ok].norm(dim=-1) / unit
    wrong = step * _combined(_ERROR, [w for _, w in slopes])[here.ok]
    error = float(astray.square().mean().sqrt() + wrong.square().mean().sqrt()) / tolerance if len(astray) else 0.0
    return here, slopes[-1], error


def _combined(shares: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    return torch.stack([share * slope for share, slope in zip(shares, slopes, strict=True)]).sum(0)
