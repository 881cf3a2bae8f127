"""The engine under every sampler on a manifold: hundreds of Markov chains as one tensor, moved by a kernel.

A kernel proposes, the engine accepts: with probability min(1, exp(log_ratio)) where the proposal was found and is reversible, otherwise the chain
stays and its point counts again (a failed projection is a rejection, never dropped). What a kernel has to tune is tuned in a warm-up only and frozen
afterwards, because a step that goes on adapting has another law.
Metropolis, Rosenbluth, Rosenbluth, Teller, Teller (1953), Equation of state calculations by fast computing machines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from topogen.sampling.adaptation import DualAveraging
from topogen.sampling.trace import Trace

__all__ = ["Kernel", "Proposal", "Run", "State", "acceptance_probability", "first_step", "run_chains", "warm_up"]

State = tuple[Tensor, ...]
"""What a kernel knows of n chains: tensors with n rows, the points (n, D) first and the potential U (n,) second."""


@dataclass(frozen=True)
class Proposal:
    """A proposed `state` of n chains, the Metropolis `log_ratio` (n,), and masks (n,): no point was found (`failed`), or no way back (`irreversible`).

    Kernels with momenta add where H ran away (`diverged`), H at the start (`energy` (n,)) and the last `velocity` (n, D).
    """

    state: State
    log_ratio: Tensor
    failed: Tensor
    irreversible: Tensor
    diverged: Tensor | None = None
    energy: Tensor | None = None
    velocity: Tensor | None = None


class Kernel(Protocol):
    """A Metropolis kernel on a manifold; a new sampler is one class with these two methods and one line in `sampler.KERNELS`.

    A kernel may also have `target_acceptance`, what the warm-up tunes the step length for (.6 without), and `adapt(state, proposal, step)`, called in
    the warm-up after every step to tune more than that.
    """

    def begin(self, points: Tensor) -> State:
        """State at points (n, D) float64 of M."""
        ...

    def propose(self, state: State, step: float, generator: torch.Generator | None) -> Proposal:
        """One proposal per chain with step length `step`."""
        ...


@dataclass(frozen=True)
class Run:
    """What `run_chains` did: `points` (kept, n_chains, D), `potentials` (kept, n_chains), H at the start of every kept step (`energies`, None without momenta),
    `counts` (4, n_chains) of accepted, failed, irreversible and diverged steps, `n_steps` made, and whether Ctrl-C ended it."""

    points: Tensor
    potentials: Tensor
    energies: Tensor | None
    counts: Tensor
    n_steps: int
    interrupted: bool

    @property
    def acceptance(self) -> Tensor:
        """Share (n_chains,) of the steps that were accepted."""
        return self._share(0)

    @property
    def failures(self) -> Tensor:
        """Share (n_chains,) of the steps for which no projection was found."""
        return self._share(1)

    @property
    def non_reversible(self) -> Tensor:
        """Share (n_chains,) of the steps whose way back missed the start."""
        return self._share(2)

    @property
    def divergences(self) -> Tensor:
        """Share (n_chains,) of the steps in which H ran away."""
        return self._share(3)

    def _share(self, row: int) -> Tensor:
        return self.counts[row].double() / max(self.n_steps, 1)


def first_step(points: Tensor, dim: int) -> float:
    """A step length to begin the tuning with: a fifth of the spread of the points (n, D), per tangent direction."""
    spread = float((points - points.mean(0)).norm(dim=1).square().mean().sqrt())
    return 0.2 * (spread or float(points.abs().max()) or 1.0) / math.sqrt(dim)


def acceptance_probability(proposal: Proposal) -> Tensor:
    """Probability (n,) that each proposal is accepted; 0 for those that failed."""
    usable = ~(proposal.failed | proposal.irreversible) & ~torch.isnan(proposal.log_ratio)
    return torch.where(usable, proposal.log_ratio.clamp(max=0).exp(), 0.0)


def run_chains(
    kernel: Kernel,
    start: Tensor,
    n_steps: int,
    step: float,
    *,
    thin: int = 1,
    generator: torch.Generator | None = None,
    file: Path | None = None,
    interruptible: bool = False,
) -> Run:
    """n_steps steps of fixed length from points start (n_chains, D) float64 on M, every `thin`-th kept, in memory or memory-mapped in a file.

    `interruptible`: Ctrl-C ends the run and what was sampled is returned; otherwise it passes through.
    """
    state = kernel.begin(start)
    counts = torch.zeros(4, len(start), dtype=torch.int64, device=start.device)
    trace = Trace(n_steps // thin, start, file)
    made, interrupted = 0, False
    try:
        for i in range(n_steps):
            state, proposal, outcome = _advance(kernel, state, step, generator)
            counts += outcome
            made = i + 1
            if made % thin == 0:
                trace.keep(state[0], state[1], proposal.energy)
    except KeyboardInterrupt:
        interrupted = True
        if not interruptible:
            raise
    return Run(*trace.finish(), counts, made, interrupted)


def warm_up(kernel: Kernel, start: Tensor, step: float, n_steps: int, *, fixed: bool = False, generator: torch.Generator | None = None) -> tuple[Tensor, float]:
    """Points (n_chains, D) after n_steps steps and the step length whose mean acceptance over the chains is near what the kernel aims at.

    `fixed` keeps the step length and tunes only what else the kernel adapts.
    """
    state = kernel.begin(start)
    adapt = getattr(kernel, "adapt", None)
    tuned = DualAveraging(step, getattr(kernel, "target_acceptance", 0.6))
    for _ in range(n_steps):
        before, length = state, step if fixed else tuned.current
        state, proposal, _ = _advance(kernel, state, length, generator)
        tuned.update(float(acceptance_probability(proposal).mean()))
        if adapt is not None:
            adapt(before, proposal, length)
    return state[0], step if fixed else tuned.averaged


def _advance(kernel: Kernel, state: State, step: float, generator: torch.Generator | None) -> tuple[State, Proposal, Tensor]:
    """The next state, the proposal and what happened, (4, n) bool: accepted, failed, irreversible, diverged."""
    proposal = kernel.propose(state, step, generator)
    level = torch.rand(len(state[0]), dtype=torch.float64, generator=generator).to(state[0].device).log()
    accept = ~proposal.failed & ~proposal.irreversible & (level < proposal.log_ratio)
    moved = tuple(torch.where(accept.reshape(-1, *(1,) * (old.ndim - 1)), new, old) for new, old in zip(proposal.state, state, strict=True))
    diverged = torch.zeros_like(accept) if proposal.diverged is None else proposal.diverged
    return moved, proposal, torch.stack([accept, proposal.failed, proposal.irreversible, diverged])
