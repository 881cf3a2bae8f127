"""Learning the score of Brownian motion from data on a manifold (`distributions.diffusion`).

With f = sqrt(u) s, log u drawn evenly, and z = P f, the losses

    1/2 |z - sqrt(u) grad log k_u(x_u, x_0)|^2              denoising, at first, where the heat kernel k is known
    1/2 |z|^2 + sqrt(u) (tr(T^t Df T) + <f, H>)             implicit score matching, then
    1/2 |z - sqrt(u) grad log p_u|^2                        at last, where few modes of M are left to describe p_u (`learning.tail`)

have the expectation of the third up to a constant, and its integral over log u is the evidence bound on the likelihood: its own weighting.
Paths are walked anew several times in a run.
The averaged weights with the best held-out likelihood, by the probability flow, are kept.
De Bortoli et al. (2022), Riemannian score-based generative modelling; Song, Durkan, Murray, Ermon (2021), Maximum likelihood training of score-based models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from topogen.distributions.diffusion import Diffusion
from topogen.distributions.field import FieldNetwork
from topogen.distributions.pieces import Ground
from topogen.distributions.uniform import Uniform
from topogen.learning.averaging import Averaged
from topogen.learning.bank import Bank, walk_bank
from topogen.learning.carrying import Prepared, Sizes, carried_settings, field_for, prepare, without_some
from topogen.learning.tail import Tail
from topogen.learning.trainer import Settings, TrainingReport, TrainingState, train
from topogen.manifolds.base import Manifold
from topogen.manifolds.tabulated import LARGEST_DIMENSION

__all__ = ["FittedDiffusion", "fit_diffusion"]

MIXED = 0.01
FINEST = 1.0
PER_BANK = 2000
CHAINS = 8000
JUDGED, JUDGED_TOLERANCE = 1000, 5e-3


@dataclass(frozen=True)
class FittedDiffusion:
    """The `distribution`; `held_out`: its mean log likelihood (nats) of data that were not learned from; `training`; `notes` in words."""

    distribution: Diffusion
    held_out: float
    training: TrainingReport
    notes: tuple[str, ...]


def fit_diffusion(
    points: Tensor,
    manifold: Manifold,
    *,
    context: Tensor | None = None,
    held_out: Tensor | None = None,
    sizes: Sizes | None = None,
    settings: Settings | None = None,
    uniform: Uniform | None = None,
    ground: Ground | None = None,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> FittedDiffusion:
    """Learn the score of Brownian motion on M from points (n, D) on or near it.

    `context`: integer labels (n,) or vectors (n, c) that the law depends on; `held_out` (m, D): points to judge by, a tenth of the data when None;
    `uniform`, `ground`: where they are made already. `checkpoint` names a file a run resumes from, to the same bits.
    Raises InvalidInputError as `prepare` does, DivergenceError when training fails.
    """
    prepared = prepare(points, manifold, context=context, held_out=held_out, uniform=uniform, ground=ground, generator=generator)
    # Modes tell the law of all the data, not that of a context.
    tail = Tail(prepared.ground, prepared.learn) if manifold.dim <= LARGEST_DIMENSION and context is None else None
    times = _times(prepared, tail)
    learner = _ScoreLearner(prepared, times, sizes or Sizes(), generator, tail)
    rows = torch.arange(learner.rows).unsqueeze(1)
    training = train(
        learner,
        rows,
        settings or carried_settings(),
        generator=generator,
        callbacks=(learner, learner.averaged),
        checkpoint=checkpoint,
        label="diffusion",
        quiet=quiet,
    )
    distribution = Diffusion(prepared.base, cast(FieldNetwork, learner.averaged.best), times)
    notes = (*prepared.notes, f"density: diffusion, {training.steps} steps, held-out log likelihood {-learner.averaged.score:.4f} nats")
    return FittedDiffusion(distribution, -learner.averaged.score, training, notes)


class _ScoreLearner(nn.Module):
    """The loss above on rows of a bank of paths, which is walked anew every `PER_BANK` steps."""

    def __init__(self, prepared: Prepared, times: tuple[float, float], sizes: Sizes, generator: torch.Generator | None, tail: Tail | None) -> None:
        super().__init__()
        self.field = field_for(prepared, sizes, generator, times)
        self.averaged = Averaged(self.field, self._judge)
        self.prepared, self.times, self.tail = prepared, times, tail
        self.seed = int(torch.randint(2**62, (), generator=generator))
        self._number, self._bank = 0, self._walk(0)
        self.rows = len(self._bank.start)

    def begin(self, state: TrainingState) -> None:
        """Walk anew where it is time to."""
        number = state.step // PER_BANK
        if number != self._number:
            self._number, self._bank = number, self._walk(number)

    def measured(self, state: TrainingState) -> None:
        """Nothing to do after a measurement."""

    def loss(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mean loss over rows of the bank, `points` (b, 1) int64 their numbers."""
        rows, bank = points[:, 0], self._bank
        known = bank.known[rows]
        return (self._denoising(rows[known], generator) + self._implicit(rows[~known], generator)) / len(rows)

    def _denoising(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        bank = self._bank
        value = self.field(bank.points[rows], self._shares(rows), without_some(self.prepared.learn_context, bank.start[rows], generator))
        missed = value - (bank.log_times[rows] / 2).exp().unsqueeze(1) * bank.target[rows]
        return 0.5 * (bank.tangent[rows].mT @ missed.unsqueeze(-1)).square().sum()

    def _implicit(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        bank, tangent = self._bank, self._bank.tangent[rows]
        value, slope = self.field.with_slopes(
            bank.points[rows], self._shares(rows), tangent, without_some(self.prepared.learn_context, bank.start[rows], generator)
        )
        along = (tangent.mT @ value.unsqueeze(-1)).squeeze(-1)
        spread = (slope * tangent).sum((-2, -1)) + (value * bank.bend[rows]).sum(-1)
        return (0.5 * along.square().sum(-1) + (bank.log_times[rows] / 2).exp() * spread).sum()

    def _shares(self, rows: Tensor) -> Tensor:
        low, high = (math.log(t) for t in self.times)
        return (self._bank.log_times[rows] - low) / (high - low)

    def _walk(self, number: int) -> Bank:
        generator = torch.Generator().manual_seed(self.seed + number)
        data = self.prepared.learn
        chosen = torch.randperm(len(data), generator=generator)[:CHAINS]
        bank = walk_bank(self.prepared.ground.fast, data[chosen], self.times, self.prepared.reach, tail=self.tail, generator=generator)
        return bank._replace(start=chosen[bank.start])

    def _judge(self, field: nn.Module) -> float:
        """Minus the mean log likelihood of held-out data."""
        some = self.prepared.judge[:JUDGED]
        context = None if self.prepared.judge_context is None else self.prepared.judge_context[:JUDGED]
        density = Diffusion(self.prepared.base, cast(FieldNetwork, field), self.times, tolerance=JUDGED_TOLERANCE)
        return -float(density.log_density(some, context).clamp_min(-50).mean())


def _times(prepared: Prepared, tail: Tail | None) -> tuple[float, float]:
    """From far below the spacing of the data to where the slowest mode has decayed to `MIXED`."""
    pool = prepared.ground.pool
    scale = float((pool - pool.mean(0)).norm(dim=1).max())
    # Without modes: those of a sphere of that radius, lambda = d / r^2.
    slowest = prepared.ground.fast.dim / scale**2 if tail is None else tail.slowest
    return (max(FINEST * prepared.spacing, 1e-3 * scale) ** 2, 2 * math.log(1 / MIXED) / slowest)
