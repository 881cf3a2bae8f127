"""How fields on a manifold are trained, whatever they are to do: what they learn from is made anew several times in a run, and the best average is kept.

A task says what is made, what the loss on some rows of it is, and which density a field stands for; averages of the weights are judged by that density's
held-out likelihood (`averaging`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from topogen.distributions.base import DensityRequest, FittedDensity
from topogen.distributions.fields.continuous_flow import TOLERANCE, ContinuousFlow
from topogen.distributions.fields.prepare import STEPS, PreparedData, field_settings
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.distributions.uniform.uniform import Uniform
from topogen.training.averaging import Averaged
from topogen.training.trainer import Settings, TrainingReport, TrainingState, train

__all__ = ["FittedField", "Task", "fit_field_on_request", "train_field"]

PER_BANK = 2000
JUDGED, JUDGED_TOLERANCE = 1000, 5e-3
LEAST_LIKELY = -50.0

Density = TypeVar("Density", bound=ContinuousFlow, covariant=True)
Material = TypeVar("Material")


class Task(Protocol[Material, Density]):
    """What a field is to learn."""

    def make(self, generator: torch.Generator) -> Material:
        """What is learned from."""
        ...

    def count(self, material: Material) -> int:
        """Number of its rows."""
        ...

    def loss(self, field: FieldNetwork, material: Material, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """Mean loss over rows (b,) int64."""
        ...

    def density(self, field: FieldNetwork, tolerance: float) -> Density:
        """What a field stands for, integrated to a tolerance."""
        ...


@dataclass(frozen=True)
class FittedField(Generic[Density]):
    """The `distribution`; `held_out`: its mean log likelihood (nats) of data that were not learned from; `training`; `notes` in words."""

    distribution: Density
    held_out: float
    training: TrainingReport
    notes: tuple[str, ...]


def train_field(
    task: Task[Material, Density],
    prepared: PreparedData,
    field: FieldNetwork,
    *,
    settings: Settings | None,
    generator: torch.Generator | None,
    checkpoint: Path | None,
    label: str,
    quiet: bool,
) -> tuple[FittedField[Density], Material]:
    """Train a field for a task; also what it was learning from at the end. Raises DivergenceError when training fails."""
    learner = _Learner(task, prepared, field, generator)
    rows = torch.arange(task.count(learner.material)).unsqueeze(1)
    callbacks = (learner, learner.averaged)
    settings = settings or Settings()
    settings = settings.filled(field_settings(settings.steps or STEPS))
    training = train(learner, rows, settings, generator=generator, callbacks=callbacks, checkpoint=checkpoint, label=label, quiet=quiet)
    likelihood = -learner.averaged.score
    notes = (*prepared.notes, f"density: {label}, {training.steps} steps, held-out log likelihood {likelihood:.4f} nats")
    best = task.density(cast(FieldNetwork, learner.averaged.best), TOLERANCE)
    return FittedField(best, likelihood, training, notes), learner.material


def fit_field_on_request(fit: Callable[..., FittedField[Density]], request: DensityRequest) -> FittedDensity:
    """What `fit_diffusion` or `fit_flow` makes of a request."""
    manifold = request.manifold.underlying
    found = fit(
        request.points, manifold, context=request.context, settings=request.settings, generator=request.generator, checkpoint=request.checkpoint,
        uniform=Uniform(manifold, points=request.anchors, generator=request.generator), quiet=request.quiet,
    )  # fmt: skip
    return FittedDensity(found.distribution, found.notes)


class _Learner(nn.Module, Generic[Material, Density]):
    """A task as the trainer knows it, and the callback that makes its material anew every `PER_BANK` steps."""

    def __init__(self, task: Task[Material, Density], prepared: PreparedData, field: FieldNetwork, generator: torch.Generator | None) -> None:
        super().__init__()
        self.field, self.averaged = field, Averaged(field, self._judge)
        self.task, self.prepared = task, prepared
        self.seed = int(torch.randint(2**62, (), generator=generator))
        self._number, self.material = 0, self._made(0)

    def begin(self, state: TrainingState) -> None:
        """New material where it is time for it."""
        number = state.step // PER_BANK
        if number != self._number:
            self._number, self.material = number, self._made(number)

    def measured(self, state: TrainingState) -> None:
        """Nothing to do after a measurement."""

    def loss(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        """The task's, `points` (b, 1) int64 the numbers of its rows."""
        return self.task.loss(self.field, self.material, points[:, 0], generator)

    def _made(self, number: int) -> Material:
        return self.task.make(torch.Generator().manual_seed(self.seed + number))

    def _judge(self, field: nn.Module) -> float:
        """Minus the mean log likelihood of held-out data."""
        context = None if self.prepared.judge_context is None else self.prepared.judge_context[:JUDGED]
        density = self.task.density(cast(FieldNetwork, field), JUDGED_TOLERANCE)
        return -float(density.log_density(self.prepared.judge[:JUDGED], context).clamp_min(LEAST_LIKELY).mean())
