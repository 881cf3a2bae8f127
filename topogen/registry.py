"""What a saved model may name: one entry per kind of manifold and distribution.

A new kind is one file of its own plus one `Kind` here. Configurations are checked by the constructors they go to; tensors are loaded strictly.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from topogen.distributions.charts.ball_densities import BallBase, Bump
from topogen.distributions.charts.ball_flow import BallFlow
from topogen.distributions.charts.chart_mixture import ChartMixture
from topogen.distributions.diffusion.diffusion import Diffusion
from topogen.distributions.diffusion.heat_kernel import HeatKernel, HeatKernelBase
from topogen.distributions.energy.correction_network import CorrectionNetwork
from topogen.distributions.energy.energy import Energy
from topogen.distributions.energy.tangent_kernels import TangentKernels
from topogen.distributions.fields.components import Base, ChartMixtureBase, SampledManifold, UniformComponents
from topogen.distributions.fields.continuous_flow import ContinuousFlow
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.distributions.flow.flow import FlowMatching
from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.uniform import Uniform
from topogen.errors import NotSupportedError
from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.manifolds.atlas.atlas import Atlas, ground_of
from topogen.manifolds.atlas.flow_charts import FlowCharts
from topogen.manifolds.atlas.graph_charts import Charts, GraphCharts
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.manifolds.shapes import SHAPES, get
from topogen.manifolds.shapes.base import Shape
from topogen.saving import Kind, kind_of

__all__ = ["DISTRIBUTIONS", "MANIFOLDS"]

_SIZES = ("outputs", "width", "depth")
_POTENTIAL = ("features", "frequency", "width", "depth", "bound")
_FLOW = ("power", "bins", "width", "code")
_FIELD = ("width", "depth", "context")
_NUMBERS = ("dim", "ambient_dim", "predictor_steps", "max_step", "max_iterations", "scale", "full_tolerance", "closest")


def _describe_implicit(manifold: ImplicitManifold) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    network = manifold.constraint
    if not isinstance(network, ConstraintNetwork):
        raise NotSupportedError(f"save: a constraint of type {type(network).__name__} is not registered; only learned constraints can be saved")
    config = {name: _finite(getattr(manifold, name)) for name in _NUMBERS} | {"network": {name: getattr(network, name) for name in _SIZES}}
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    if manifold.gate is not None:
        config["gate"] = {"radius": manifold.gate.radius, "minimum": manifold.gate.minimum}
        tensors["gate.anchors"] = manifold.gate.get_buffer("anchors")
    return config, tensors


def _build_implicit(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ImplicitManifold:
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


def _describe_shape(shape: Shape) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    return {"name": _shape_name(shape)}, {}


def _shape_name(shape: object) -> str | None:
    """Name of a shape with default radii, the only ones a file can hold today."""
    return next((name for name in SHAPES if _facts(get(name)) == _facts(shape)), None)


def _facts(shape: object) -> tuple[type, dict[str, Any]]:
    """Class and plain attributes, radii among them (a repr does not show these); what the class defines, cached values, is left out."""
    return type(shape), {key: value for key, value in vars(shape).items() if not hasattr(type(shape), key) and isinstance(value, (int, float, str))}


def _describe_atlas(atlas: Atlas) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    config, tensors = _describe_cover(atlas)
    if atlas.sheet is not None:
        kind = kind_of(atlas.sheet, MANIFOLDS)
        if kind is None:
            raise NotSupportedError(f"save: the sheet of the atlas, {atlas.sheet!r}, is of no registered kind")
        inner, own = kind.describe(atlas.sheet)
        config["sheet"] = {"kind": kind.name, "config": dict(inner)}
        tensors |= {f"sheet.{name}": value for name, value in own.items()}
    return config, tensors


def _describe_cover(atlas: Atlas) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """All of an atlas but its shared sheet."""
    config: dict[str, Any] = {"charts": _chart_sizes(atlas.charts), "sheet": None}
    tensors = {f"charts.{name}": value for name, value in atlas.charts.state_dict().items()}
    # A file holds finite numbers only; no point is farther from a sheet than the largest of them.
    tensors |= {"tau": atlas.tau.clamp(max=sys.float_info.max), "points": atlas.points}
    if atlas.sheet is None and atlas.gate is not None:
        config["gate"] = {"radius": atlas.gate.radius, "minimum": atlas.gate.minimum}
        tensors["gate.anchors"] = atlas.gate.get_buffer("anchors")
    return config, tensors


def _chart_sizes(charts: Charts) -> dict[str, Any]:
    if isinstance(charts, GraphCharts):
        return {"kind": "graph", "degree": charts.degree}
    if isinstance(charts, FlowCharts):
        return {"kind": "flow", "dim": charts.dim, "layers": charts.layers, "width": charts.width}
    raise NotSupportedError(f"save: charts of type {type(charts).__name__} are not registered")


def _build_atlas(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Atlas:
    sheet = None
    if config["sheet"] is not None:
        kind = MANIFOLDS[config["sheet"]["kind"]]
        if kind.name == "atlas":
            raise ValueError("the sheet of an atlas is an atlas")
        sheet = kind.build(config["sheet"]["config"], _part(tensors, "sheet."))
    return _build_cover(config, tensors, sheet)


def _build_cover(config: Mapping[str, Any], tensors: Mapping[str, Tensor], sheet: Manifold | None) -> Atlas:
    charts = _build_charts(config["charts"], _part(tensors, "charts."))
    gate = Gate(tensors["gate.anchors"], **config["gate"]) if "gate" in config else None
    return Atlas(charts, sheet, tau=tensors["tau"], points=tensors["points"], gate=gate)


def _build_charts(sizes: Mapping[str, Any], state: Mapping[str, Tensor]) -> Charts:
    common = state["centre"], state["tangent" if sizes["kind"] == "graph" else "frame"], state["radius"]
    if sizes["kind"] == "graph":
        return GraphCharts(*common, extent=state["extent"], heights=state["heights"], degree=int(sizes["degree"]))
    layers, width = int(sizes["layers"]), int(sizes["width"])
    charts = FlowCharts(*common, state["scale"], int(sizes["dim"]), extent=state["extent"], layers=layers, width=width).double()
    charts.load_state_dict(dict(state))
    return charts.frozen()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _build_uniform(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> Uniform:
    return Uniform(manifold, points=anchors, seed=int(config["seed"]))


def _describe_energy(energy: Energy) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    network, kernels = energy.energy, energy.proposal
    if not (energy.tilt and isinstance(network, CorrectionNetwork) and isinstance(kernels, TangentKernels)):
        raise NotSupportedError("save: only learned energies can be saved; save the model without its tilt, and tilt it again after loading")
    uniform = kernels.uniform
    config = {
        "seed": energy.seed, "network": {name: getattr(network, name) for name in _POTENTIAL}, "radius": kernels.radius, "kept": kernels.kept,
        "uniform": None if uniform is None else {"seed": uniform.seed, **_estimate(uniform.volume)},
    }  # fmt: skip
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    return config, {**tensors, "centres": kernels.centres, "widths": kernels.widths, "weights": kernels.weights}


def _estimate(volume: Estimate) -> dict[str, Any]:
    return {"volume": volume.value, "standard_error": volume.standard_error, "method": volume.method}


def _build_energy(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> Energy:
    state = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    network = CorrectionNetwork(state["centre"], float(state["scale"]), **config["network"])
    network.load_state_dict(state)
    kernels = TangentKernels(
        manifold, tensors["centres"], tensors["widths"], tensors["weights"], float(config["radius"]), kept=float(config["kept"]),
        uniform=_known_uniform(config["uniform"], manifold, anchors),
    )  # fmt: skip
    return Energy(manifold, network.requires_grad_(False), proposal=kernels, tilt=True, seed=int(config["seed"]))


def _known_uniform(config: Mapping[str, Any] | None, manifold: Manifold, anchors: Tensor) -> Uniform | None:
    """A uniform distribution whose volume is known already."""
    if config is None:
        return None
    volume = Estimate(float(config["volume"]), float(config["standard_error"]), str(config["method"]))
    return Uniform(manifold, points=anchors, seed=int(config["seed"]), volume=volume)


def _describe_mixture(mixture: ChartMixture) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    """Its charts, but not the sheet they lie on: that is the ground of the model's manifold."""
    config, tensors = _describe_cover(mixture.atlas)
    base, learned = _describe_base(mixture.base)
    shares = {"weights": mixture.weights, "kept": mixture.kept, "kept_error": mixture.kept_error}
    return config | {"sheet": "own" if mixture.atlas.sheet is None else "ground", "base": base}, {**tensors, **shares, **learned}


