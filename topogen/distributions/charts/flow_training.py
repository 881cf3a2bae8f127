"""Training the flows inside the charts of a mixture, all charts at once, by minibatch maximum likelihood.

    minimise  -1/n sum_i log sum_k pi_k q_k(e_k(x_i) / rho_k) |det A_k(x_i)| rho_k^-d  +  lambda |theta - theta_0|^2       over pi and theta

Which charts hold a point, its coordinates there and |det A| do not depend on pi or theta: they are computed once. The likelihood of the mixture is that of the
sum, so responsibilities need no step of their own. Mass that a chart would put off M is not in the sum and can only lower it. A first training, on points that
cover M, brings the mixture to the uniform density by the variance of log p, which no sampling noise disturbs; lambda then holds theta back from leaving the
weights theta_0 found there: what the data do not say stays even.
Durkan, Bekasov, Murray, Papamakarios (2019), Neural spline flows.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from topogen.distributions.charts.ball_flow import BallFlow
from topogen.distributions.charts.chart_mixture import log_sum_by_row
from topogen.training.soap import Soap
from topogen.training.trainer import Callback, EarlyStopping, Settings, TrainingReport, TrainingState, train

__all__ = ["DEFAULTS", "WARM_UP", "Pairs", "train_flow", "weights_for"]

WARM_UP = Settings(steps=800, batch_size=512, rate=3e-3, held_out=0.0, measure_every=100)
DEFAULTS = Settings(steps=1500, batch_size=512, rate=1e-3, held_out=0.1, measure_every=25)
DECAY = 1e-3
ROUNDS = 20


class Pairs(NamedTuple):
    """All pairs of n points and the charts that hold them, by rising `row` (m,): `chart` (m,), `w` = z / rho (m, d), `rest` (m,) = log |det A| - d log rho."""

    row: Tensor
    chart: Tensor
    w: Tensor
    rest: Tensor


def train_flow(
    pairs: Pairs,
    n: int,
    weights: Tensor,
    flow: BallFlow,
    *,
    settings: Settings | None = None,
    decay: float = DECAY,
    even: bool = False,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> tuple[Tensor, TrainingReport]:
    """Train `flow` in place from its own theta_0 and weights pi (K,), and return pi of the best held-out loss and the trainer's report.

    The flow ends in float64, frozen.

    A share `settings.held_out` of the n points is held out for stopping; with none all steps are taken, and pi and theta are the last. With `even` the points
    only tell where M is, and log p is made as constant there as it can be. Raises DivergenceError when training fails.
    """
    flow.float().requires_grad_(True)
    learner = _Learner(pairs, n, weights, flow, decay, even)
    best = _KeepBest(learner)
    settings = (settings or Settings()).filled(DEFAULTS)
    stops: list[Callback] = [best, EarlyStopping(patience=8, margin=1e-4, after=0.2)] if settings.held_out else []
    report = train(
        learner, torch.arange(n).unsqueeze(1), settings, generator=generator, callbacks=stops, optimiser=Soap, checkpoint=checkpoint, label="charts",
        quiet=quiet,
    )  # fmt: skip
    if stops:
        best.restore()
    flow.double().requires_grad_(False)
    return torch.softmax(learner.logits.detach().double(), 0), report


@torch.no_grad()
def weights_for(pairs: Pairs, n: int, weights: Tensor, flow: BallFlow, rounds: int = ROUNDS) -> Tensor:
    """pi (K,) after some rounds of expectation-maximisation from `weights`, the flow as it is: pi_k <- 1/n sum_i pi_k q_k(x_i) / p(x_i)."""
    density = flow.log_density(pairs.chart, pairs.w) + pairs.rest
    for _ in range(rounds):
        logs = density + weights.clamp_min(1e-300).log()[pairs.chart]
        share = (logs - log_sum_by_row(logs, pairs.row, n)[pairs.row]).exp()
        weights = torch.zeros_like(weights).index_add(0, pairs.chart, share) / n
    return weights / weights.sum()


class _Learner(nn.Module):
    """The objective above; a row is the number of a point."""

    def __init__(self, pairs: Pairs, n: int, weights: Tensor, flow: BallFlow, decay: float, even: bool) -> None:
        super().__init__()
        self.flow, self.decay, self.even = flow, decay, even
        self.logits = nn.Parameter(weights.clamp_min(1e-12).log().float())
        self.pairs = Pairs(pairs.row, pairs.chart, pairs.w.float(), pairs.rest.float())
        self.slots = _slots(pairs.row, n)
        self.start = [p.detach().clone() for p in flow.networks.parameters()]

    def loss(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        """Scalar over rows (b, 1) of numbers of points."""
        slots = self.slots[points[:, 0]]
        row, column = (slots >= 0).nonzero(as_tuple=True)
        at = slots[row, column]
        chart = self.pairs.chart[at]
        logs = self.flow.log_density(chart, self.pairs.w[at]) + self.pairs.rest[at] + torch.log_softmax(self.logits, 0)[chart]
        penalty = sum(((p - q).square().sum() for p, q in zip(self.flow.networks.parameters(), self.start, strict=True)), logs.new_zeros(()))
        density = log_sum_by_row(logs, row, len(points))
        return (density.var() if self.even else -density.mean()) + self.decay * penalty


class _KeepBest:
    """Remembers flow and weights at the lowest held-out loss."""

    def __init__(self, learner: _Learner) -> None:
        self.learner, self.best = learner, math.inf
        self.state: dict[str, Any] = copy.deepcopy(learner.state_dict())

    def begin(self, state: TrainingState) -> None:
        """Nothing to do before a step."""

    def measured(self, state: TrainingState) -> None:
        """Keep what is best so far."""
        if state.held_out < self.best:
            self.best, self.state = state.held_out, copy.deepcopy(self.learner.state_dict())

    def restore(self) -> None:
        """Back to the best."""
        self.learner.load_state_dict(self.state)


def _slots(row: Tensor, n: int) -> Tensor:
    """Numbers (n, most) of the pairs of each point, filled up with -1; rows ascend."""
    count = torch.bincount(row, minlength=n)
    first = count.cumsum(0) - count
    slots = torch.full((n, int(count.max())), -1)
    place = torch.arange(len(row)) - first[row]
    slots[row, place] = torch.arange(len(row))
    return slots
