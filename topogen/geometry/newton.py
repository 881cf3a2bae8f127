"""Newton's method on a batch of rows, each by itself: one loop for all of them, fed by a callable.

Row i carries a state z_i and data w_i that do not change. A round

    z_i, going_i  <-  step(z_i, w_i)         for the rows that are still going

is taken until none is or the rounds are used up; a row that stops keeps the state it stopped in. Why it stopped, converged, diverged or stuck, is what `step`
knows and writes into the state. What the steps have in common:

    solved       A^-1 b                       Newton's equation, as many unknowns as equations
    saddle_free  |H|^-1 g                     Newton's step to a minimum, away from saddles
    clipped      min(1, l / |v|) v            no step longer than l
    damped                                    a step that does not descend is not taken, the next one is a quarter as long

Deuflhard (2011), Newton methods for nonlinear problems; Dauphin et al. (2014), Identifying and attacking the saddle point problem in high-dimensional
non-convex optimization.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Iterated", "State", "clipped", "damped", "iterate", "saddle_free", "select_rows", "solved"]

State = tuple[Tensor, ...]
Step = Callable[..., tuple[State, Tensor]]


class Iterated(NamedTuple):
    """Where n rows ended: their `state`, how many `steps` (n,) int64 each took, and which are still `active` (n,) because the rounds ran out."""

    state: State
    steps: Tensor
    active: Tensor


def iterate(step: Step, state: State, fixed: State = (), *, max_iterations: int, active: Tensor | None = None, gather: bool = True) -> Iterated:
    """Repeat `step` on the rows of a batch, each until it stops.

    Args:
        step: maps the rows still going of `state` and of `fixed`, `step(*state, *fixed)`, to their new state and a mask of those that go on;
            rows must not interact and nothing may be written in place.
        state: tensors (n, ...), the start; not written to, and given back as it is where no row takes part.
        fixed: tensors (n, ...) that go with the rows and do not change.
        max_iterations: rounds at most.
        active: mask (n,) of the rows that take part, all when None; the others keep their state and take no step.
        gather: whether `step` is given only the rows still going; otherwise it is given all, for a callable that is bound to the whole batch, and what it
            makes of the others is dropped.
    """
    active = torch.ones(len(state[0]), dtype=torch.bool, device=state[0].device) if active is None else active
    if not bool(active.any()):
        return Iterated(state, torch.zeros_like(active, dtype=torch.int64), active)
    return (_gathered if gather else _frozen)(step, state, fixed, active, max_iterations)


def _gathered(step: Step, state: State, fixed: State, active: Tensor, max_iterations: int) -> Iterated:
    ended = (*(part.clone() for part in state), torch.zeros_like(active, dtype=torch.int64))
    rows, count = active.nonzero().squeeze(-1), 0
    here, given = (state, fixed) if len(rows) == len(active) else (_taken(state, rows), _taken(fixed, rows))
    while len(rows) and count < max_iterations:
        here, going = step(*here, *given)
        count += 1
        if not bool(going.all()):
            _put(ended, rows, here, count)
            rows, here, given = rows[going], _taken(here, going), _taken(given, going)
    _put(ended, rows, here, count)
    return Iterated(ended[:-1], ended[-1], torch.zeros_like(active).index_fill(0, rows, True))


def _taken(parts: State, index: Tensor) -> State:
    return tuple(part[index] for part in parts)


def _put(ended: State, rows: Tensor, here: State, count: int) -> None:
    """Write the state of rows, and how many steps they took, into tensors of all rows."""
    for old, new in zip(ended, (*here, rows.new_tensor(count)), strict=True):
        old[rows] = new


def _frozen(step: Step, state: State, fixed: State, active: Tensor, max_iterations: int) -> Iterated:
    steps, going = torch.zeros_like(active, dtype=torch.int64), int(active.sum())
    for _ in range(max_iterations):
        new, on = step(*state, *fixed)
        state = new if going == len(active) else select_rows(active, new, state)
        steps += active
        active = active & on
        going = int(active.sum())
        if not going:
            break
    return Iterated(state, steps, active)


def select_rows(mask: Tensor, new: State, old: State) -> State:
    """Tensors (n, ...) that are `new` in the rows of `mask` (n,) and `old` in the others."""
    return tuple(torch.where(mask if n.ndim == 1 else mask.reshape(-1, *[1] * (n.ndim - 1)), n, o) for n, o in zip(new, old, strict=True))


def solved(system: Tensor, value: Tensor) -> Tensor:
    """A^-1 b (n, r) of systems (n, r, r) and values (n, r); not finite where b is not or A is singular."""
    if system.shape[-1] == 1:
        return value / system[..., 0]
    step: Tensor = torch.linalg.solve_ex(system.nan_to_num(), value.unsqueeze(-1))[0]
    return torch.where(torch.isfinite(value), step.squeeze(-1), torch.nan)


def saddle_free(hessian: Tensor, gradient: Tensor) -> Tensor:
    """|H|^-1 g (n, r) of Hessians (n, r, r) and gradients (n, r), |H| with the absolute eigenvalues of H; nothing along directions in which H vanishes."""
    if hessian.shape[-1] == 1:
        size = hessian[:, 0].abs()
        return gradient / size.clamp_min(torch.finfo(size.dtype).tiny ** 0.5)
    values, vectors = torch.linalg.eigh(hessian)
    size = values.abs()
    size = torch.where(size > 1e-9 * size.amax(-1, keepdim=True), size, torch.inf)
    step: Tensor = vectors @ ((vectors.mT @ gradient.unsqueeze(-1)) / size.unsqueeze(-1))
    return step.squeeze(-1)


def clipped(step: Tensor, longest: Tensor | float) -> Tensor:
    """Steps (n, r), shortened to the length `longest`, a number or (n, 1), where they are longer."""
    return step * (longest / step.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(step.dtype).tiny)).clamp(max=1.0)


def damped(good: Tensor, trial: Tensor, x: Tensor, share: Tensor) -> State:
    """Where to go on, and by which share (n, 1) of the next step: from the trial and four times as much where it is `good` (n,), else from x and a quarter."""
    return select_rows(good, (trial, (4 * share).clamp(max=1)), (x, share / 4))
