"""Hamiltonian Monte Carlo on a manifold: RATTLE trajectories with a Metropolis test, their length tuned in the warm-up.

    p ~ N(0, m P(x)),   (x', p') = RATTLE(x, p) with L steps h,   accept with exp(H(x, p) - H(x', p'))

L = ceil(u tau / h), u uniform on (0, 2), drawn anew in every transition and shared by the chains, so that no period of the motion is met again and
again. tau climbs the ChEES criterion, the change of the squared distance from the centre, whose gradient for one chain is

    t (|x' - c'|^2 - |x - c|^2) <x' - c', v'>,     v' = p'/m,   c, c' the means over the chains,

weighted by the acceptance probabilities. A trajectory in which a move fails, is not reversible, or where H runs away is a rejection.
Brubaker, Salzmann, Urtasun (2012), A family of MCMC methods on implicitly defined manifolds; Lelievre, Rousset, Stoltz (2019);
Hoffman, Radul, Sountsov (2021), An adaptive-MCMC scheme for setting trajectory lengths in Hamiltonian Monte Carlo.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.base import Manifold
from topogen.sampling.adaptation import Ascent
from topogen.sampling.chains import Proposal, State, acceptance_probability
from topogen.sampling.kernels.rattle import Rattle
from topogen.sampling.target import Energy, Target

__all__ = ["HamiltonianMonteCarlo"]

LONGEST = 100


@final
class HamiltonianMonteCarlo:
    """Kernel with the law of a `Target`; gradients of the energy are needed.

    `length`: trajectory time tau (data units times sqrt(mass)), None has the warm-up tune it; at most 100 steps per trajectory are made.
    `inner`, `mass`, `reflect`: see `rattle.Rattle`.
    """

    target_acceptance = 0.75

    def __init__(
        self,
        manifold: Manifold,
        energy: Energy | None = None,
        *,
        target: Target | None = None,
        length: float | None = None,
        inner: int = 1,
        mass: float = 1.0,
        reflect: bool = False,
    ) -> None:
        if not (mass > 0 and math.isfinite(mass)) or inner < 1 or (length is not None and not length > 0):
            raise InvalidInputError(f"length, inner, mass: expected positive numbers (length may be None, inner is whole), found {length}, {inner}, {mass}")
        self.manifold = manifold
        self.target = target if target is not None else Target(manifold, energy)
        self.rattle = Rattle(manifold, self.target, inner=inner, mass=mass, reflect=reflect)
        self.length, self.tunes_length = length, length is None
        self._ascent, self._n_steps = Ascent(), 1

    def begin(self, points: Tensor) -> State:
        """State (x, U, A, factor, P grad U, bound) at points (n, D) float64 of M."""
        return self.rattle.begin(points)

    def propose(self, state: State, step: float, generator: torch.Generator | None) -> Proposal:
        """One trajectory per chain, with RATTLE steps of length `step`."""
        self._n_steps = self._draw_steps(step, generator)
        return self.rattle.propose(state, step, self._n_steps, generator)

    def adapt(self, state: State, proposal: Proposal, step: float) -> None:
        """One step of the trajectory length up the ChEES criterion; `state` is where the proposal was made."""
        if not self.tunes_length or proposal.velocity is None or self.length is None:
            return
        weight, velocity, time = acceptance_probability(proposal), proposal.velocity, self._n_steps * step
        start, end = state[0] - state[0].mean(0), proposal.state[0] - proposal.state[0].mean(0)
        gain = (end.square().sum(-1) - start.square().sum(-1)) * (end * velocity).sum(-1) * time
        total = float(weight.sum())
        slope = float((weight * gain.nan_to_num()).sum()) / total if total > 0 else 0.0
        self.length *= math.exp(self._ascent.step(slope))

    def _draw_steps(self, step: float, generator: torch.Generator | None) -> int:
        if self.length is None:
            self.length = 4 * step
        self.length = min(max(self.length, step / 2), LONGEST * step / 2) if self.tunes_length else self.length
        u = 2 * float(torch.rand((), dtype=torch.float64, generator=generator))
        return min(max(math.ceil(u * self.length / step), 1), LONGEST)
