"""Charts, covers and gates as plain values and tensors, and back to the same bits."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from topogen.errors import NotSupportedError
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.blended_charts import BlendedCharts
from topogen.manifolds.atlas.graph_charts import Charts, GraphCharts
from topogen.manifolds.base import Manifold
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.saving import part

__all__ = ["build_cover", "describe_cover"]

BLENDED = ("centre", "radius", "extent", "node", "owner", "value", "tilt", "back", "support")


def describe_cover(atlas: Atlas) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """All of an atlas but its shared sheet."""
    config: dict[str, Any] = {"charts": _chart_sizes(atlas.charts), "sheet": None}
    tensors = {f"charts.{name}": value for name, value in atlas.charts.state_dict().items()}
    # A file holds finite numbers only; no point is farther from a sheet than the largest of them.
    tensors |= {"tau": atlas.tau.clamp(max=sys.float_info.max), "points": atlas.points}
    if atlas.sheet is None and atlas.gate is not None:
        config["gate"] = {"radius": atlas.gate.radius, "minimum": atlas.gate.minimum}
        tensors["gate.anchors"] = atlas.gate.get_buffer("anchors")
    return config, tensors


def build_cover(config: Mapping[str, Any], tensors: Mapping[str, Tensor], sheet: Manifold | None) -> Atlas:
    """The atlas that `describe_cover` described, on its shared sheet."""
    charts = _build_charts(config["charts"], part(tensors, "charts."))
    gate = Gate(tensors["gate.anchors"], **config["gate"]) if "gate" in config else None
    return Atlas(charts, sheet, tau=tensors["tau"], points=tensors["points"], gate=gate)


def _chart_sizes(charts: Charts) -> dict[str, Any]:
    if isinstance(charts, GraphCharts):
        return {"kind": "graph", "degree": charts.degree}
    if isinstance(charts, BlendedCharts):
        return {"kind": "blended"}
    raise NotSupportedError(f"save: charts of type {type(charts).__name__} are not registered; use GraphCharts or BlendedCharts")


def _build_charts(sizes: Mapping[str, Any], state: Mapping[str, Tensor]) -> Charts:
    if sizes["kind"] == "blended":
        return BlendedCharts(**{name: state[name] for name in BLENDED})
    if sizes["kind"] != "graph":
        raise ValueError(f"charts of kind {sizes['kind']!r}")
    return GraphCharts(state["centre"], state["tangent"], state["radius"], extent=state["extent"], heights=state["heights"], degree=int(sizes["degree"]))
