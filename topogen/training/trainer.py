"""The one training loop of the library.

It knows a learner (an `nn.Module` with `loss(points, generator) -> scalar`), rows to learn from, an optimiser (Adam, Kingma and Ba 2015, unless another
is asked for) under a cosine schedule (Loshchilov and Hutter 2017, SGDR), callbacks, a held-out part and checkpoints, and nothing of what is learned.

A loss or gradient that is not finite takes the run back to the last good snapshot with half the rate; after `rescues` of these it ends in
DivergenceError, so weights are never left NaN. Same seed, threads, versions and machine: same bits, also through a checkpoint.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from topogen.errors import DivergenceError, InvalidInputError
from topogen.training.checkpoints import read_checkpoint, write_checkpoint

__all__ = ["Callback", "EarlyStopping", "Learner", "Settings", "TrainingReport", "TrainingState", "train"]


Optimiser = Callable[[list[nn.Parameter], float], torch.optim.Optimizer]


class Learner(Protocol):
    """What can be trained: a module with a loss on rows (n, p) that draws its randomness from `generator`."""

    def loss(self, points: Tensor, generator: torch.Generator | None) -> Tensor:
        """Scalar to be minimised."""


@dataclass(frozen=True)
class Settings:
    """How to train: `steps` of batches of `batch_size` rows at peak `rate`, `held_out` share kept apart and measured every `measure_every` steps.

    `rescues`: how often a run may fall back to its last snapshot (taken every `measure_every` steps) before it is given up.
    What is None is the learner's own: a rate that suits one network and optimiser is wrong for another. Raises InvalidInputError.

    Example:
        >>> from topogen.training import Settings
        >>> Settings(steps=600).filled(Settings(steps=3000, rate=3e-3)) == Settings(steps=600, rate=3e-3)
        True
    """

    steps: int | None = None
    batch_size: int | None = None
    rate: float | None = None
    held_out: float | None = None
    measure_every: int | None = None
    rescues: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "measure_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidInputError(f"{name}: expected at least 1, found {value}; leave it out for the learner's own")
        if self.rate is not None and not self.rate > 0:
            raise InvalidInputError(f"rate: expected more than 0, found {self.rate}; leave it out for the learner's own")
        if self.held_out is not None and not 0 <= self.held_out < 1:
            raise InvalidInputError(f"held_out: expected 0 <= held_out < 1, found {self.held_out}; leave it out for the learner's own")

    def filled(self, own: Settings) -> Settings:
        """These settings, with those of `own` where there is None."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(own, **given)


GENERAL = Settings(steps=4000, batch_size=512, rate=2e-3, held_out=0.1, measure_every=200, rescues=3)


class _Plan(NamedTuple):
    """Settings without a gap."""

    steps: int
    batch_size: int
    rate: float
    held_out: float
    measure_every: int
    rescues: int


@dataclass
class TrainingState:
    """What callbacks see: `step` done of `steps`, the last batch's `loss`, the last measured `held_out` loss; set `stop` to end the run."""

    steps: int
    step: int = 0
    loss: float = math.nan
    held_out: float = math.nan
    stop: bool = False
    history: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingReport:
    """How a run went: steps done, last batch loss, last held-out loss, times rescued, and (step, loss, held-out loss) at every measurement."""

    steps: int
    loss: float
    held_out: float
    rescued: int
    history: tuple[tuple[int, float, float], ...]


class Callback(Protocol):
    """Called before each step (`begin`) and after each measurement (`measured`)."""

    def begin(self, state: TrainingState) -> None:
        """Before step `state.step`."""

    def measured(self, state: TrainingState) -> None:
        """After the held-out loss was measured."""


class EarlyStopping:
    """Stop when the held-out loss has not fallen below its best by the relative `margin` for `patience` measurements after the share `after` of the steps."""

    def __init__(self, patience: int = 5, margin: float = 1e-3, after: float = 0.6) -> None:
        self.patience, self.margin, self.after = patience, margin, after

    def begin(self, state: TrainingState) -> None:
        """Nothing to do before a step."""

    def measured(self, state: TrainingState) -> None:
        """Compare with the best so far, read off the history, which a resumed run has as well."""
        best, waited = math.inf, 0
        for step, _, held_out in state.history:
            if step >= self.after * state.steps:
                better = held_out < best * (1 - self.margin)
                best, waited = (held_out, 0) if better else (best, waited + 1)
        state.stop |= waited >= self.patience


def train(
    learner: nn.Module,
    points: Tensor,
    settings: Settings | None = None,
    *,
    generator: torch.Generator | None = None,
    callbacks: Sequence[Callback] = (),
    optimiser: Optimiser = torch.optim.Adam,
    checkpoint: Path | None = None,
    label: str = "train",
    quiet: bool = False,
) -> TrainingReport:
    """Train `learner` in place on rows `points` (n, p) and report how it went.

    `settings` that are None are GENERAL's; a learner with others of its own hands over `settings.filled(own)`.
    `optimiser` makes one from parameters and a rate (`Soap` for small smooth networks).
    `checkpoint` names a file that is rewritten atomically at every measurement; where it exists already the run resumes from it, bit for bit on one machine.
    Progress is one bar on stderr, silent when that is not a terminal or `quiet`. Raises DivergenceError, CheckpointError, InvalidInputError.
    """
    plan = _Plan(*astuple((settings or Settings()).filled(GENERAL)))
    loop = _Loop(learner, points, plan, generator, optimiser, checkpoint)
    bar = tqdm(total=loop.state.steps, initial=loop.state.step, desc=label, disable=quiet or not sys.stderr.isatty(), leave=False)
    with bar:
        while loop.state.step < loop.state.steps and not loop.state.stop:
            for callback in callbacks:
                callback.begin(loop.state)
            if loop.advance():
                bar.update()
            if loop.due() and loop.measure():
                for callback in callbacks:
                    callback.measured(loop.state)
                loop.keep()
    return loop.report()


