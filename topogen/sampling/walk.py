"""The tangent random walk: a Metropolis kernel on a manifold, exact for exp(-E) against the d-dimensional volume measure.

    v = step T(x) xi,  xi ~ N(0, I_d)              the noise is tangent, otherwise the target is the co-area measure
    y = x + v + N(x) a  on M                       oblique projection; none found is a rejection
    v' = P(y) (x - y)
    accept with  exp(E(x) - E(y) - (|v'|^2 - |v|^2) / (2 step^2))
    and only if the oblique projection of y + v' along N(y) is x again      the reversal check

Without the reversal check the walk converges to another law (torus with R = 1, r = .5, step .5: E cos phi = .29 instead of .25).
Zappa, Holmes-Cerfon, Goodman (2018), Monte Carlo on manifolds: sampling densities and integrating functions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from topogen.geometry.frames import complement
from topogen.manifolds.base import Manifold
from topogen.sampling.chains import Proposal, State
from topogen.sampling.oblique import oblique_projection, section_of
from topogen.sampling.sheet import full_residual_bound, on_sheet

__all__ = ["TangentRandomWalk"]

REVERSAL = 1e3


class TangentRandomWalk:
    """Kernel with target density proportional to exp(-energy) on M, uniform for `energy` None; a gate is a wall (density 0 outside).

    Residuals are bounded by the manifold's float64 tolerance, the way back must end within 1000 times that of x: tied, because a residual of 1e-9
    leaves the position uncertain by more than that where the constraint is flat. `energy` maps rows (n, D) to (n,).
    """

    def __init__(self, manifold: Manifold, energy: Callable[[Tensor], Tensor] | None = None, max_iterations: int = 10) -> None:
        self.manifold, self.energy, self.max_iterations = manifold, energy, max_iterations
        self.tolerance = manifold.tolerance(torch.float64)
        self._section = section_of(manifold)

    def begin(self, points: Tensor) -> State:
        """State (x, T, N, E, bound) at points (n, D) float64 of M: bases (n, D, d) and (n, D, r), energies (n,), bound (n,) of the full residual."""
        bound = points.new_full(points.shape[:1], full_residual_bound(self.manifold, points))
        return (*self._place(points), bound)

    def propose(self, state: State, step: float, generator: torch.Generator | None) -> Proposal:
        """One proposal per chain, with step length `step` per tangent direction (data units)."""
        x, tangent, normal, energy, bound = state
        xi = torch.randn(len(x), tangent.shape[-1], 1, dtype=x.dtype, generator=generator).to(x.device)
        y, found = self._project(x, step * (tangent @ xi).squeeze(-1), normal)
        found &= on_sheet(self.manifold, y, bound)
        new = self._place(torch.where(found.unsqueeze(-1), y, x))
        back = new[1].mT @ (x - new[0]).unsqueeze(-1)
        returned, closed = self._project(new[0], (new[1] @ back).squeeze(-1), new[2])
        reversible = closed & ((returned - x).norm(dim=-1) <= REVERSAL * self.tolerance)
        log_ratio = energy - new[3] + (xi.square().sum((1, 2)) - (back / step).square().sum((1, 2))) / 2
        return Proposal((*new, bound), log_ratio, ~found, found & ~reversible)

    def _place(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tangent = self.manifold.tangent_basis(points)
        return points, tangent, complement(tangent), self._energy(points, tangent)

    def _project(self, x: Tensor, v: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        return oblique_projection(self._section, x, v, normal, self.tolerance, self.max_iterations)

    def _energy(self, points: Tensor, tangent: Tensor) -> Tensor:
        energy = points.new_zeros(len(points)) if self.energy is None else self.energy(points)
        gate = getattr(self.manifold, "gate", None)
        return energy if gate is None else torch.where(gate(points, lambda _: tangent), energy, torch.inf)
