"""Flow matching in the table of densities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from topogen.distributions.base import Density, DensityRequest, FittedDensity
from topogen.distributions.fields.prepare import field_settings
from topogen.distributions.fields.saved_field import build_base_and_field, describe_flow
from topogen.distributions.fields.training import fit_field_on_request
from topogen.distributions.flow.fit import fit_flow
from topogen.distributions.flow.flow import FlowMatching
from topogen.manifolds.base import Manifold
from topogen.saving import Saved

__all__ = ["ENTRY"]


def _fit(request: DensityRequest) -> FittedDensity:
    return fit_field_on_request(fit_flow, request)


def _describe(density: FlowMatching, manifold: Manifold) -> Saved:
    return describe_flow(density)


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> FlowMatching:
    return FlowMatching(*build_base_and_field(config, tensors, manifold), tolerance=float(config["tolerance"]))


ENTRY = Density(
    "flow",
    "flow matching: a field that carries a simple law to the data, within the manifold",
    _fit,
    lambda thing: isinstance(thing, FlowMatching),
    _describe,
    _build,
    takes_context=True,
    settings=field_settings,
    takes_steps=True,
    pool=lambda density: density.base.ground.pool,
    seconds=lambda n, dim, ambient: 100 * (1 + ambient / 30),
)
