"""Learning the score of Brownian motion from data on a manifold (`distributions.diffusion.diffusion`).

With f = sqrt(u) s, log u drawn evenly, and z = P f, the loss

    1/2 |z - sqrt(u) grad log k_h(x_u, x_{u-h})|^2

with the heat kernel k of the last step of a path, short enough for it to be known (`distributions.diffusion.forward_paths`), has the expectation of
1/2 |z - sqrt(u) grad log p_u|^2 up to a constant, and its integral over log u is the evidence bound on the likelihood: its own weighting.
Late times, when few modes of M are left to describe p_u, need no learning: the law of the data is known there (`distributions.diffusion.fit_heat_kernel`), and
the way back begins from it. Errors of a score at such times would weigh most, since all that comes later spreads them. Paths are walked anew several times in a
run. The averaged weights with the best held-out likelihood, by the probability flow, are kept. De Bortoli et al. (2022), Riemannian score-based generative
modelling; Song, Durkan, Murray, Ermon (2021), Maximum likelihood training of score-based models.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from topogen.distributions.diffusion.diffusion import Diffusion
from topogen.distributions.diffusion.fit_heat_kernel import heat_kernel_of_data
from topogen.distributions.diffusion.forward_paths import ForwardPaths, forward_paths
from topogen.distributions.fields.components import Base, SampledManifold
from topogen.distributions.fields.prepare import WITHOUT_CONTEXT, PreparedData, Sizes, field_for, prepare
from topogen.distributions.fields.training import FittedField, train_field
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import InvalidInputError
from topogen.geometry.frames import apply
from topogen.manifolds.base import Manifold
from topogen.training.trainer import Settings

__all__ = ["fit_diffusion"]

MIXED = 0.01
SPAN = 16.0
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
    ground: SampledManifold | None = None,
    horizon: float = 0.0,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> FittedField[Diffusion]:
    """Learn the score of Brownian motion on M from points (n, D) on or near it.

    `context`: integer labels (n,) or vectors (n, c) that the law depends on; `held_out` (m, D): points to judge by, a tenth of the data when None;
    `uniform`, `ground`: where they are made already. `horizon` (squared data units): the base is the law of the data at this time or later; where walks are
    to be led far, the data have to be mixed well. `checkpoint` names a file a run resumes from, to the same bits.
    Raises InvalidInputError as `prepare` does and for a negative horizon, DivergenceError when training fails.
    """
    if not 0 <= horizon < math.inf:
        raise InvalidInputError(f"horizon: expected a variance >= 0, found {horizon}")
    prepared = prepare(points, manifold, context=context, held_out=held_out, uniform=uniform, ground=ground, generator=generator)
    base, times = _beginning(prepared, horizon)
    field = field_for(prepared, sizes, generator, times)
    task = _Scores(prepared, base, times)
    return train_field(task, prepared, field, settings=settings, generator=generator, checkpoint=checkpoint, label="diffusion", quiet=quiet)[0]


class _Scores:
    """The task above, on rows of forward paths."""

    def __init__(self, prepared: PreparedData, base: Base, times: tuple[float, float]) -> None:
        self.prepared, self.base, self.times = prepared, base, times

    def make(self, generator: torch.Generator) -> ForwardPaths:
        data = self.prepared.learn
        chosen = torch.randperm(len(data), generator=generator)[:CHAINS]
        alone = 0.0 if self.prepared.learn_context is None else WITHOUT_CONTEXT
        paths = forward_paths(self.prepared.ground.fast, data[chosen], self.times, self.prepared.reach, alone=alone, generator=generator)
        return paths._replace(start=chosen[paths.start])

    def count(self, material: ForwardPaths) -> int:
        return len(material.start)

    def loss(self, field: FieldNetwork, material: ForwardPaths, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        # A pair is two points of the batch.
        some = ForwardPaths(*(column[rows[::2]] for column in material))
        low, high = (math.log(t) for t in self.times)
        share, gain = (some.log_times - low) / (high - low), (some.log_times / 2).exp()
        value = field(some.points.flatten(0, 1), share.repeat_interleave(2), self._context(some))
        missed = value.unflatten(0, (-1, 2)) - gain[:, None, None] * some.target
        return 0.25 * apply(some.tangent.mT, missed).square().sum() / len(some.start)

    def density(self, field: FieldNetwork, tolerance: float) -> Diffusion:
        return Diffusion(self.base, field, self.times, tolerance=tolerance)

    def _context(self, some: ForwardPaths) -> Tensor | None:
        context = self.prepared.learn_context
        if context is None:
            return None
        return torch.where(some.alone.unsqueeze(1), torch.nan, context[some.start]).repeat_interleave(2, 0)


def _beginning(prepared: PreparedData, horizon: float) -> tuple[Base, tuple[float, float]]:
    """What the way back begins from, and the times of the diffusion: from far below the spacing of the data to when their law is known.

    The modes of M tell it, above the dimension of tables and for contexts of many values the uniform law when the slowest mode has decayed to `MIXED`.
    """
    pool = prepared.ground.pool
    scale = float((pool - pool.mean(0)).norm(dim=1).max())
    first = max(FINEST * prepared.spacing, 1e-3 * scale) ** 2
    known = heat_kernel_of_data(prepared, max(horizon, SPAN * first))
    if known is not None:
        return known[0], (first, known[1])
    # The slowest mode of a sphere of that radius, lambda = d / r^2.
    return prepared.base, (first, 2 * math.log(1 / MIXED) * scale**2 / prepared.ground.fast.dim)
