"""Continuous flows as plain values and tensors: the field, the uniform points it moves on, and the law it begins from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from topogen.distributions.charts.charts_entry import build_mixture, describe_mixture
from topogen.distributions.diffusion.heat_kernel import HeatKernel, HeatKernelBase
from topogen.distributions.fields.components import Base, ChartMixtureBase, SampledManifold, UniformComponents
from topogen.distributions.fields.continuous_flow import ContinuousFlow
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.errors import NotSupportedError
from topogen.manifolds.base import Manifold
from topogen.saving import Saved, part

__all__ = ["build_base_and_field", "describe_flow"]

_SIZES = ("width", "depth", "context")


def describe_flow(density: ContinuousFlow) -> Saved:
    """The density without the manifold it lies on."""
    ground, field = density.base.ground, density.field
    config: dict[str, Any] = {"volume": ground.volume, "tolerance": density.tolerance, "field": {name: getattr(field, name) for name in _SIZES}}
    tensors = {f"field.{name}": value for name, value in field.state_dict().items()} | {"pool": ground.pool, "labels": ground.labels}
    base, own = _describe_base(density.base)
    return config | {"base": base}, tensors | own


def build_base_and_field(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold) -> tuple[Base, FieldNetwork]:
    """What a continuous flow is made of, on the set that `manifold` describes."""
    ground = SampledManifold(manifold.underlying, tensors["pool"], float(config["volume"]), tensors["labels"])
    return _build_base(config["base"], tensors, manifold, ground), _build_field(config, part(tensors, "field."))


def _describe_base(base: Base) -> tuple[Any, dict[str, Tensor]]:
    if isinstance(base, ChartMixtureBase):
        inner, own = describe_mixture(base.mixture)
        return dict(inner), {f"base.{name}": value for name, value in own.items()}
    if isinstance(base, HeatKernelBase):
        return "heated", {f"base.{name}": value for name, value in base.heat._asdict().items()}
    if not isinstance(base, UniformComponents):
        raise NotSupportedError(f"save: a base of type {type(base).__name__} is not registered; use base='heat', 'uniform' or 'charts'")
    return None, {"weights": base.weights}


def _build_base(config: Any, tensors: Mapping[str, Tensor], manifold: Manifold, ground: SampledManifold) -> Base:
    if config is None:
        return UniformComponents(ground, tensors["weights"])
    if config == "heated":
        return HeatKernelBase(ground, HeatKernel(**part(tensors, "base.")))
    return ChartMixtureBase(ground, build_mixture(config, part(tensors, "base."), manifold))


def _build_field(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> FieldNetwork:
    width, depth, context = (int(config["field"][name]) for name in _SIZES)
    times = None if config.get("times") is None else (float(config["times"][0]), float(config["times"][1]))
    field = FieldNetwork(
        state["centre"], float(state["scale"]), features=state["frequencies"].shape[1], width=width, depth=depth, context=context, times=times,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    field.load_state_dict(dict(state))
    return field
