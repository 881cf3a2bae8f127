"""Manifolds: the contract, implicit manifolds, atlases of charts, shapes with known truth, and geoopt's own through an adapter."""

from topogen.manifolds import shapes
from topogen.manifolds.adapter import adapt
from topogen.manifolds.arithmetic import Union, intersection, meeting_points
from topogen.manifolds.atlas.atlas import Atlas
from topogen.manifolds.atlas.graph_charts import Charts, GraphCharts
from topogen.manifolds.atlas.laplacian import eigenfunctions
from topogen.manifolds.base import Manifold, Projection
from topogen.manifolds.geodesic_solver import GeodesicSolver
from topogen.manifolds.implicit.boundary_gate import Gate
from topogen.manifolds.implicit.implicit import ImplicitManifold
from topogen.manifolds.in_subspace import InSubspace
from topogen.manifolds.local_polynomial import LocalPolynomialManifold, fit_local_polynomials

__all__ = [
    "Atlas",
    "Charts",
    "Gate",
    "GeodesicSolver",
    "GraphCharts",
    "ImplicitManifold",
    "InSubspace",
    "Manifold",
    "Projection",
    "LocalPolynomialManifold",
    "Union",
    "adapt",
    "eigenfunctions",
    "intersection",
    "meeting_points",
    "shapes",
    "fit_local_polynomials",
]
