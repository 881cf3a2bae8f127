"""Flow matching on a manifold: learning the field that carries uniform points to the data along curves in M (`distributions.flow_matching`).

    E |f(x_t, t) - dx_t/dt|^2      over t uniform in [0, 1] and curves x_t in M from the base to the data (`learning.routes`)

is least for the field whose flow carries the law of x_0 to that of x_1. Pairs and curves are made anew several times in a run; the averaged weights with the
best held-out likelihood are kept.
Lipman et al. (2023), Flow matching for generative modeling; Chen, Lipman (2024), Flow matching on general geometries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from topogen.distributions.field import FieldNetwork
from topogen.distributions.flow_matching import FlowMatching
from topogen.distributions.pieces import Ground
from topogen.distributions.uniform import Uniform
from topogen.learning.averaging import Averaged
from topogen.learning.carrying import Prepared, Sizes, carried_settings, field_for, prepare, without_some
from topogen.learning.routes import Router, Routes, between
from topogen.learning.trainer import Settings, TrainingReport, TrainingState, train
from topogen.manifolds.base import Manifold

__all__ = ["FittedFlow", "fit_flow"]

PER_BANK = 2000
ROUTES = 36_000
JUDGED, JUDGED_TOLERANCE = 1000, 5e-3


@dataclass(frozen=True)
class FittedFlow:
    """The `distribution`; `held_out`: its mean log likelihood (nats) of data that were not learned from; `training`; `notes` in words."""

    distribution: FlowMatching
    held_out: float
    training: TrainingReport
    notes: tuple[str, ...]


def fit_flow(
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
) -> FittedFlow:
    """Learn the field that carries the equilibrium on M to the law of points (n, D) on or near M.

    `context`: integer labels (n,) or vectors (n, c) that the law depends on; `held_out` (m, D): points to judge by, a tenth of the data when None;
    `uniform`, `ground`: where they are made already. `checkpoint` names a file a run resumes from, to the same bits.
    Raises InvalidInputError as `prepare` does, DivergenceError when training fails.
    """
    prepared = prepare(points, manifold, context=context, held_out=held_out, uniform=uniform, ground=ground, generator=generator)
    learner = _FlowLearner(prepared, sizes or Sizes(), generator)
    rows = torch.arange(learner.rows).unsqueeze(1)
    training = train(
        learner,
        rows,
        settings or carried_settings(),
        generator=generator,
        callbacks=(learner, learner.averaged),
        checkpoint=checkpoint,
        label="flow",
        quiet=quiet,
    )
    made = learner.made
    notes = (
        *prepared.notes,
        f"density: flow matching, {training.steps} steps, held-out log likelihood {-learner.averaged.score:.4f} nats;"
        f" {made.illegal:.1%} of the chords left the tube and were replaced by paths in M, {made.lost:.1%} of the pairs have none",
    )
    return FittedFlow(FlowMatching(prepared.base, cast(FieldNetwork, learner.averaged.best)), -learner.averaged.score, training, notes)


class _FlowLearner(nn.Module):
    """The loss above on routes that are made anew every `PER_BANK` steps."""

    def __init__(self, prepared: Prepared, sizes: Sizes, generator: torch.Generator | None) -> None:
        super().__init__()
        self.field = field_for(prepared, sizes, generator)
        self.averaged = Averaged(self.field, self._judge)
        self.prepared = prepared
        self.router = Router(prepared.base, prepared.learn, prepared.reach)
        self.rows = min(ROUTES, len(prepared.learn) * max(1, ROUTES // len(prepared.learn)))
        self.seed = int(torch.randint(2**62, (), generator=generator))
        self._number, self.made = 0, self._make(0)

    def begin(self, state: TrainingState) -> None:
        """New routes where it is time for them."""
        number = state.step // PER_BANK
        if number != self._number:
            self._number, self.made = number, self._make(number)

    def measured(self, state: TrainingState) -> None:
        """Nothing to do after a measurement."""

    def loss(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mean loss over routes, `points` (b, 1) int64 their numbers, at stratified times."""
        rows = points[:, 0] % len(self.made.ends)
        t = (torch.arange(len(rows)) + torch.rand(len(rows), generator=generator)) / len(rows)
        x, velocity = between(self.made.nodes[rows], t)
        context = without_some(self.prepared.learn_context, self.made.ends[rows], generator)
        missed = self.field(x, t, context) - velocity
        return missed.square().sum(-1).mean() / self.prepared.ground.fast.dim

    def _make(self, number: int) -> Routes:
        generator = torch.Generator().manual_seed(self.seed + number)
        n = len(self.prepared.learn)
        orders = [torch.randperm(n, generator=generator) for _ in range(-(-self.rows // n))]
        made = self.router.routes(torch.cat(orders)[: self.rows], generator)
        return made._replace(nodes=made.nodes.float())

    def _judge(self, field: nn.Module) -> float:
        """Minus the mean log likelihood of held-out data."""
        context = None if self.prepared.judge_context is None else self.prepared.judge_context[:JUDGED]
        density = FlowMatching(self.prepared.base, cast(FieldNetwork, field), tolerance=JUDGED_TOLERANCE)
        return -float(density.log_density(self.prepared.judge[:JUDGED], context).clamp_min(-50).mean())
