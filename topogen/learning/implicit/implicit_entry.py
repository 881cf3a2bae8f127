"""Implicit manifolds in the table of manifolds. A file holds the network of a learned constraint and the gate; a plain function it cannot hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from topogen.errors import NotSupportedError
from topogen.learning.base import FittedManifold, ManifoldKind, ManifoldRequest
from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.learning.implicit.fit import fit_implicit
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.saving import Saved

__all__ = ["ENTRY", "learn_implicit"]

_SIZES = ("outputs", "width", "depth")
_NUMBERS = ("dim", "ambient_dim", "predictor_steps", "max_step", "max_iterations", "scale", "full_tolerance", "closest")


def learn_implicit(request: ManifoldRequest) -> FittedManifold:
    """The zero set that `fit_implicit` learns."""
    found = fit_implicit(
        request.points, request.dim, boundary=request.boundary, pieces=request.mixed, settings=request.settings, generator=request.generator,
        checkpoint=request.checkpoint, quiet=request.quiet,
    )  # fmt: skip
    return FittedManifold(found.manifold, found.anchors[: request.most_anchors], found.notes, found.summary())


def _describe(manifold: ImplicitManifold) -> Saved:
    network = manifold.constraint
    if not isinstance(network, torch.nn.Module):
        raise NotSupportedError("save: the constraint is a plain function, which a file cannot hold; only learned constraints can be saved")
    if not isinstance(network, ConstraintNetwork):
        raise NotSupportedError(f"save: a constraint of type {type(network).__name__} is not registered; only learned constraints can be saved")
    config = {name: _finite(getattr(manifold, name)) for name in _NUMBERS} | {"network": {name: getattr(network, name) for name in _SIZES}}
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    if manifold.gate is not None:
        config["gate"] = {"radius": manifold.gate.radius, "minimum": manifold.gate.minimum}
        tensors["gate.anchors"] = manifold.gate.get_buffer("anchors")
    return config, tensors


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ImplicitManifold:
    state = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    sizes = config["network"]
    network = ConstraintNetwork(state["centre"], float(state["scale"]), state["hull"], *(int(sizes[name]) for name in _SIZES)).double()
    network.load_state_dict(state)
    gate = Gate(tensors["gate.anchors"], **config["gate"]) if "gate" in config else None
    numbers: dict[str, Any] = {name: math.inf if config[name] is None else config[name] for name in _NUMBERS}
    return ImplicitManifold(network, gate=gate, **numbers)


def _finite(value: float) -> float | None:
    """JSON has no infinity; None stands for it."""
    return None if value == math.inf else value


ENTRY = ManifoldKind(
    "implicit",
    "the zero set of a constraint learned by denoising",
    lambda thing: isinstance(thing, ImplicitManifold),
    _describe,
    _build,
    learn_implicit,
)
