"""A guard for training loops: the Betti numbers of samples every n steps, and a stop when they have gone wrong.

Every `every` steps a few thousand samples are drawn from what is being trained, and their homology (`topology.inference.homology`, under its own rules,
undecided degrees included) becomes one reading. A reading is wrong when

    some decided Betti number differs from the expected one, over some field,

or when the samples are no cloud at all (not finite, collapsed onto fewer than twelve points). An undecided degree is never wrong. After
`patience` wrong readings in a row the run is stopped, or TopologyError raised. Samples are drawn with the same seed every time and nothing else
is: training with a monitor is bit for bit training without one, up to where it stops.
Horak, Yu, Salimi-Khorshidi (2021), Topology distance: a topology-based approach for evaluating generative adversarial networks, judge models by such diagrams.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from topogen.errors import BudgetExceeded, InvalidInputError, TopologyError
from topogen.topology.inference.expectations import Expectation, parse_expectation
from topogen.topology.inference.homology import homology
from topogen.topology.persistence.budget import Budget

__all__ = ["Monitor", "Reading"]

SCHEMA_VERSION = 1
SAMPLES = 2000
THIN = 500
SECONDS = 0.3
Draw = Callable[[int, torch.Generator], Tensor]
Decided = dict[int, "tuple[int | None, ...]"]


class _State(Protocol):
    """What the trainer hands to its callbacks, as far as it matters here."""

    steps: int
    step: int
    stop: bool


@dataclass(frozen=True)
class Reading:
    """What was found at one `step`: Betti numbers `betti[p]` by field (None: undecided), under `label`, at `scale` eps (data units).

    `wrong`: why the samples contradict the expectation, empty where they do not; `reason`: why degrees are undecided; `points`: how many samples there
    were; `seconds`: what the reading took, drawing included.
    """

    step: int
    betti: Decided
    label: str
    scale: float | None
    wrong: str
    reason: str
    points: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        plain = {name: getattr(self, name) for name in ("step", "label", "scale", "wrong", "reason", "points", "seconds")}
        return {**plain, "betti": {str(p): list(numbers) for p, numbers in self.betti.items()}}

    def to_text(self) -> str:
        """One line: step, Betti numbers, and what is wrong with them."""
        numbers = ", ".join(f"Z/{p} ({','.join('?' if b is None else str(b) for b in n)})" for p, n in self.betti.items()) or "none"
        return f"step {self.step}: {numbers} [{self.label}]" + (f", WRONG: {self.wrong}" if self.wrong else "")


class Monitor:
    """Watches the topology of what is being trained.

    As a callback of `topogen.training.trainer.train` (it has `begin` and `measured`), or in any loop:

        monitor = Monitor(draw, expect="circle", every=500)
        for step in range(steps):
            ...
            if monitor(step):
                break

    Args:
        draw: samples (n, D) of what is being trained, from (n, generator); None where samples are handed to `monitor(step, points)`.
        expect: a name ("torus"), Betti numbers, or a cloud (n, D) whose decided Betti numbers are expected; None: record only.
        every: steps between readings.
        dim, closed: what is known of the set by construction, whatever it has become, as in `homology`; they help the rules. `expect` is not taken for that.
        fields: primes p of the Betti numbers.
        samples: how many samples a reading takes.
        start: no reading before this step.
        patience: how many wrong readings in a row end the run.
        action: "stop" (tell the trainer, or return True), "raise" TopologyError, or "record" only.
        file: rewritten atomically after each reading, .json or .csv.
        seed: of the samples and their landmarks, the same for every reading.
        budget: of each computation of persistence; the default keeps a reading of 2000 points below a second.

    Raises InvalidInputError for unusable options.
    """

    def __init__(
        self,
        draw: Draw | None = None,
        expect: str | Sequence[int] | Tensor | None = None,
        *,
        every: int = 500,
        dim: int | None = None,
        closed: bool | None = None,
        fields: Sequence[int] = (2,),
        samples: int = SAMPLES,
        start: int = 0,
        patience: int = 2,
        action: str = "stop",
        file: str | Path | None = None,
        seed: int = 0,
        budget: Budget | None = None,
    ) -> None:
        _check(every, samples, patience, action, file)
        named = None if expect is None or torch.is_tensor(expect) else parse_expectation(expect)
        self.draw, self.every, self.samples, self.start, self.patience, self.action, self.seed = draw, every, samples, start, patience, action, seed
        self.dim, self.closed, self.fields, self.file = dim, closed, tuple(fields), None if file is None else Path(file)
        self.budget = Budget(max_seconds=SECONDS) if budget is None else budget
        self.history: list[Reading] = []
        self.expected: Decided | None = self._read_cloud(expect)[0] if torch.is_tensor(expect) else _numbers(named, self.fields)

    @property
    def wrong(self) -> bool:
        """Whether the last `patience` readings were all wrong."""
        last = self.history[-self.patience :]
        return len(last) == self.patience and all(reading.wrong for reading in last)

    def __call__(self, step: int, points: Tensor | None = None) -> bool:
        """Take a reading if one is due at this step, of `points` (n, D) or of samples drawn; whether the run should stop.

        Raises TopologyError instead where the action is "raise", InvalidInputError with neither points nor `draw`.
        """
        if step >= self.start and (not self.history or step >= self.history[-1].step + self.every):
            self.read(step, points)
        return self._verdict()

    def read(self, step: int, points: Tensor | None = None) -> Reading:
        """Take a reading now, append it to `history` and write the file."""
        began = time.perf_counter()
        cloud = self._samples() if points is None else points.detach()
        try:
            betti, label, scale, reason = self._read_cloud(cloud)
            wrong = _contradiction(betti, self.expected)
        except InvalidInputError as error:
            betti, label, scale, reason, wrong = {}, "proved-for-sample", None, "", f"the samples are no cloud: {error}"
        self.history.append(Reading(step, betti, label, scale, wrong, reason, len(cloud), time.perf_counter() - began))
        if self.file is not None:
            self.write(self.file)
        return self.history[-1]

    def begin(self, state: _State) -> None:
        """Before a step of the trainer: read if due."""
        state.stop |= self(state.step)

    def measured(self, state: _State) -> None:
        """After a measurement of the trainer: read at the end of the run, whatever is due."""
        if state.step == state.steps and (not self.history or self.history[-1].step < state.step):
            self.read(state.step)
            state.stop |= self._verdict()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: what was expected, whether it has gone wrong, all readings."""
        expected = None if self.expected is None else {str(p): list(numbers) for p, numbers in self.expected.items()}
        return {"schema_version": SCHEMA_VERSION, "expected": expected, "wrong": self.wrong, "readings": [reading.to_dict() for reading in self.history]}

    def to_text(self) -> str:
        """One line per reading."""
        return "\n".join(reading.to_text() for reading in self.history)

    def write(self, path: str | Path) -> None:
        """Replace the file at `path`, .json or .csv, by all readings; a reader sees the old file or the new one, never half of one."""
        place = Path(path)
        _check_suffix(place)
        _replace(place, json.dumps(self.to_dict(), allow_nan=False, indent=1) if place.suffix == ".json" else self._table())

    def _verdict(self) -> bool:
        if not self.wrong or self.action == "record":
            return False
        if self.action == "raise":
            last = self.history[-1]
            raise TopologyError(
                f"the topology has gone wrong at step {last.step}: {last.wrong} ({self.patience} readings in a row); the weights are"
                " those of this step: go back to a checkpoint, or pass action='record' to look on"
            )
        return True

    def _samples(self) -> Tensor:
        if self.draw is None:
            raise InvalidInputError("points: the monitor has nothing to draw from; pass the samples, monitor(step, points), or draw= when making it")
        with torch.no_grad():
            return self.draw(self.samples, torch.Generator().manual_seed(self.seed)).detach()

    def _read_cloud(self, cloud: Any) -> tuple[Decided, str, float | None, str]:
        """Betti numbers, label, scale and what is undecided of a cloud (n, D)."""
        generator = torch.Generator().manual_seed(self.seed)
        try:
            landmarks = self._landmarks(cloud)
            found = homology(
                cloud, dim=self.dim, fields=self.fields, landmarks=landmarks, closed=self.closed, budget=self.budget, generator=generator
            )  # fmt: skip
        except BudgetExceeded as error:
            return dict.fromkeys(self.fields, (None,)), "heuristic", None, str(error)
        return dict(found.decided), found.label, found.scale, found.reason

    def _landmarks(self, cloud: Tensor) -> int | str:
        """Few for what may be a curve, whose Delaunay triangulation may have quadratic size; elsewhere the engine's own choice."""
        thin = cloud.ndim == 2 and cloud.shape[1] <= 3 and self.dim in (None, 1)
        return THIN if thin else "auto"

    def _table(self) -> str:
        rows = ["step,field,betti,label,scale,wrong,points,seconds"]
        for reading in self.history:
            wrong = reading.wrong.replace('"', "'")
            for p in reading.betti or self.fields:
                numbers = " ".join("?" if b is None else str(b) for b in reading.betti.get(p, ()))
                scale = "" if reading.scale is None else f"{reading.scale:.6g}"
                rows.append(f'{reading.step},{p},{numbers},{reading.label},{scale},"{wrong}",{reading.points},{reading.seconds:.3f}')
        return "\n".join([*rows, ""])


