"""What a density is to the rest of the library: an entry of the table `DENSITIES` says how it is fitted, saved, built again and described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topogen.manifolds.base import Manifold
from topogen.saving import Saved
from topogen.training.trainer import Settings

__all__ = ["Density", "DensityFacts", "DensityRequest", "FittedDensity"]


@dataclass(frozen=True)
class DensityRequest:
    """What a density is fitted to and how.

    `points` (n, D) float64: distinct data on or near `manifold`; `anchors` (m, D): those that project, on it; `context` (n, c) or (n,): one per point, None
    where the density depends on none; `settings`, `checkpoint`, `quiet`: of the training, where there is any.
    """

    points: Tensor
    manifold: Manifold
    anchors: Tensor
    generator: torch.Generator
    context: Tensor | None = None
    settings: Settings | None = None
    checkpoint: Path | None = None
    quiet: bool = False


@dataclass(frozen=True)
class FittedDensity:
    """The `distribution`, with respect to the volume measure of M, and `notes` in words on how it was chosen."""

    distribution: torch.distributions.Distribution
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DensityFacts:
    """What a normalisation rests on: plain `values` for JSON, `text` for people."""

    values: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


def _no_facts(distribution: Any) -> DensityFacts:
    return DensityFacts()


@dataclass(frozen=True)
class Density:
    """One entry of the table `DENSITIES`.

    Args:
        name: what `fit(density=...)` and `--density` call it.
        help: one line for `--help`.
        fit: a `DensityRequest` -> `FittedDensity`.
        covers: whether a distribution is of this kind.
        describe: (distribution, manifold) -> plain values and tensors that a file holds; raises NotSupportedError for what a file cannot hold.
        build: (values, tensors, manifold, anchors) -> the distribution again, to the same bits.
        highest_dim: the largest dimension of M it is made for, None for any.
        takes_context: whether it can depend on a context.
        settings: number of steps -> `Settings` of its training; None where it is not trained by steps.
        takes_steps: whether `sample((n,), steps=N)` integrates by N steps.
        facts: what its normalisation rests on, where there is something to say.
        pool: uniform points (m, D) of M that it knows, on which its density is drawn; None where it is not drawn.
        seconds: (n, d, D) -> rough seconds of a fit on one core, by which density="auto" plans; None: it does not try this density.
        stages: (distribution, n, steps, generator, keep) -> points (keep + 1, n, D) on their way to samples, which are drawn as a strip; None for no strip.

    Example:
        >>> from topogen.distributions import DENSITIES
        >>> DENSITIES["charts"].highest_dim
        3
    """

    name: str
    help: str
    fit: Callable[[DensityRequest], FittedDensity]
    covers: Callable[[Any], bool]
    describe: Callable[[Any, Manifold], Saved]
    build: Callable[[Mapping[str, Any], Mapping[str, Tensor], Manifold, Tensor], torch.distributions.Distribution]
    highest_dim: int | None = None
    takes_context: bool = False
    settings: Callable[[int], Settings] | None = None
    takes_steps: bool = False
    facts: Callable[[Any], DensityFacts] = _no_facts
    pool: Callable[[Any], Tensor] | None = None
    seconds: Callable[[int, int, int], float] | None = None
    stages: Callable[[Any, int, int, torch.Generator, int], Tensor] | None = None
