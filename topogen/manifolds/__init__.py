"""Manifolds: the contract, implicit manifolds, atlases of charts, shapes with known truth, and geoopt's own through an adapter."""

from topogen.manifolds import shapes
from topogen.manifolds.adapter import adapt
from topogen.manifolds.arithmetic import Union, intersection, meeting_points
from topogen.manifolds.atlas import Atlas
from topogen.manifolds.base import Manifold, Projection
from topogen.manifolds.chart import Charts, GraphCharts
from topogen.manifolds.flow_chart import FlowCharts
from topogen.manifolds.gate import Gate
from topogen.manifolds.geodesics import Geodesics
from topogen.manifolds.implicit import ImplicitManifold
from topogen.manifolds.tabulated import Tabulated, tabulate

__all__ = [
    "Atlas",
    "Charts",
    "FlowCharts",
    "Gate",
    "Geodesics",
    "GraphCharts",
    "ImplicitManifold",
    "Manifold",
    "Projection",
    "Tabulated",
    "Union",
    "adapt",
    "intersection",
    "meeting_points",
    "shapes",
    "tabulate",
]
