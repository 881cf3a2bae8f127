"""A jump (`jumps.PlaneJump`) at every k-th step and another kernel's move in between: both leave the same law invariant, so their sequence does."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from topogen.sampling.chains import Kernel, Proposal, State

__all__ = ["Alternating"]


@final
class Alternating:
    """`kernel`, with `jump` instead at every `every`-th proposal; jumps do not count in what the warm-up tunes."""

    def __init__(self, kernel: Kernel, jump: Kernel, every: int) -> None:
        self.kernel, self.jump, self.every = kernel, jump, every
        self.target_acceptance = getattr(kernel, "target_acceptance", 0.6)
        self._count = 0

    def begin(self, points: Tensor) -> State:
        """The state of `kernel`."""
        self._count = 0
        return self.kernel.begin(points)

    def propose(self, state: State, step: float, generator: torch.Generator | None) -> Proposal:
        """A jump at every `every`-th call, `kernel`'s proposal otherwise."""
        self._count += 1
        if self._count % self.every:
            return self.kernel.propose(state, step, generator)
        jumped = self.jump.propose((state[0],), step, generator)
        return Proposal(self.kernel.begin(jumped.state[0]), jumped.log_ratio, jumped.failed, jumped.irreversible)

    def adapt(self, state: State, proposal: Proposal, step: float) -> None:
        """Handed on after `kernel`'s own proposals."""
        adapt = getattr(self.kernel, "adapt", None)
        if adapt is not None and self._count % self.every:
            adapt(state, proposal, step)
