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
from topogen.distributions.pieces import Base, Charted, Ground
from topogen.distributions.uniform import Uniform
from topogen.errors import InvalidInputError
from topogen.learning.averaging import Averaged
from topogen.learning.carrying import Prepared, Sizes, carried_settings, field_for, prepare, without_some
from topogen.learning.chart_density import fit_fine_charts
from topogen.learning.routes import Router, Routes, between
from topogen.learning.trainer import Settings, TrainingReport, TrainingState, train
from topogen.manifolds.base import Manifold
from topogen.manifolds.tabulated import LARGEST_DIMENSION

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
    base: str = "uniform",
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
    `base`: "uniform", or "charts", a mixture over small charts fitted to the same data (`learning.chart_density`, d <= 3), from where the way is short and
    of which the flow is a correction; `uniform`, `ground`: where they are made already. `checkpoint` names a file a run resumes from, to the same bits.
    Raises InvalidInputError as `prepare` does, DivergenceError when training fails.
    """
    _check_base(base, manifold, context)
    prepared = prepare(points, manifold, context=context, held_out=held_out, uniform=uniform, ground=ground, generator=generator)
    start: Base = prepared.base if base == "uniform" else _charted(prepared, manifold, generator)
    learner = _FlowLearner(prepared, start, sizes or Sizes(), generator)
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
    return FittedFlow(FlowMatching(start, cast(FieldNetwork, learner.averaged.best)), -learner.averaged.score, training, notes)


class _FlowLearner(nn.Module):
    """The loss above on routes that are made anew every `PER_BANK` steps."""

    def __init__(self, prepared: Prepared, base: Base, sizes: Sizes, generator: torch.Generator | None) -> None:
        super().__init__()
        self.field = field_for(prepared, sizes, generator)
        self.averaged = Averaged(self.field, self._judge)
        self.prepared, self.base = prepared, base
        self.router = Router(base, prepared.learn, prepared.reach, prepared.learn_context)
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
        density = FlowMatching(self.base, cast(FieldNetwork, field), tolerance=JUDGED_TOLERANCE)
        return -float(density.log_density(self.prepared.judge[:JUDGED], context).clamp_min(-50).mean())


def _charted(prepared: Prepared, manifold: Manifold, generator: torch.Generator | None) -> Base:
    return Charted(prepared.ground, fit_fine_charts(prepared.learn, manifold, generator=generator).distribution)


def _check_base(base: str, manifold: Manifold, context: Tensor | None) -> None:
    if base not in ("uniform", "charts"):
        raise InvalidInputError(f"base: expected 'uniform' or 'charts', found {base!r}")
    if base == "charts" and (manifold.dim > LARGEST_DIMENSION or context is not None):
        raise InvalidInputError("base: charts cover dimensions 1 to 3 and know no context; use base='uniform'")
