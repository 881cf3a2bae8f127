"""RATTLE, the leapfrog scheme of motion on a manifold: symplectic, reversible, with a position that stays on M and a momentum that stays tangent.

With H(x, p) = U(x) + |p|^2 / (2 m), p tangent at x, one step h is

    p <- p - (h/2) P(x) grad U(x)
    x <- the tangent move along (h / m) p,   p <- -(m / h) w          w the way back (`moves`); n times with h/n for n geodesic inner steps
    p <- p - (h/2) P(x) grad U(x)

A step that meets a wall g >= 0 (`target`) is reflected where that is asked for: the chain stays at x with p mirrored in the tangent part of grad g, if
the mirrored motion backwards meets the same wall, which makes the reflection its own inverse; otherwise the trajectory has failed.
Andersen (1983), RATTLE: a velocity version of the SHAKE algorithm; Leimkuhler, Matthews (2016), Efficient molecular dynamics using geodesic integration;
Lelievre, Rousset, Stoltz (2019), Hybrid Monte Carlo methods for sampling probability measures on submanifolds; Neal (2003), Slice sampling (reflection).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from topogen.manifolds.base import Manifold
from topogen.sampling.chains import Proposal, State
from topogen.sampling.kernels.moves import Landing, Mover, NormalFrame
from topogen.sampling.kernels.noise import ambient_noise
from topogen.sampling.target import Target

__all__ = ["Motion", "Rattle"]

DIVERGENCE = 1000.0


@final
@dataclass(frozen=True)
class Motion:
    """Where n chains are: position and all that was computed there (`state`: x, U, A, factor, P grad U, bound), momentum (n, D) and masks (n,)."""

    state: State
    momentum: Tensor
    failed: Tensor
    irreversible: Tensor

    @property
    def stopped(self) -> Tensor:
        """Chains (n,) whose trajectory has ended early."""
        return self.failed | self.irreversible


@final
class Rattle:
    """The integrator for a target: `inner` geodesic steps per step, `mass` m > 0, walls that reflect or are passed through to be judged at the end."""

    def __init__(self, manifold: Manifold, target: Target, *, inner: int = 1, mass: float = 1.0, reflect: bool = False) -> None:
        self.manifold, self.target, self.inner, self.mass = manifold, target, inner, mass
        self.reflect = reflect and target.walls is not None
        self.mover = Mover(manifold)

    def begin(self, points: Tensor) -> State:
        """State (x, U, A, factor, P grad U, bound) at points (n, D) float64 of M."""
        return self._state(points, self.mover.place(points), self.mover.bound(points))

    def propose(self, state: State, step: float, n_steps: int, generator: torch.Generator | None) -> Proposal:
        """A trajectory per chain from a fresh momentum p ~ N(0, m P), with log ratio H(x, p) - H(x', p'); `velocity` is the one it ended with."""
        momentum = self.mass**0.5 * self.mover.tangent(_frame(state), ambient_noise(state[0], generator))
        before = self.energy(state, momentum)
        motion = self.run(state, momentum, step, n_steps)
        change = self.energy(motion.state, motion.momentum) - before
        diverged = ~motion.stopped & (motion.state[1] != torch.inf) & ~(change <= DIVERGENCE)
        return Proposal(motion.state, -change, motion.failed, motion.irreversible, diverged, before, motion.momentum / self.mass)

    def energy(self, state: State, momentum: Tensor) -> Tensor:
        """H (n,)."""
        return state[1] + momentum.square().sum(-1) / (2 * self.mass)

    def run(self, state: State, momentum: Tensor, step: float, n_steps: int) -> Motion:
        """n_steps steps of length `step`; chains that fail stand still from there on."""
        never = torch.zeros(len(momentum), dtype=torch.bool, device=momentum.device)
        motion = Motion(state, momentum, never, never)
        for _ in range(n_steps):
            motion = self._step(motion, step)
        return motion

    def _step(self, motion: Motion, step: float) -> Motion:
        kicked = motion.momentum - step / 2 * motion.state[4]
        moved = self._drift(motion, torch.where(motion.stopped.unsqueeze(-1), 0.0, kicked), step)
        return replace(moved, momentum=moved.momentum - step / 2 * moved.state[4])

    def _drift(self, motion: Motion, p: Tensor, step: float) -> Motion:
        x, bound, frame = motion.state[0], motion.state[5], _frame(motion.state)
        points, there, q, failed, irreversible = self._inner(x, frame, p, bound, step)
        if self.reflect:
            outside = ~failed & ~irreversible & ~motion.stopped & (self.target.heights(points) < 0).any(1)
            points, there, q, unmatched = self._mirror(x, frame, p, bound, step, outside, (points, there, q))
            failed = failed | unmatched
        stay = (failed | irreversible).unsqueeze(-1)
        points, q = torch.where(stay, x, points), torch.where(stay, p, q)
        there = NormalFrame(*(torch.where(stay.unsqueeze(-1), old, new) for old, new in zip(frame, there, strict=True)))
        return Motion(self._state(points, there, bound), q, motion.failed | failed, motion.irreversible | irreversible & ~motion.failed)

    def _inner(self, x: Tensor, frame: NormalFrame, p: Tensor, bound: Tensor, step: float) -> tuple[Tensor, NormalFrame, Tensor, Tensor, Tensor]:
        h = step / self.inner
        failed = irreversible = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for _ in range(self.inner):
            landing: Landing = self.mover.move(x, frame, h / self.mass * p, bound)
            x, frame, p = landing.points, landing.frame, -self.mass / h * landing.back
            failed, irreversible = failed | landing.failed, irreversible | landing.irreversible
        return x, frame, p, failed, irreversible

    def _mirror(
        self, x: Tensor, frame: NormalFrame, p: Tensor, bound: Tensor, step: float, outside: Tensor, ahead: tuple[Tensor, NormalFrame, Tensor]
    ) -> tuple[Tensor, NormalFrame, Tensor, Tensor]:
        """Chains that would go `outside` stay with a mirrored momentum; a mask (n,) of those whose mirrored motion does not meet the same wall."""
        points, there, q = ahead
        if not bool(outside.any()):
            return points, there, q, outside
        wall = self.target.heights(points).argmin(1)
        normal = self.mover.tangent(frame, self._wall_gradient(x, wall))
        along = (p * normal).sum(-1, keepdim=True) / normal.square().sum(-1, keepdim=True)
        mirrored = torch.where(outside.unsqueeze(-1), p - 2 * along * normal, p)
        behind, _, _, failed, irreversible = self._inner(x, frame, -mirrored, bound, step)
        heights = self.target.heights(behind)
        matched = ~failed & ~irreversible & (heights < 0).any(1) & (heights.argmin(1) == wall)
        here = outside.unsqueeze(-1)
        kept = NormalFrame(*(torch.where(here.unsqueeze(-1), old, new) for old, new in zip(frame, there, strict=True)))
        return torch.where(here, x, points), kept, torch.where(here, mirrored, q), outside & ~matched

    def _wall_gradient(self, x: Tensor, wall: Tensor) -> Tensor:
        with torch.enable_grad():
            at = x.detach().requires_grad_(True)
            height = self.target.heights(at).gather(1, wall.unsqueeze(1))
            (gradient,) = torch.autograd.grad(height.sum(), at)
        return gradient

    def _state(self, points: Tensor, frame: NormalFrame, bound: Tensor) -> State:
        potential, gradient = self.target.with_gradient(points)
        return points, potential, *frame, self.mover.tangent(frame, gradient), bound


def _frame(state: State) -> NormalFrame:
    return NormalFrame(state[2], state[3])
