"""Implicit manifolds in the table of manifolds. A file holds the network or sheets of a learned constraint, and the gate; no plain functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from topogen.errors import NotSupportedError
from topogen.learning.base import ManifoldKind
from topogen.learning.implicit.choice import fit_constraint
from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.manifolds.atlas.graph_charts import GraphCharts
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.manifolds.implicit.local_constraint import LocalPolynomialConstraint
from topogen.saving import Saved, part

__all__ = ["ENTRY"]

_SIZES = ("outputs", "width", "depth")
_NUMBERS = ("dim", "ambient_dim", "predictor_steps", "max_step", "max_iterations", "scale", "full_tolerance", "closest")


def _describe(manifold: ImplicitManifold) -> Saved:
    own, tensors = _describe_constraint(manifold.constraint)
    config = {name: _finite(getattr(manifold, name)) for name in _NUMBERS} | own
    if manifold.gate is not None:
        config["gate"] = {"radius": manifold.gate.radius, "minimum": manifold.gate.minimum}
        tensors["gate.anchors"] = manifold.gate.get_buffer("anchors")
    return config, tensors


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ImplicitManifold:
    constraint = _build_constraint(config, tensors)
    gate = Gate(tensors["gate.anchors"], **config["gate"]) if "gate" in config else None
    numbers: dict[str, Any] = {name: math.inf if config[name] is None else config[name] for name in _NUMBERS}
    return ImplicitManifold(constraint, gate=gate, **numbers)


def _describe_constraint(constraint: object) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not isinstance(constraint, torch.nn.Module):
        raise NotSupportedError("save: the constraint is a plain function, which a file cannot hold; only learned constraints can be saved")
    if isinstance(constraint, LocalPolynomialConstraint):
        return {"sheets": {"degree": constraint.charts.degree}}, {f"sheets.{name}": value for name, value in constraint.state_dict().items()}
    if not isinstance(constraint, ConstraintNetwork):
        raise NotSupportedError(f"save: a constraint of type {type(constraint).__name__} is not registered; only learned constraints can be saved")
    return {"network": {name: getattr(constraint, name) for name in _SIZES}}, {f"network.{name}": value for name, value in constraint.state_dict().items()}


def _build_constraint(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LocalPolynomialConstraint | ConstraintNetwork:
    if "sheets" in config:
        held = part(tensors, "sheets.charts.")
        charts = GraphCharts(
            held["centre"], held["tangent"], held["radius"], extent=held["extent"], heights=held["heights"], degree=int(config["sheets"]["degree"])
        )
        own = part(tensors, "sheets.")
        return LocalPolynomialConstraint(charts, own["support"], own["thickness"], mean=own["mean"], hull=own["hull"])
    state, sizes = part(tensors, "network."), config["network"]
    network = ConstraintNetwork(state["centre"], float(state["scale"]), state["hull"], *(int(sizes[name]) for name in _SIZES)).double()
    network.load_state_dict(state)
    return network


def _finite(value: float) -> float | None:
    """JSON has no infinity; None stands for it."""
    return None if value == math.inf else value


ENTRY = ManifoldKind(
    "implicit",
    "the zero set of a constraint: local polynomials, or a network trained by denoising",
    lambda thing: isinstance(thing, ImplicitManifold),
    _describe,
    _build,
    fit_constraint,
)
