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
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen.distributions.charts.chart_mixture import Components
from topogen.geometry.clouds.neighbours import pairs_within

__all__ = ["Fold", "Neighbours", "Schedule", "DensityTable", "best_schedule", "neighbours_of", "weights_after"]

FLOOR = 1e-6
ROUNDS = 200
PATIENCE = 10
SMOOTHINGS = (0.0, 0.1, 0.3, 0.6)


@dataclass(frozen=True)
class Neighbours:
    """Which of `count` components (m,) pass weight to which (m,), in what shares (m,) that sum to 1 for each giver."""

    count: int
    giver: Tensor
    taker: Tensor
    share: Tensor

    def spread(self, weights: Tensor, amount: float) -> Tensor:
        """(1 - amount) pi + amount S^t pi."""
        if not amount:
            return weights
        passed = torch.zeros_like(weights).index_add_(0, self.taker, self.share * weights[self.giver])
        return (1 - amount) * weights + amount * passed


class DensityTable:
    """p_k(x_i) of n points and K components as a sparse matrix, every row divided by its largest entry exp(top_i)."""

    def __init__(self, held: Components, n: int, count: int) -> None:
        from scipy.sparse import csr_array

        top = held.log_density.new_full((n,), -torch.inf).scatter_reduce(0, held.row, held.log_density, "amax")
        self.n, self.top = n, torch.where(torch.isfinite(top), top, 0.0)
        value = (held.log_density - self.top[held.row]).exp()
        self._rows: Any = csr_array((value.numpy(), (held.row.numpy(), held.chart.numpy())), shape=(n, count))
        self._columns: Any = self._rows.T.tocsr()

    def mean_log_density(self, weights: Tensor) -> float:
        """Mean of log p over the points; -inf when no component holds one of them."""
        return float((self._density(weights).log() + self.top).mean())

    def mean_shares(self, weights: Tensor) -> Tensor:
        """Mean (K,) over the points of r_k = pi_k p_k / p; points where p is 0 count for nothing."""
        density = self._density(weights)
        inverse = torch.where(density > 0, 1 / density, 0.0)
        total = weights * torch.from_numpy(self._columns @ inverse.numpy())
        return total / total.sum()

    def _density(self, weights: Tensor) -> Tensor:
        """p(x_i) / exp(top_i) (n,)."""
        return torch.from_numpy(self._rows @ weights.numpy())


class Fold(NamedTuple):
    """Points to learn from and points held out."""

    train: DensityTable
    held_out: DensityTable


@dataclass(frozen=True)
class Schedule:
    """How long to climb: `rounds` of smoothing `amount`, where the mean held-out log likelihood `held_out` (nats) is best."""

    rounds: int
    amount: float
    held_out: float


def neighbours_of(centre: Tensor, radius: Tensor) -> Neighbours:
    """Components of equal radius whose centres are nearer than it, with shares falling like (1 - (distance / radius)^2)^2; each is its own neighbour too."""
    giver, taker = pairs_within(centre, centre, radius)
    alike = torch.isclose(radius[giver], radius[taker], rtol=1e-6, atol=0.0)
    giver, taker = giver[alike], taker[alike]
    near = (1 - ((centre[giver] - centre[taker]).norm(dim=1) / radius[giver]).square()).clamp_min(0).square()
    return Neighbours(len(centre), giver, taker, near / torch.zeros_like(radius).index_add_(0, giver, near)[giver])


def best_schedule(folds: Sequence[Fold], neighbours: Neighbours, rounds: int = ROUNDS) -> Schedule:
    """The number of rounds and the smoothing of the best likelihood of held-out points, averaged over the folds."""
    tried = [_climb(folds, neighbours, amount, rounds) for amount in SMOOTHINGS]
    return max(tried, key=lambda found: found.held_out)


def weights_after(schedule: Schedule, table: DensityTable, neighbours: Neighbours) -> Tensor:
    """Weights (K,) after the schedule's rounds over all points of a table, from equal ones."""
    weights = _equal(neighbours)
    for _ in range(schedule.rounds):
        weights = _round(table, neighbours, schedule.amount, weights)
    return weights


def _climb(folds: Sequence[Fold], neighbours: Neighbours, amount: float, rounds: int) -> Schedule:
    weights = [_equal(neighbours) for _ in folds]
    best = Schedule(0, amount, _held_out(folds, weights))
    for step in range(1, rounds + 1):
        weights = [_round(fold.train, neighbours, amount, w) for fold, w in zip(folds, weights, strict=True)]
        value = _held_out(folds, weights)
        if value > best.held_out:
            best = Schedule(step, amount, value)
        elif step - best.rounds >= PATIENCE:
            break
    return best


def _held_out(folds: Sequence[Fold], weights: Sequence[Tensor]) -> float:
    return sum(fold.held_out.mean_log_density(w) for fold, w in zip(folds, weights, strict=True)) / len(folds)


def _round(table: DensityTable, neighbours: Neighbours, amount: float, weights: Tensor) -> Tensor:
    mixed = neighbours.spread(table.mean_shares(weights), amount).clamp_min(FLOOR / len(weights))
    return mixed / mixed.sum()


def _equal(neighbours: Neighbours) -> Tensor:
    return torch.full((neighbours.count,), 1 / neighbours.count, dtype=torch.float64)
