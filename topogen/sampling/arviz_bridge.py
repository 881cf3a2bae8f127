"""Chains handed to ArviZ, whose plots and tables many users know: `to_arviz` makes an InferenceData of positions and per-step statistics.

Kumar, Carroll, Hartikainen, Martin (2019), ArviZ, a unified library for exploratory analysis of Bayesian models in Python.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from topogen.errors import InvalidInputError, MissingDependencyError

__all__ = ["to_arviz"]


def to_arviz(points: Tensor, **statistics: Tensor) -> Any:
    """`arviz.InferenceData` with posterior variable "x" (chain, draw, coordinate) from points (n_steps, n_chains, D).

    Every keyword becomes a variable (chain, draw) of the group sample_stats, from a tensor (n_steps, n_chains); ArviZ knows "energy", "lp",
    "diverging" and "acceptance_rate" by name. Raises MissingDependencyError without ArviZ, InvalidInputError for another shape.
    """
    _check(points, statistics)
    try:
        import arviz
    except ImportError as error:
        raise MissingDependencyError("to_arviz needs ArviZ (version 0.x); install it with: pip install 'topogen[arviz]'") from error
    stats = {name: _numpy(value) for name, value in statistics.items()}
    return arviz.from_dict(posterior={"x": _numpy(points)}, sample_stats=stats or None, dims={"x": ["coordinate"]})


def _check(points: Tensor, statistics: dict[str, Tensor]) -> None:
    if not torch.is_tensor(points) or points.ndim != 3:
        found = tuple(points.shape) if torch.is_tensor(points) else type(points).__name__
        raise InvalidInputError(f"points: expected a tensor (n_steps, n_chains, D), found {found}")
    for name, value in statistics.items():
        if not torch.is_tensor(value) or value.shape != points.shape[:2]:
            found = tuple(value.shape) if torch.is_tensor(value) else type(value).__name__
            raise InvalidInputError(f"{name}: expected a tensor of shape {tuple(points.shape[:2])} (n_steps, n_chains), found {found}")


def _numpy(values: Tensor) -> Any:
    return values.detach().cpu().transpose(0, 1).numpy()