def _describe_base(base: BallBase) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if isinstance(base, Bump):
        return {"kind": "bump", "power": base.power}, {}
    if isinstance(base, BallFlow):
        return {"kind": "flow"} | {name: getattr(base, name) for name in _FLOW}, {f"base.{name}": value for name, value in base.state_dict().items()}
    raise NotSupportedError(f"save: a base of type {type(base).__name__} is not registered; use Bump or BallFlow")


def _build_mixture(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> ChartMixture:
    atlas = _build_cover(config, tensors, {"own": None, "ground": ground_of(manifold)}[config["sheet"]])
    base = _build_base(config["base"], _part(tensors, "base."), atlas)
    return ChartMixture(atlas, tensors["weights"], base=base, kept=tensors["kept"], kept_error=tensors["kept_error"])


def _build_base(config: Mapping[str, Any], state: Mapping[str, Tensor], atlas: Atlas) -> BallBase:
    if config["kind"] == "bump":
        return Bump(atlas.dim, float(config["power"]))
    if config["kind"] != "flow":
        raise ValueError(f"a base of kind {config['kind']!r}")
    flow = BallFlow(atlas.count, atlas.dim, **{name: config[name] for name in _FLOW}).to(state["codes"].dtype)
    flow.load_state_dict(dict(state))
    return flow.requires_grad_(False)


def _describe_carried(density: ContinuousFlow) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    ground, field = density.base.ground, density.field
    config: dict[str, Any] = {"volume": ground.volume, "tolerance": density.tolerance, "field": {name: getattr(field, name) for name in _FIELD}}
    config |= {"times": list(density.times)} if isinstance(density, Diffusion) else {}
    tensors = {f"field.{name}": value for name, value in field.state_dict().items()} | {"pool": ground.pool, "labels": ground.labels}
    if isinstance(density.base, ChartMixtureBase):
        inner, own = _describe_mixture(density.base.mixture)
        return config | {"base": dict(inner)}, tensors | {f"base.{name}": value for name, value in own.items()}
    if isinstance(density.base, HeatKernelBase):
        return config | {"base": "heated"}, tensors | {f"base.{name}": value for name, value in density.base.heat._asdict().items()}
    if not isinstance(density.base, UniformComponents):
        raise NotSupportedError(f"save: a base of type {type(density.base).__name__} is not registered")
    return config | {"base": None}, tensors | {"weights": density.base.weights}


def _build_base_of_motion(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold) -> tuple[Base, FieldNetwork]:
    ground = SampledManifold(ground_of(manifold), tensors["pool"], float(config["volume"]), tensors["labels"])
    state = _part(tensors, "field.")
    width, depth, context = (int(config["field"][name]) for name in _FIELD)
    times = None if config.get("times") is None else (float(config["times"][0]), float(config["times"][1]))
    field = FieldNetwork(
        state["centre"], float(state["scale"]), features=state["frequencies"].shape[1], width=width, depth=depth, context=context, times=times,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    field.load_state_dict(dict(state))
    if config["base"] is None:
        return UniformComponents(ground, tensors["weights"]), field
    if config["base"] == "heated":
        return HeatKernelBase(ground, HeatKernel(**_part(tensors, "base."))), field
    return ChartMixtureBase(ground, _build_mixture(config["base"], _part(tensors, "base."), manifold, ground.pool)), field


def _build_diffusion(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> Diffusion:
    base, field = _build_base_of_motion(config, tensors, manifold)
    low, high = (float(time) for time in config["times"])
    return Diffusion(base, field, (low, high), tolerance=float(config["tolerance"]))


def _build_flow_matching(config: Mapping[str, Any], tensors: Mapping[str, Tensor], manifold: Manifold, anchors: Tensor) -> FlowMatching:
    return FlowMatching(*_build_base_of_motion(config, tensors, manifold), tolerance=float(config["tolerance"]))


MANIFOLDS: dict[str, Kind] = {
    "implicit": Kind("implicit", lambda thing: isinstance(thing, ImplicitManifold), _describe_implicit, _build_implicit),
    "atlas": Kind("atlas", lambda thing: isinstance(thing, Atlas), _describe_atlas, _build_atlas),
    "shape": Kind(
        "shape", lambda thing: isinstance(thing, Shape) and _shape_name(thing) is not None, _describe_shape, lambda config, tensors: get(config["name"])
    ),
}

DISTRIBUTIONS: dict[str, Kind] = {
    "uniform": Kind("uniform", lambda thing: isinstance(thing, Uniform), lambda thing: ({"seed": thing.seed}, {}), _build_uniform),
    "energy": Kind("energy", lambda thing: isinstance(thing, Energy), _describe_energy, _build_energy),
    "charts": Kind("charts", lambda thing: isinstance(thing, ChartMixture), _describe_mixture, _build_mixture),
    "diffusion": Kind("diffusion", lambda thing: isinstance(thing, Diffusion), _describe_carried, _build_diffusion),
    "flow": Kind("flow", lambda thing: isinstance(thing, FlowMatching), _describe_carried, _build_flow_matching),
}
