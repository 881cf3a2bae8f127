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
from pathlib import Path

import torch
from torch import Tensor

from topogen.distributions.diffusion import Diffusion
from topogen.distributions.field import FieldNetwork
from topogen.distributions.pieces import Ground
from topogen.distributions.uniform import Uniform
from topogen.learning.bank import Bank, walk_bank
from topogen.learning.carrying import Prepared, Sizes, field_for, prepare, without_some
from topogen.learning.field_training import FittedField, train_field
from topogen.learning.tail import Tail
from topogen.learning.trainer import Settings
from topogen.manifolds.base import Manifold
from topogen.manifolds.tabulated import LARGEST_DIMENSION

__all__ = ["fit_diffusion"]

MIXED = 0.01
FINEST = 1.0
CHAINS = 8000


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
) -> FittedField[Diffusion]:
    """Learn the score of Brownian motion on M from points (n, D) on or near it.

    `context`: integer labels (n,) or vectors (n, c) that the law depends on; `held_out` (m, D): points to judge by, a tenth of the data when None;
    `uniform`, `ground`: where they are made already. `checkpoint` names a file a run resumes from, to the same bits.
    Raises InvalidInputError as `prepare` does, DivergenceError when training fails.
    """
    prepared = prepare(points, manifold, context=context, held_out=held_out, uniform=uniform, ground=ground, generator=generator)
    # Modes tell the law of all the data, not that of a context.
    tail = Tail(prepared.ground, prepared.learn) if manifold.dim <= LARGEST_DIMENSION and context is None else None
    times = _times(prepared, tail)
    field = field_for(prepared, sizes or Sizes(), generator, times)
    task = _Scores(prepared, times, tail)
    return train_field(task, prepared, field, settings=settings, generator=generator, checkpoint=checkpoint, label="diffusion", quiet=quiet)[0]


class _Scores:
    """The task above, on rows of a bank of paths."""

    def __init__(self, prepared: Prepared, times: tuple[float, float], tail: Tail | None) -> None:
        self.prepared, self.times, self.tail = prepared, times, tail

    def make(self, generator: torch.Generator) -> Bank:
        data = self.prepared.learn
        chosen = torch.randperm(len(data), generator=generator)[:CHAINS]
        bank = walk_bank(self.prepared.ground.fast, data[chosen], self.times, self.prepared.reach, tail=self.tail, generator=generator)
        return bank._replace(start=chosen[bank.start])

    def count(self, material: Bank) -> int:
        return len(material.start)

    def loss(self, field: FieldNetwork, material: Bank, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        known = material.known[rows]
        parts = [Bank(*(column[chosen] for column in material)) for chosen in (rows[known], rows[~known])]
        return (self._denoising(field, parts[0], generator) + self._implicit(field, parts[1], generator)) / len(rows)

    def density(self, field: FieldNetwork, tolerance: float) -> Diffusion:
        return Diffusion(self.prepared.base, field, self.times, tolerance=tolerance)

    def _denoising(self, field: FieldNetwork, some: Bank, generator: torch.Generator | None) -> Tensor:
        value = field(some.points, self._shares(some), without_some(self.prepared.learn_context, some.start, generator))
        missed = value - (some.log_times / 2).exp().unsqueeze(1) * some.target
        return 0.5 * (some.tangent.mT @ missed.unsqueeze(-1)).square().sum()

    def _implicit(self, field: FieldNetwork, some: Bank, generator: torch.Generator | None) -> Tensor:
        context = without_some(self.prepared.learn_context, some.start, generator)
        value, slope = field.with_slopes(some.points, self._shares(some), some.tangent, context)
        along = (some.tangent.mT @ value.unsqueeze(-1)).squeeze(-1)
        spread = (slope * some.tangent).sum((-2, -1)) + (value * some.bend).sum(-1)
        return (0.5 * along.square().sum(-1) + (some.log_times / 2).exp() * spread).sum()

    def _shares(self, some: Bank) -> Tensor:
        low, high = (math.log(t) for t in self.times)
        return (some.log_times - low) / (high - low)


def _times(prepared: Prepared, tail: Tail | None) -> tuple[float, float]:
    """From far below the spacing of the data to where the slowest mode has decayed to `MIXED`."""
    pool = prepared.ground.pool
    scale = float((pool - pool.mean(0)).norm(dim=1).max())
    # Without modes: those of a sphere of that radius, lambda = d / r^2.
    slowest = prepared.ground.fast.dim / scale**2 if tail is None else tail.slowest
    return (max(FINEST * prepared.spacing, 1e-3 * scale) ** 2, 2 * math.log(1 / MIXED) / slowest)
