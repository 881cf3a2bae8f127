"""The tangent random walk: a Metropolis kernel on a manifold.

    v = step P(x) xi,  xi ~ N(0, I_D)              the noise is tangent, otherwise the target is the co-area measure
    y, w from the tangent move along v             `moves`; nothing found, or no way back, is a rejection
    accept with  exp(U(x) - U(y) - (|w|^2 - |v|^2) / (2 step^2))

Without the reversal check the walk converges to another law (torus with R = 1, r = .5, step .5: E cos phi = .29 instead of .25).
Zappa, Holmes-Cerfon, Goodman (2018), Monte Carlo on manifolds: sampling densities and integrating functions.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from topogen.manifolds.base import Manifold
from topogen.sampling.chains import Proposal, State
from topogen.sampling.kernels.moves import Mover, NormalFrame
from topogen.sampling.kernels.noise import ambient_noise
from topogen.sampling.target import Energy, Target

__all__ = ["TangentRandomWalk"]


@final
class TangentRandomWalk:
    """Kernel with the law of a `Target` on M; from a manifold and an energy, the law proportional to exp(-energy) against the volume measure."""

    target_acceptance = 0.6

    def __init__(self, manifold: Manifold, energy: Energy | None = None, *, target: Target | None = None, max_iterations: int = 10) -> None:
        self.manifold = manifold
        self.target = target if target is not None else Target(manifold, energy)
        self.mover = Mover(manifold, max_iterations)

    def begin(self, points: Tensor) -> State:
        """State (x, U, A, factor, bound) at points (n, D) float64 of M."""
        return (points, self.target.potential(points), *self.mover.place(points), self.mover.bound(points))

    def propose(self, state: State, step: float, generator: torch.Generator | None) -> Proposal:
        """One proposal per chain, with step length `step` per tangent direction (data units)."""
        x, potential, rows, factor, bound = state
        frame = NormalFrame(rows, factor)
        v = step * self.mover.tangent(frame, ambient_noise(x, generator))
        landing = self.mover.move(x, frame, v, bound)
        new = self.target.potential(landing.points)
        log_ratio = potential - new + (v.square().sum(-1) - landing.back.square().sum(-1)) / (2 * step**2)
        return Proposal((landing.points, new, *landing.frame, bound), log_ratio, landing.failed, landing.irreversible)
