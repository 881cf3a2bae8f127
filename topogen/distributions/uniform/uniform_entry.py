"""The uniform distribution in the table of densities. A file holds its seed only: samples are drawn from the model's anchors again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from topogen.distributions.base import Density, DensityRequest, FittedDensity
from topogen.distributions.uniform.uniform import Uniform
from topogen.manifolds.base import Manifold
from topogen.saving import Saved

__all__ = ["ENTRY"]


def _fit(request: DensityRequest) -> FittedDensity:
    return FittedDensity(Uniform(request.manifold, points=request.anchors, generator=request.generator))


def _describe(uniform: Uniform, manifold: Manifold) -> Saved:
    return {"seed": uniform.seed}, {}


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> Uniform:
    return Uniform(manifold, points=anchors, seed=int(config["seed"]))


ENTRY = Density(
    "uniform",
    "the same density everywhere on the manifold; what topology is verified on",
    _fit,
    lambda thing: isinstance(thing, Uniform),
    _describe,
    _build,
)
