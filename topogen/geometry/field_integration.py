"""Integration of a time-dependent tangent field along a manifold, with the divergence that its density loses on the way.

    dx/dt = v(x, t) in T_xM,        d/dt log p_t(x_t) = -div_M v(x_t, t)

Stages of the Runge-Kutta pair of Bogacki and Shampine are projected to M: this is the ambient pair for v o proj, which M is invariant under, so its order 3
is kept. Every point has its own time and its own step length, which follows the difference between the orders 3 and 2 at that point: what happens to a
point does not depend on what is integrated beside it.
Bogacki, Shampine (1989), A 3(2) pair of Runge-Kutta formulas; Hairer, Lubich, Wanner (2006), Geometric numerical integration, IV.4;
Chen, Rubanova, Bettencourt, Duvenaud (2018), Neural ordinary differential equations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.errors import ProjectionError
from topogen.geometry.newton import State, iterate, select_rows

__all__ = ["Drift", "IntegratedField", "integrate_field"]

Drift = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Points (n, D), their times (n,) and which of the points given they are (n,) int64 -> velocities (n, D) and their divergences (n,)."""

_STAGES = ((0.5,), (0.0, 0.75), (2 / 9, 1 / 3, 4 / 9))
_TIMES = (0.5, 0.75, 1.0)
_ERROR = (2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8)
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 3.0
_TRIES = 2000


@dataclass(frozen=True)
class IntegratedField:
    """Where points have gone (n, D), the integral of the divergence on the way (n,), how many evaluations of the field the slowest point took, and which of
    the n are lost because a stage did not project (`ok` is False there and they stay where they last were)."""

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
    positions and absolute for divergences, of every point; `steps` takes so many equal ones instead.
    Raises ProjectionError where the field cannot be integrated: steps run to nothing.
    """
    time, step = x.new_full((len(x),), start), x.new_full((len(x),), (end - start) / (16 if steps is None else steps))
    slope, spread = drift(x, time, torch.arange(len(x), device=x.device)) if len(x) else (x, x[:, 0])
    attempt = _Attempt(drift, project, end, tolerance, unit, adaptive=steps is None)
    begun = (x, x.new_zeros(len(x)), torch.ones(len(x), dtype=torch.bool, device=x.device), time, step, slope, spread)
    rows = torch.arange(len(x), device=x.device)
    found = iterate(attempt, begun, (rows,), max_iterations=_TRIES if steps is None else steps)
    points, divergence, ok, reached = found.state[:4]
    if steps is None and bool(found.active.any()):
        late = reached[found.active]
        raise ProjectionError(
            f"flow: {_TRIES} steps do not lead {int(found.active.sum())} of {len(x)} points from time {start:.4g} to {end:.4g}, stopped at"
            f" {float(late[0]):.4g}; raise the tolerance {tolerance:.2g}"
        )
    return IntegratedField(points, divergence, 1 + 3 * int(found.steps.max()) if len(x) else 1, ok)


@dataclass(frozen=True)
class _Attempt:
    """A step of every point from its time by its step length, taken where its error is allowed."""

    drift: Drift
    project: Callable[[Tensor], tuple[Tensor, Tensor]]
    end: float
    tolerance: float
    unit: float
    adaptive: bool

    def __call__(
        self, x: Tensor, divergence: Tensor, ok: Tensor, time: Tensor, step: Tensor, slope: Tensor, spread: Tensor, rows: Tensor
    ) -> tuple[State, Tensor]:
        last = step.abs() >= (self.end - time).abs() * (1 - 1e-9)
        step = torch.where(last, self.end - time, step)
        slopes, spreads, good = [slope], [spread], ok
        y, gone = x, divergence
        for shares, share in zip(_STAGES, _TIMES, strict=True):
            found, there = self.project(x + step.unsqueeze(1) * _combined(shares, slopes))
            good = good & there
            y = torch.where(good.unsqueeze(1), found, x)
            gone = torch.where(good, divergence + step * _combined(shares, spreads), divergence)
            after = self.drift(y, time + share * step, rows)
            slopes.append(after[0])
            spreads.append(after[1])
        astray = (step.unsqueeze(1) * _combined(_ERROR, slopes)).norm(dim=1) / self.unit + (step * _combined(_ERROR, spreads)).abs()
        error = torch.where(good, astray / self.tolerance, 0.0)
        taken = (error <= 1) | torch.full_like(good, not self.adaptive)
        state = select_rows(
            taken, (y, gone, good, torch.where(last, self.end, time + step), step, slopes[-1], spreads[-1]), (x, divergence, ok, time, step, slope, spread)
        )
        factor = (_SAFETY * error.clamp_min(1e-9) ** (-1 / 3)).clamp(_LEAST, _MOST) if self.adaptive else torch.ones_like(error)
        return (*state[:4], step * factor, *state[5:]), ~(taken & last)


def _combined(shares: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    return torch.stack([share * slope for share, slope in zip(shares, slopes, strict=True)]).sum(0)
