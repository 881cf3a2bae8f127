"""Sampling in one call: exp(-E) on any manifold by hundreds of chains, the registered kernels by name over the engine of `chains`.

    start -> projected to M -> warm-up (step and trajectory length tuned, positions discarded) -> n_steps steps of a frozen kernel -> Chains

Chains do not leave their connected component unless `jumps` are made: without, the share of start points on a component stays the share of samples there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from topogen.errors import InvalidInputError, ProjectionError
from topogen.manifolds.base import Manifold
from topogen.sampling.chains import Kernel, first_step, run_chains, warm_up
from topogen.sampling.kernels.alternating import Alternating
from topogen.sampling.kernels.hmc import HamiltonianMonteCarlo
from topogen.sampling.kernels.jumps import PlaneJump
from topogen.sampling.kernels.langevin import ConstrainedLangevin
from topogen.sampling.kernels.walk import TangentRandomWalk
from topogen.sampling.result import Chains
from topogen.sampling.target import Energy, Target, Walls
from topogen.sampling.trace import check_free

__all__ = ["KERNELS", "sample"]

KERNELS: dict[str, Callable[[Target], Kernel]] = {
    "hmc": lambda target: HamiltonianMonteCarlo(target.manifold, target=target, reflect=target.walls is not None),
    "langevin": lambda target: ConstrainedLangevin(target.manifold, target=target),
    "random_walk": lambda target: TangentRandomWalk(target.manifold, target=target),
}

_RANK_LOST = 1e-8


def sample(
    manifold: Manifold,
    energy: Energy | None = None,
    *,
    start: Tensor,
    n_steps: int = 1000,
    kernel: str | Callable[[Target], Kernel] = "hmc",
    measure: str = "hausdorff",
    walls: Walls | None = None,
    temperature: float = 1.0,
    step: float | None = None,
    n_warm_up: int = 200,
    thin: int = 1,
    jumps: int = 0,
    trace: str | Path | None = None,
    generator: torch.Generator | None = None,
) -> Chains:
    """Chains of n_steps steps from every row of start (n_chains, D), with density proportional to exp(-energy / temperature) on M.

    Args:
        manifold: M, learned, given or a shape.
        energy: E, rows (n, D) float64 -> (n,); None is the uniform density. "hmc" and "langevin" need it differentiable by torch.
        start: one row per chain; rows off M are projected and `Chains.notes` says how far.
        kernel: "hmc", "langevin", "random_walk", or a function that makes a `Kernel` for a `Target`, such as
            `lambda target: HamiltonianMonteCarlo(target.manifold, target=target, inner=3, mass=2.0)`.
        measure: density against the volume ("hausdorff") or the law of an ambient density conditioned on F = 0 ("coarea"); see `target`.
        walls: inequalities g(x) >= 0, rows (n, D) -> (n,) or (n, q); "hmc" is reflected by them, the others are rejected there.
        step: step length in data units; None lets the warm-up find it, which also tunes the trajectory length of "hmc".
        n_warm_up: steps before the first one that counts.
        thin: every `thin`-th position is kept.
        jumps: every `jumps`-th step is a `PlaneJump` between sheets and components; 0 makes none.
        trace: .npy file for the positions (memory-mapped), for runs longer than memory.

    Ctrl-C after the warm-up returns what was sampled so far (`Chains.interrupted`).
    Raises InvalidInputError for unknown names, bad counts, energies of the wrong shape, starts where exp(-E) is 0 or the constraint loses its rank,
    ProjectionError for start points that have no projection onto M.
    """
    _check(start, manifold.ambient_dim, kernel, n_steps, thin, n_warm_up, jumps, step)
    file = None if trace is None else Path(trace)
    check_free(file)
    target = Target(manifold, energy, measure=measure, walls=walls, temperature=temperature)
    points, notes = _on(manifold, start.detach().double())
    target.check(points)
    moves = KERNELS[kernel](target) if isinstance(kernel, str) else kernel(target)
    if jumps:
        moves = Alternating(moves, PlaneJump(manifold, target.potential), jumps)
    if step is None or n_warm_up:
        first = first_step(points, manifold.dim) if step is None else step
        points, step = warm_up(moves, points, first, max(n_warm_up, 1), fixed=step is not None, generator=generator)
    done = run_chains(moves, points, n_steps, step, thin=thin, generator=generator, file=file, interruptible=True)
    return Chains.of(done, step, thin, dtype=start.dtype, notes=notes, manifold=manifold)


def _check(start: Tensor, ambient_dim: int, kernel: object, n_steps: int, thin: int, n_warm_up: int, jumps: int, step: float | None) -> None:
    if isinstance(kernel, str) and kernel not in KERNELS:
        raise InvalidInputError(f"kernel: expected one of {', '.join(sorted(KERNELS))} or a function that makes one, found {kernel!r}")
    if not torch.is_tensor(start) or start.ndim != 2 or start.shape[1] != ambient_dim or len(start) < 1:
        found = tuple(start.shape) if torch.is_tensor(start) else type(start).__name__
        raise InvalidInputError(f"start: expected a tensor (n_chains, {ambient_dim}) with at least one row, found {found}; one row per chain")
    if n_steps < 1 or thin < 1 or n_warm_up < 0 or jumps < 0:
        raise InvalidInputError(f"n_steps, thin, n_warm_up, jumps: expected at least 1, 1, 0 and 0, found {n_steps}, {thin}, {n_warm_up} and {jumps}")
    if thin > n_steps:
        raise InvalidInputError(f"thin: every {thin}th of {n_steps} steps keeps none; lower thin or raise n_steps")
    if step is not None and not 0 < step < torch.inf:
        raise InvalidInputError(f"step: expected a positive number or None, found {step}; None has the warm-up find one")


def _on(manifold: Manifold, start: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """The starts on M and what has to be said about that; those that are on M already stay where they are."""
    if manifold.regular and bool((manifold.kept_residual(start) <= manifold.tolerance(torch.float64)).all()):
        _check_rank(manifold, start)
        return start, ()
    found = manifold.project(start)
    if not bool(found.converged.all()):
        lost = (~found.converged).nonzero().squeeze(1).tolist()
        raise ProjectionError(f"start: chain {lost[0]} (of {len(lost)} such) has no projection onto {manifold!r}; begin near M")
    _check_rank(manifold, found.points)
    distance = float((found.points - start).norm(dim=1).max())
    away = distance > 100 * manifold.tolerance(torch.float64)
    return found.points, (f"start: points were off M by up to {distance:.3g} and have been projected",) if away else ()


def _check_rank(manifold: Manifold, points: Tensor) -> None:
    if manifold.constraint is None:
        return
    kept = manifold.spectrum(points)[:, : manifold.codim]
    lost = (kept[:, -1] <= _RANK_LOST * kept[:, 0].median()).nonzero().squeeze(1).tolist()
    if lost:
        raise InvalidInputError(f"start: the constraint loses its rank at chain {lost[0]} (of {len(lost)} such), where M is singular; begin elsewhere")
