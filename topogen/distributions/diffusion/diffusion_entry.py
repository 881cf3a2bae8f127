"""Diffusions in the table of densities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from topogen.distributions.base import Density, DensityRequest, FittedDensity
from topogen.distributions.diffusion.diffusion import Diffusion
from topogen.distributions.diffusion.fit import fit_diffusion
from topogen.distributions.diffusion.reverse import reverse_walk
from topogen.distributions.fields.prepare import field_settings
from topogen.distributions.fields.saved_field import build_base_and_field, describe_flow
from topogen.distributions.fields.training import fit_field_on_request
from topogen.manifolds.base import Manifold
from topogen.saving import Saved

__all__ = ["ENTRY"]


def _fit(request: DensityRequest) -> FittedDensity:
    return fit_field_on_request(fit_diffusion, request)


def _describe(density: Diffusion, manifold: Manifold) -> Saved:
    config, tensors = describe_flow(density)
    return {**config, "times": list(density.times)}, tensors


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> Diffusion:
    base, field = build_base_and_field(config, tensors, manifold)
    low, high = (float(time) for time in config["times"])
    return Diffusion(base, field, (low, high), tolerance=float(config["tolerance"]))


def _stages(density: Diffusion, n: int, steps: int, generator: torch.Generator, keep: int) -> Tensor:
    return reverse_walk(density, n, steps=steps, generator=generator, keep=keep, since=density.unit**2)


ENTRY = Density(
    "diffusion",
    "the reverse of Brownian motion from the data, within the manifold",
    _fit,
    lambda thing: isinstance(thing, Diffusion),
    _describe,
    _build,
    takes_context=True,
    settings=field_settings,
    takes_steps=True,
    pool=lambda density: density.base.ground.pool,
    seconds=lambda n, dim, ambient: 110 * (1 + ambient / 30),
    stages=_stages,
)
