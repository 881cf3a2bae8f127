"""The weights of a mixture whose components are given: maximum likelihood by expectation-maximisation, smoothed and stopped on held-out points.

    maximise  1/n sum_i log sum_k pi_k p_k(x_i)  over pi in the simplex        (concave)

    r_ik = pi_k p_k(x_i) / p(x_i),    pi <- S^t mean_i r_i

S is row-stochastic, (1 - s) on its diagonal and s spread over neighbouring components: with many narrow components the likelihood alone would put all weight on
a few of them. Rounds and s are those of the best cross-validated likelihood.
Dempster, Laird, Rubin (1977), Maximum likelihood from incomplete data; Silverman, Jones, Wilson, Nychka (1990), A smoothed EM approach to indirect estimation
problems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.distributions.charts import Components, log_sum_by_row

__all__ = ["Fold", "Neighbours", "Schedule", "best_schedule", "mean_log_density", "neighbours_of", "weights_after"]

FLOOR = 1e-6
ROUNDS = 200
PATIENCE = 10
SMOOTHINGS = (0.0, 0.1, 0.3, 0.6)


@dataclass(frozen=True)
class Neighbours:
    """Which components (m,) pass weight to which (m,), in what shares (m,) that sum to 1 for each giver."""

    giver: Tensor
    taker: Tensor
    share: Tensor

    def spread(self, weights: Tensor, amount: float) -> Tensor:
        """(1 - amount) pi + amount S^t pi."""
        if not amount:
            return weights
        passed = torch.zeros_like(weights).index_add_(0, self.taker, self.share * weights[self.giver])
        return (1 - amount) * weights + amount * passed


@dataclass(frozen=True)
class Fold:
    """The components at `learned` points to learn from and at `apart` points held out."""

    train: Components
    held_out: Components
    learned: int
    apart: int


@dataclass(frozen=True)
class Schedule:
    """How long to climb: `rounds` of smoothing `amount`, where the mean held-out log likelihood `held_out` (nats) is best."""

    rounds: int
    amount: float
    held_out: float


def neighbours_of(centre: Tensor, radius: Tensor) -> Neighbours:
    """Components of equal radius whose centres are nearer than it, with shares falling like (1 - (distance / radius)^2)^2; each is its own neighbour too."""
    from topogen.geometry.neighbours import pairs_within

    giver, taker = pairs_within(centre, centre, radius)
    alike = torch.isclose(radius[giver], radius[taker], rtol=1e-6, atol=0.0)
    giver, taker = giver[alike], taker[alike]
    near = (1 - ((centre[giver] - centre[taker]).norm(dim=1) / radius[giver]).square()).clamp_min(0).square()
    return Neighbours(giver, taker, near / torch.zeros_like(radius).index_add_(0, giver, near)[giver])


def best_schedule(folds: Sequence[Fold], neighbours: Neighbours, rounds: int = ROUNDS) -> Schedule:
    """The number of rounds and the smoothing of the best likelihood of held-out points, averaged over the folds."""
    tried = [_climb(folds, neighbours, amount, rounds) for amount in SMOOTHINGS]
    return max(tried, key=lambda found: found.held_out)


def weights_after(schedule: Schedule, held: Components, n: int, neighbours: Neighbours) -> Tensor:
    """Weights (K,) after the schedule's rounds over n points, from equal ones."""
    weights = _equal(neighbours)
    for _ in range(schedule.rounds):
        weights = _round(held, n, neighbours, schedule.amount, weights)
    return weights


def mean_log_density(held: Components, n: int, weights: Tensor) -> float:
    """Mean of log p over n points; -inf when no component holds one of them."""
    return float(log_sum_by_row(held.log_density + weights.log()[held.chart], held.row, n).mean())


def _climb(folds: Sequence[Fold], neighbours: Neighbours, amount: float, rounds: int) -> Schedule:
    weights = [_equal(neighbours) for _ in folds]
    best = Schedule(0, amount, _held_out(folds, weights))
    for step in range(1, rounds + 1):
        weights = [_round(fold.train, fold.learned, neighbours, amount, w) for fold, w in zip(folds, weights, strict=True)]
        value = _held_out(folds, weights)
        if value > best.held_out:
            best = Schedule(step, amount, value)
        elif step - best.rounds >= PATIENCE:
            break
    return best


def _held_out(folds: Sequence[Fold], weights: Sequence[Tensor]) -> float:
    return sum(mean_log_density(fold.held_out, fold.apart, w) for fold, w in zip(folds, weights, strict=True)) / len(folds)


def _round(held: Components, n: int, neighbours: Neighbours, amount: float, weights: Tensor) -> Tensor:
    logs = held.log_density + weights.log()[held.chart]
    share = (logs - log_sum_by_row(logs, held.row, n)[held.row]).exp()
    total = torch.zeros_like(weights).index_add_(0, held.chart, share)
    mixed = neighbours.spread(total / total.sum(), amount).clamp_min(FLOOR / len(weights))
    return mixed / mixed.sum()


def _equal(neighbours: Neighbours) -> Tensor:
    count = int(neighbours.giver.max()) + 1
    return torch.full((count,), 1 / count, dtype=torch.float64)