class _Loop:
    """One run: the optimiser, the schedule, the snapshot to fall back to."""

    def __init__(
        self, learner: nn.Module, points: Tensor, settings: _Plan, generator: torch.Generator | None, optimiser: Optimiser, checkpoint: Path | None
    ) -> None:
        if points.ndim != 2 or len(points) < 2:
            raise InvalidInputError(f"points: expected at least 2 rows (n, p), found shape {tuple(points.shape)}")
        self.learner, self.settings, self.checkpoint = learner, settings, checkpoint
        self.generator = generator if generator is not None else torch.default_generator
        self.state = TrainingState(settings.steps)
        self.optimiser = optimiser([p for p in learner.parameters() if p.requires_grad], settings.rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, settings.steps)
        self.rescued = 0
        order = torch.randperm(len(points), generator=self.generator, device=points.device)
        apart = round(settings.held_out * len(points))
        self.kept_apart, self.rows = points[order[:apart]], points[order[apart:]]
        self.measure_seed = int(torch.randint(2**31, (1,), generator=self.generator))
        if checkpoint is not None and checkpoint.exists():
            self._restore(read_checkpoint(checkpoint))
        self.snapshot = self._snapshot()

    def advance(self) -> bool:
        """One step; False where the run fell back to its snapshot instead."""
        batch = self.rows[torch.randint(len(self.rows), (self.settings.batch_size,), generator=self.generator, device=self.rows.device)]
        self.optimiser.zero_grad(set_to_none=True)
        loss: Tensor = self.learner.loss(batch, self.generator)  # type: ignore[operator]
        loss.backward()
        value = float(loss.detach())
        if not (math.isfinite(value) and self._gradients_finite()):
            self._rescue(value)
            return False
        self.optimiser.step()
        self.schedule.step()
        self.state.step += 1
        self.state.loss = value
        return True

    def due(self) -> bool:
        """Whether a measurement is due after this step."""
        return self.state.step == self.state.steps or (self.state.step > 0 and self.state.step % self.settings.measure_every == 0)

    def measure(self) -> bool:
        """Held-out loss with the same draws every time; False where it is not finite and the run fell back."""
        if len(self.kept_apart):
            fixed = torch.Generator(device=self.rows.device).manual_seed(self.measure_seed)
            held_out: Tensor = self.learner.loss(self.kept_apart, fixed)  # type: ignore[operator]
            self.state.held_out = float(held_out.detach())
            if not math.isfinite(self.state.held_out):
                self._rescue(self.state.held_out)
                return False
        self.state.history.append((self.state.step, self.state.loss, self.state.held_out))
        return True

    def keep(self) -> None:
        """Snapshot, and checkpoint where one is wanted: after the callbacks, whose decisions belong to it."""
        self.state.history[-1] = (self.state.step, self.state.loss, self.state.held_out)
        self.snapshot = self._snapshot()
        if self.checkpoint is not None:
            write_checkpoint(self.checkpoint, self.snapshot)

    def report(self) -> TrainingReport:
        """How the run went."""
        return TrainingReport(self.state.step, self.state.loss, self.state.held_out, self.rescued, tuple(self.state.history))

    def _gradients_finite(self) -> bool:
        return all(bool(torch.isfinite(p.grad).all()) for p in self.learner.parameters() if p.grad is not None)

    def _rescue(self, value: float) -> None:
        step, last = self.state.step, self.state.loss
        self._restore(self.snapshot, generator=False)
        if self.rescued == self.settings.rescues:
            raise DivergenceError(
                f"training diverged at step {step}: loss {value}, last finite loss {last:.4g}, rescued {self.rescued} times with half the rate each;"
                " the weights are those of the last good snapshot; try a smaller rate or look at the data for outliers"
            )
        self.rescued += 1
        for group in self.optimiser.param_groups:
            group["lr"] *= 0.5
        self.schedule.base_lrs = [rate * 0.5 for rate in self.schedule.base_lrs]
        self.snapshot = self._snapshot()

    def _snapshot(self) -> dict[str, Any]:
        state = {
            "learner": self.learner.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.state.step,
            "loss": self.state.loss,
            "held_out": self.state.held_out,
            "history": [list(row) for row in self.state.history],
            "rescued": self.rescued,
            "stop": self.state.stop,
        }
        return copy.deepcopy(state)

    def _restore(self, snapshot: dict[str, Any], generator: bool = True) -> None:
        snapshot = copy.deepcopy(snapshot)
        self.learner.load_state_dict(snapshot["learner"])
        self.optimiser.load_state_dict(snapshot["optimiser"])
        self.schedule.load_state_dict(snapshot["schedule"])
        self.state.step, self.state.loss, self.state.held_out = snapshot["step"], snapshot["loss"], snapshot["held_out"]
        self.state.history = [(int(a), float(b), float(c)) for a, b, c in snapshot["history"]]
        if generator:
            self.rescued, self.state.stop = snapshot["rescued"], snapshot["stop"]
            self.generator.set_state(snapshot["generator"])
