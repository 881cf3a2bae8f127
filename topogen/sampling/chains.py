"""The engine under every sampler on a manifold: hundreds of Markov chains as one tensor, moved by a kernel.

A kernel proposes, the engine accepts: with probability min(1, exp(log_ratio)) where the proposal was found and is reversible, otherwise the chain
stays and its point counts again (a failed projection is a rejection, never dropped). The step length is tuned in a warm-up only,

    log step_{t+1} = log step_t + gain_t (acceptance_t - target),

and frozen afterwards, because a step that goes on adapting has another law.
Robbins, Monro (1951), A stochastic approximation method; Metropolis et al. (1953).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from topogen.sampling.mixing import effective_sample_size, split_r_hat

__all__ = ["Chains", "Kernel", "Proposal", "State", "first_step", "run", "warm_up"]

State = tuple[Tensor, ...]
"""What a kernel knows of n chains: tensors with n rows, the points (n, D) first."""


@dataclass(frozen=True)
class Proposal:
    """A proposed `state` of n chains, the Metropolis `log_ratio` (n,), and masks (n,): no point was found (`failed`), or no way back (`irreversible`)."""

    state: State
    log_ratio: Tensor
    failed: Tensor
    irreversible: Tensor


class Kernel(Protocol):
    """A Metropolis kernel on a manifold; a new sampler is one class with these two methods and one line in `kernels.KERNELS`."""

    def begin(self, points: Tensor) -> State:
        """State at points (n, D) float64 of M."""
        ...

    def propose(self, state: State, step: float, generator: torch.Generator | None) -> Proposal:
        """One proposal per chain with step length `step`."""
        ...


@dataclass(frozen=True)
class Chains:
    """What n_chains chains did in `n_steps` steps of length `step` (data units).

    `points` (n_steps // thin, n_chains, D): every `thin`-th position. Per chain (n_chains,), as shares of its steps: `acceptance`, `failures`
    (no projection found) and `non_reversible` (the way back missed the start); the rest was turned down by the Metropolis ratio.
    """

    points: Tensor
    acceptance: Tensor
    failures: Tensor
    non_reversible: Tensor
    step: float
    n_steps: int
    thin: int

    @property
    def ess(self) -> Tensor:
        """Effective sample size (D,) of all kept positions, per coordinate."""
        return effective_sample_size(self.points)

    @property
    def r_hat(self) -> Tensor:
        """Split potential scale reduction (D,) per coordinate; well above 1 when chains disagree, as on separate components."""
        return split_r_hat(self.points)


def first_step(points: Tensor, dim: int) -> float:
    """A step length to begin the tuning with: a fifth of the spread of the points (n, D), per tangent direction."""
    spread = float((points - points.mean(0)).norm(dim=1).square().mean().sqrt())
    return 0.2 * (spread or float(points.abs().max()) or 1.0) / math.sqrt(dim)


def run(kernel: Kernel, start: Tensor, n_steps: int, step: float, *, thin: int = 1, generator: torch.Generator | None = None) -> Chains:
    """n_steps steps of fixed length from points start (n_chains, D) float64 on M, every `thin`-th kept."""
    state = kernel.begin(start)
    counts = torch.zeros(3, len(start), dtype=torch.int64, device=start.device)
    kept = []
    for i in range(n_steps):
        state, outcome = _advance(kernel, state, step, generator)
        counts += outcome
        if (i + 1) % thin == 0:
            kept.append(state[0])
    accepted, failed, irreversible = counts.double() / max(n_steps, 1)
    points = torch.stack(kept) if kept else start.new_empty(0, *start.shape)
    return Chains(points, accepted, failed, irreversible, step, n_steps, thin)


def warm_up(kernel: Kernel, start: Tensor, step: float, n_steps: int, *, target: float = 0.6, generator: torch.Generator | None = None) -> tuple[Tensor, float]:
    """Points (n_chains, D) after n_steps steps and the step length whose mean acceptance over the chains is near `target`."""
    state = kernel.begin(start)
    for i in range(n_steps):
        state, outcome = _advance(kernel, state, step, generator)
        gain = 2.0 / (1 + i) ** 0.6
        step *= float(torch.exp(gain * (outcome[0].double().mean() - target)))
    return state[0], step


def _advance(kernel: Kernel, state: State, step: float, generator: torch.Generator | None) -> tuple[State, Tensor]:
    """The next state and what happened, (3, n) bool: accepted, failed, irreversible."""
    proposal = kernel.propose(state, step, generator)
    level = torch.rand(len(state[0]), dtype=torch.float64, generator=generator).to(state[0].device).log()
    accept = ~proposal.failed & ~proposal.irreversible & (level < proposal.log_ratio)
    moved = tuple(torch.where(accept.reshape(-1, *(1,) * (old.ndim - 1)), new, old) for new, old in zip(proposal.state, state, strict=True))
    return moved, torch.stack([accept, proposal.failed, proposal.irreversible])
