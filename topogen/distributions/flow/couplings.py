"""Pairs of base and data points, and curves in M between them: what flow matching learns from.

Pairs are those of least total squared distance within batches (minibatch optimal transport) of one component and one context: the law of the base must not
depend on the context. Their curve is, in this order,

    the geodesic exp_x (t log_x y)                     where M knows it in closed form
    the projected chord proj((1 - t) x + t y)           where every point of it projects, from nearer than half the reach, and without a jump
    a shortest path in M                                (`geometry.paths`) where the chord does not

A curve that is left out would bias the law that is learned, so none is where a path exists. Positions and velocities between the nodes are those of the
cubic through four of them.
Tong et al. (2024), Improving and generalizing flow-based generative models with minibatch optimal transport; Chen, Lipman (2024), Flow matching on general
geometries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from topogen.distributions.fields.components import Base
from topogen.geometry.paths import along, minimal_paths
from topogen.manifolds.base import Manifold
from topogen.manifolds.geodesic_solver import GeodesicSolver

__all__ = ["Couplings", "Coupler", "between"]

NODES = 17
TRANSPORTED = 400
_JUMP = 3.0
_TOLERANCE = 1e-3


class Couplings(NamedTuple):
    """Curves `nodes` (n, 17, D) from base points to the rows `ends` (n,) of the data; shares of chords that were `illegal`, of pairs that were `lost`."""

    nodes: Tensor
    ends: Tensor
    illegal: float
    lost: float


class Coupler:
    """Couples points on a `ground` from draws of a `base` on it, to data (n, D) on M with contexts (n, c); `reach` of M in data units."""

    def __init__(self, base: Base, data: Tensor, reach: float, context: Tensor | None = None) -> None:
        self.base, self.data, self.reach, self.ground = base, data, reach, base.ground
        self.fast, self.context = base.ground.fast, context
        self._component = base.ground.component(data)
        self._group = self._component if context is None else _joint(self._component, context)
        self._search: GeodesicSolver | None = None

    @torch.no_grad()
    def couple(self, chosen: Tensor, generator: torch.Generator | None) -> Couplings:
        """Routes to the rows `chosen` (n,) of the data from fresh base points."""
        starts = self.base.within(self._component[chosen], generator, None if self.context is None else self.context[chosen])
        starts = starts[_transported(starts, self.data[chosen], self._group[chosen])]
        ends = self.data[chosen]
        if type(self.fast).logmap is not Manifold.logmap:
            return Couplings(_geodesics(self.fast, starts, ends), chosen, 0.0, 0.0)
        nodes, legal = self._chords(starts, ends)
        nodes[~legal], found = self._paths(starts[~legal], ends[~legal])
        legal_or_found = legal.clone()
        legal_or_found[~legal] = found
        lost = float((~legal_or_found).double().mean())
        return Couplings(nodes[legal_or_found], chosen[legal_or_found], float((~legal).double().mean()), lost)

    def _chords(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        t = torch.linspace(0, 1, NODES, dtype=x.dtype)[:, None]
        line = x.unsqueeze(1) + t * (y - x).unsqueeze(1)
        found = self.fast.project(line)
        far = (found.points - line).norm(dim=-1).amax(1) > 0.5 * self.reach
        jumps = found.points.diff(dim=1).norm(dim=-1).amax(1) > _JUMP * (y - x).norm(dim=-1) / (NODES - 1)
        return found.points, found.converged.all(1) & ~far & ~jumps

    def _paths(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if not len(x):
            return x.new_zeros(0, NODES, x.shape[1]), torch.zeros(0, dtype=torch.bool)
        if self._search is None:
            self._search = GeodesicSolver(self.fast, self.ground.pool, starts=1, n_nodes=NODES)
        found = minimal_paths(self._search.surface, self._search.graph, x, y, n_nodes=NODES, count=1, tolerance=_TOLERANCE)
        known = torch.isfinite(found.lengths)
        nodes = torch.where(known[:, None, None], found.nodes, 0.0)
        t = torch.linspace(0, 1, NODES, dtype=x.dtype).expand(len(x), -1)
        return self.fast.project(along(nodes, t)).points, known


def between(nodes: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Positions and velocities (n, D) at times t (n,) in [0, 1] of curves through equidistant nodes (n, m, D), by the cubic through four nodes around t."""
    last = nodes.shape[1] - 1
    first = (t * last).floor().long().sub(1).clamp(0, last - 3)
    local = (t * last - first).unsqueeze(1)
    rows = torch.arange(len(nodes)).unsqueeze(1)
    corners = nodes[rows, first.unsqueeze(1) + torch.arange(4)]
    weights, slopes = _lagrange(local)
    return (weights.unsqueeze(-1) * corners).sum(1), last * (slopes.unsqueeze(-1) * corners).sum(1)


def _lagrange(u: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and their derivatives (n, 4) of the cubic through values at 0, 1, 2, 3, at u (n, 1)."""
    a, b, c, d = u, u - 1, u - 2, u - 3
    weights = torch.cat([-b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6], 1)
    slopes = torch.cat([-(c * d + b * d + b * c) / 6, (c * d + a * d + a * c) / 2, -(b * d + a * d + a * b) / 2, (b * c + a * c + a * b) / 6], 1)
    return weights, slopes


def _geodesics(manifold: Manifold, x: Tensor, y: Tensor) -> Tensor:
    velocity = manifold.logmap(x, y)
    t = torch.linspace(0, 1, NODES, dtype=x.dtype)
    return torch.stack([manifold.expmap(x, share * velocity) for share in t.tolist()], 1)


def _joint(component: Tensor, context: Tensor) -> Tensor:
    """One label (n,) per component and context."""
    return torch.cat([component.unsqueeze(1).double(), context.double()], 1).unique(dim=0, return_inverse=True)[1]


def _transported(x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
    """Rows (n,) of x that are assigned to the rows of y, within batches of a group."""
    from scipy.optimize import linear_sum_assignment

    assigned = torch.empty(len(x), dtype=torch.int64)
    for c in labels.unique().tolist():
        for rows in (labels == c).nonzero()[:, 0].split(TRANSPORTED):
            cost = torch.cdist(y[rows], x[rows]).square()
            assigned[rows] = rows[torch.as_tensor(linear_sum_assignment(cost.numpy())[1])]
    return assigned
