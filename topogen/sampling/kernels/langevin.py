"""Metropolis-adjusted constrained Langevin: one RATTLE step from a fresh momentum, then a Metropolis test.

    p ~ N(0, P(x)),   (x', p') = one RATTLE step h,   accept with exp(H(x, p) - H(x', p'))

which is Euler's scheme for dX = -P grad U dt + sqrt(2) P o dB with dt = h^2 / 2, corrected to be exact for every h.
Lelievre, Rousset, Stoltz (2012), Langevin dynamics with constraints and computation of free energy differences; Girolami, Calderhead (2011).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from topogen.manifolds.base import Manifold
from topogen.sampling.chains import Proposal, State
from topogen.sampling.kernels.rattle import Rattle
from topogen.sampling.target import Energy, Target

__all__ = ["ConstrainedLangevin"]


@final
class ConstrainedLangevin:
    """Kernel with the law of a `Target`; gradients of the energy are needed, walls reject."""

    target_acceptance = 0.6

    def __init__(self, manifold: Manifold, energy: Energy | None = None, *, target: Target | None = None) -> None:
        self.manifold = manifold
        self.target = target if target is not None else Target(manifold, energy)
        self.rattle = Rattle(manifold, self.target)

    def begin(self, points: Tensor) -> State:
        """State (x, U, A, factor, P grad U, bound) at points (n, D) float64 of M."""
        return self.rattle.begin(points)

    def propose(self, state: State, step: float, generator: torch.Generator | None) -> Proposal:
        """One proposal per chain, with time step dt = step^2 / 2."""
        return self.rattle.propose(state, step, 1, generator)
