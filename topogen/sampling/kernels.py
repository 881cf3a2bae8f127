"""Sampling in one call: the registered kernels by name over the engine of `chains`.

The density is proportional to exp(-E) against the d-dimensional volume (Hausdorff) measure of M, whatever constraint cuts M out.
Chains do not leave their connected component: the share of start points on a component stays the share of samples there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.manifolds.base import Manifold
from topogen.sampling.chains import Chains, Kernel, first_step, run, warm_up
from topogen.sampling.walk import TangentRandomWalk

__all__ = ["KERNELS", "sample"]

Energy = Callable[[Tensor], Tensor]

KERNELS: dict[str, Callable[[Manifold, Energy | None], Kernel]] = {"random_walk": TangentRandomWalk}


def sample(
    manifold: Manifold,
    energy: Energy | None = None,
    *,
    start: Tensor,
    n_steps: int = 1000,
    kernel: str = "random_walk",
    step: float | None = None,
    n_warm_up: int = 200,
    thin: int = 1,
    generator: torch.Generator | None = None,
) -> Chains:
    """Chains of n_steps steps from every row of start (n_chains, D), with density proportional to exp(-energy) against the volume measure of M.

    `energy` None is the uniform density; `step` None lets the warm-up of `n_warm_up` steps, whose positions are discarded, find one with acceptance .6.
    Raises InvalidInputError for an unknown kernel or bad counts, ProjectionError for start points that have no projection onto M.
    """
    if kernel not in KERNELS:
        raise InvalidInputError(f"kernel: expected one of {', '.join(sorted(KERNELS))}, found {kernel!r}")
    _check(start, manifold.ambient_dim, n_steps, thin, n_warm_up)
    moves = KERNELS[kernel](manifold, energy)
    points = manifold.projx(start.detach().double())
    if step is None:
        points, step = warm_up(moves, points, first_step(points, manifold.dim), max(n_warm_up, 1), generator=generator)
    elif n_warm_up:
        points = run(moves, points, n_warm_up, step, thin=n_warm_up, generator=generator).points[-1]
    chains = run(moves, points, n_steps, step, thin=thin, generator=generator)
    return replace(chains, points=chains.points.to(start.dtype))


def _check(start: Tensor, ambient_dim: int, n_steps: int, thin: int, n_warm_up: int) -> None:
    if not torch.is_tensor(start) or start.ndim != 2 or start.shape[1] != ambient_dim or len(start) < 1:
        found = tuple(start.shape) if torch.is_tensor(start) else type(start).__name__
        raise InvalidInputError(f"start: expected a tensor (n_chains, {ambient_dim}) with at least one row, found {found}; one row per chain")
    if n_steps < 1 or thin < 1 or n_warm_up < 0:
        raise InvalidInputError(f"n_steps, thin, n_warm_up: expected at least 1, 1 and 0, found {n_steps}, {thin} and {n_warm_up}")
