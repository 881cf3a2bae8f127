"""What a kind of manifold is to the rest of the library: an entry of the table `MANIFOLDS` says how it is fitted, saved and built again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from topogen.entry_tables import Table
from topogen.errors import NotSupportedError
from topogen.manifolds.base import Manifold
from topogen.saving import Saved
from topogen.training.trainer import Settings

__all__ = ["FittedManifold", "ManifoldKind", "ManifoldRequest", "describe_inner"]


@dataclass(frozen=True)
class ManifoldRequest:
    """What a manifold is fitted to and how.

    `points` (n, D) float64: distinct data; `dim`: dimension of M; `boundary`: the data end somewhere; `mixed`: there are several local dimensions; `gaps`: data
    are missing where M goes on;
    `constraint`: how a constraint is learned, "neural", "local" or "auto", where the kind has one;
    `settings`, `checkpoint`, `quiet`: of the training, where there is any; `most_anchors`: how many points of M a model keeps.
    """

    points: Tensor
    dim: int
    generator: torch.Generator
    boundary: bool = False
    mixed: bool = False
    gaps: bool = False
    constraint: str = "auto"
    settings: Settings | None = None
    checkpoint: Path | None = None
    quiet: bool = False
    most_anchors: int = 20_000


@dataclass(frozen=True)
class FittedManifold:
    """The `manifold`, the data projected onto it (`anchors`, (m, D)), `notes` in words and what is to be told of the `training`, plain values."""

    manifold: Manifold
    anchors: Tensor
    notes: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ManifoldKind:
    """One entry of the table `MANIFOLDS`.

    Args:
        name: what `fit(manifold=...)` and `--manifold` call it.
        help: one line for `--help`.
        covers: whether a manifold is of this kind.
        describe: manifold -> plain values and tensors that a file holds; raises NotSupportedError for what a file cannot hold.
        build: (values, tensors) -> the manifold again, to the same bits.
        fit: a `ManifoldRequest` -> `FittedManifold`; None for kinds that are given, not fitted.
        highest_dim: the largest dimension it is made for, None for any.

    Example:
        >>> from topogen.learning import MANIFOLDS
        >>> sorted(name for name, kind in MANIFOLDS.items() if kind.fit is not None)
        ['atlas', 'implicit']
    """

    name: str
    help: str
    covers: Callable[[Any], bool]
    describe: Callable[[Any], Saved]
    build: Callable[[Mapping[str, Any], Mapping[str, Tensor]], Manifold]
    fit: Callable[[ManifoldRequest], FittedManifold] | None = None
    highest_dim: int | None = None


def describe_inner(kinds: Table[ManifoldKind], inner: Manifold, called: str) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """What a file holds of a manifold inside of another, its kind among it; raises NotSupportedError, by the name it is `called`, for one of no kind."""
    kind = kinds.covering(inner)
    if kind is None:
        raise NotSupportedError(f"save: {called} is of no registered kind; register it in the group {kinds.group}")
    config, tensors = kind.describe(inner)
    return {"kind": kind.name, "config": dict(config)}, tensors