def _numbers(named: Expectation | None, fields: Sequence[int]) -> Decided | None:
    return None if named is None else {p: tuple(named.over(p)) for p in fields}


def _contradiction(found: Decided, expected: Decided | None) -> str:
    """Decided numbers that differ, in words; degrees that only one side lists count as zero where the other is a complete expectation."""
    if expected is None:
        return ""
    pairs = [(p, k, b, wanted[k] if k < len(wanted) else 0) for p, wanted in expected.items() for k, b in enumerate(found.get(p, ()))]
    differ = [f"b_{k} over Z/{p} is {b}, expected {wanted}" for p, k, b, wanted in pairs if b is not None and wanted is not None and b != wanted]
    return "; ".join(differ)


def _check(every: int, samples: int, patience: int, action: str, file: str | Path | None) -> None:
    for name, value in (("every", every), ("samples", samples), ("patience", patience)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInputError(f"{name}: expected an integer of at least 1, found {value!r}")
    if action not in ("stop", "raise", "record"):
        raise InvalidInputError(f"action: expected 'stop', 'raise' or 'record', found {action!r}")
    if file is not None:
        _check_suffix(Path(file))


def _check_suffix(path: Path) -> None:
    if path.suffix not in (".json", ".csv"):
        raise InvalidInputError(f"file: expected a name that ends in .json or .csv, found {path.name!r}")
    if not path.absolute().parent.is_dir():
        raise InvalidInputError(f"file: the folder {path.absolute().parent} does not exist; make it first")


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.absolute().parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
