"""What chains did: positions, shares of what happened, and how far to trust them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from topogen.manifolds.base import Manifold
from topogen.sampling.chains import Run
from topogen.sampling.diagnostics import bulk_ess, energy_bfmi, rank_r_hat, tail_ess
from topogen.sampling.visits import Visits, visits

__all__ = ["Chains"]


@final
@dataclass(frozen=True)
class Chains:
    """What n_chains chains did in `n_steps` steps of length `step` (data units).

    `points` (n_steps // thin, n_chains, D): every `thin`-th position; `potentials` (n_steps // thin, n_chains): U there; `energies`: H at the start of
    those steps for kernels with momenta. Per chain (n_chains,), as shares of its steps: `acceptance`, `failures` (no projection found), `non_reversible`
    (the way back missed the start), `divergences` (H ran away); the rest was turned down by the Metropolis ratio. `interrupted`: Ctrl-C ended the run
    early. `notes`: what has to be known about it.
    """

    points: Tensor
    potentials: Tensor
    energies: Tensor | None
    acceptance: Tensor
    failures: Tensor
    non_reversible: Tensor
    divergences: Tensor
    step: float
    n_steps: int
    thin: int
    interrupted: bool
    notes: tuple[str, ...]
    manifold: Manifold | None = None

    @classmethod
    def of(cls, done: Run, step: float, thin: int, dtype: torch.dtype, notes: tuple[str, ...] = (), manifold: Manifold | None = None) -> Chains:
        """From what the engine returns; positions in `dtype`."""
        shares = (done.acceptance, done.failures, done.non_reversible, done.divergences)
        said = (*notes, f"interrupted after {done.n_steps} steps") if done.interrupted else notes
        return cls(done.points.to(dtype), done.potentials, done.energies, *shares, step, done.n_steps, thin, done.interrupted, said, manifold)

    @property
    def ess(self) -> Tensor:
        """Bulk effective sample size (D,) of all kept positions, per coordinate."""
        return bulk_ess(self.points)

    @property
    def tail_ess(self) -> Tensor:
        """Tail effective sample size (D,), of the 5 % and 95 % quantiles, per coordinate."""
        return tail_ess(self.points)

    @property
    def r_hat(self) -> Tensor:
        """Rank-normalised split R-hat (D,) per coordinate; above 1.01 chains disagree, as on separate components."""
        return rank_r_hat(self.points)

    def visits(self, labelling: Callable[[Tensor], Tensor] | None = None, *, reference: Tensor | None = None) -> Visits:
        """Which components of M were visited and how often; `labelling` tells them apart (found where None), `reference` (m, D) are points of known ones."""
        return visits(self.points, labelling, manifold=self.manifold, reference=reference)

    @property
    def energy_bfmi(self) -> Tensor | None:
        """Estimated Bayesian fraction of missing information (n_chains,) of the energies; below .3 momenta explore them badly. None without momenta."""
        return None if self.energies is None else energy_bfmi(self.energies)
