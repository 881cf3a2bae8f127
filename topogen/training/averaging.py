"""Averages of the weights along a training run, which make better models than the last weights, and the best of them on held-out data.

    a <- r a + (1 - r) w,      r = min(rate, (1 + n) / (10 + n)) at step n

Polyak, Juditsky (1992), Acceleration of stochastic approximation by averaging; Song et al. (2021), Score-based generative modeling through SDEs.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from topogen.training.trainer import TrainingState

__all__ = ["Averaged"]

RATE = 0.999


class Averaged(nn.Module):
    """A callback of the trainer that belongs to the learner, so that checkpoints hold it: the average of `module`'s weights, and the best average so far.

    `judge(module) -> float` is asked at every measurement, lower is better; None keeps the last average. After `patience` measurements that are no better
    than the best the run stops.
    """

    scores: Tensor

    def __init__(self, module: nn.Module, judge: Callable[[nn.Module], float] | None, *, rate: float = RATE, patience: int = 6) -> None:
        super().__init__()
        self.mean, self.best = (copy.deepcopy(module).requires_grad_(False) for _ in range(2))
        # In tuples, which torch does not register: the weights that are averaged are the learner's to save.
        self._source, self._judge = (module,), (judge,)
        self.rate, self.patience = rate, patience
        self.register_buffer("scores", torch.tensor([math.inf, 0.0], dtype=torch.float64))
        self.register_buffer("seen", torch.tensor(0))

    def begin(self, state: TrainingState) -> None:
        """Take the weights that the last step left into the average; before the first one, judge what there is to be better than."""
        with torch.no_grad():
            seen = int(self.get_buffer("seen"))
            if not seen and self._judge[0] is not None:
                self.scores[0] = self._judge[0](self.mean)
            rate = min(self.rate, (1 + seen) / (10 + seen))
            for mean, weight in zip(self.mean.parameters(), self._source[0].parameters(), strict=True):
                mean.lerp_(weight, 1 - rate)
            self.get_buffer("seen").add_(1)

    def measured(self, state: TrainingState) -> None:
        """Judge the average and keep it where it is the best."""
        judge = self._judge[0]
        score = -float(state.step) if judge is None else judge(self.mean)
        state.held_out = score if judge is not None else state.held_out
        best, waited = self.scores.tolist()
        if score < best:
            self.best.load_state_dict(self.mean.state_dict())
        best, waited = (score, 0.0) if score < best else (best, waited + 1)
        self.scores.copy_(torch.tensor([best, waited], dtype=torch.float64))
        state.stop |= waited >= self.patience

    @property
    def score(self) -> float:
        """What the judge said of the best."""
        return float(self.scores[0])
