"""Minimal geodesics between two points of a manifold that is given by its projection and its tangent bases.

Nodes x_0 = x, x_1, .., x_m = y on M minimise the chord energy; at its minimum the chords are equal and the polygon is the discrete geodesic:

    E = sum_i |x_{i+1} - x_i|^2 / 2,     x_i(a) = pi(x_i + T_i a_i),     w_i = x_{i+1} - 2 x_i + x_{i-1}
    dE/da_i = -T_i^t w_i,                d^2E = 2 on the diagonal, -T_i^t T_{i+1} beside it, and -<w_i, II(., .)> on the diagonal

Newton's step is one block tridiagonal solve; without the last term (Gauss-Newton) the matrix is always positive. Curves start from a neighbour graph
(`path_graph`), several per pair, on few nodes; the best are refined by doubling. A polygon with equal chords is short by a series in even powers
of their number, so its length is extrapolated from three of them (Romberg 1955).
Noakes (1998), A global algorithm for geodesics; Boumal (2023), An Introduction to Optimization on Smooth Manifolds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.newton import State, iterate
from topogen.geometry.path_graph import PathGraph, starts
from topogen.geometry.projection import Projection

__all__ = ["Paths", "PathSurface", "along", "end_directions", "minimal_paths", "polygon_length", "relax"]

_LEVELS = (9, 17, 33, 65)


class PathSurface(NamedTuple):
    """What a path has to know of M: `project` (..., D) -> Projection and `tangent_basis` (..., D) -> (..., D, d)."""

    project: Callable[[Tensor], Projection]
    tangent_basis: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Paths:
    """Shortest curves found between pairs of points, per pair.

    `nodes` (..., m, D) with equal chords; `lengths` (...), extrapolated, infinite (and nodes NaN) where no path was found; `converged` (...) bool, whether
    the nodes are a discrete geodesic; `candidates` (...) int64, how many different curves were compared.
    """

    nodes: Tensor
    lengths: Tensor
    converged: Tensor
    candidates: Tensor

    def reshape(self, leading: torch.Size) -> Paths:
        """The same paths with another leading shape."""
        nodes = self.nodes.reshape(*leading, *self.nodes.shape[-2:])
        return Paths(nodes, self.lengths.reshape(leading), self.converged.reshape(leading), self.candidates.reshape(leading))


class _Curves(NamedTuple):
    """Rows of curves on a common number of nodes, each for one pair."""

    nodes: Tensor
    pair: Tensor
    converged: Tensor

    def take(self, rows: Tensor) -> _Curves:
        return _Curves(self.nodes[rows], self.pair[rows], self.converged[rows])


def minimal_paths(surface: PathSurface, graph: PathGraph, x: Tensor, y: Tensor, *, n_nodes: int = 33, count: int = 3, tolerance: float = 1e-8) -> Paths:
    """Shortest geodesics from x to y (n, D) on M.

    `n_nodes` (9, 17, 33 or 65) nodes at least; `count` starts per pair through the graph; nodes move by less than `tolerance` of the length in the last step.
    """
    levels = _started(surface, graph, x, y, count, tolerance)
    kept = _winners(levels, len(x), margin=0.05)
    candidates = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    for curves in kept:
        candidates += torch.bincount(curves.pair, minlength=len(x))
    deepest = max((curves.nodes.shape[1] for curves in kept), default=9)
    final = min(max(n_nodes, 2 * deepest - 1), _LEVELS[-1])
    fine = [_refined(surface, curves, final, tolerance) for curves in kept]
    return _collected(_winners(fine, len(x), margin=0.0), x, final, candidates)


def relax(surface: PathSurface, nodes: Tensor, *, iterations: int = 40, tolerance: float = 1e-8) -> tuple[Tensor, Tensor]:
    """Nodes (n, m, D) of least chord energy with the same ends, and whether each curve (n,) reached it.

    A curve is done when its Newton step is below `tolerance` of its length; steps that do not lower its energy are shortened, then given up.
    The first two steps are Gauss-Newton's.
    """

    def step(nodes: Tensor, _: Tensor, *, newton: bool) -> tuple[State, Tensor]:
        move = _step(surface, nodes, newton=newton)
        length = _chords(nodes).sum(-1)
        size = move.norm(dim=-1).amax(-1)
        done = size <= tolerance * length
        nodes, moved = _descended(surface, nodes, move * (0.2 * length / size.clamp_min(1e-300)).clamp(max=1)[:, None, None], ~done)
        return (nodes, done), moved

    unknown = torch.zeros(len(nodes), dtype=torch.bool, device=nodes.device)
    begun = iterate(partial(step, newton=False), (nodes, unknown), max_iterations=min(2, iterations))
    nodes, converged = iterate(partial(step, newton=True), begun.state, max_iterations=iterations - 2, active=begun.active).state
    return nodes, converged


def polygon_length(nodes: Tensor) -> Tensor:
    """Length (n,) of the smooth curves through nodes (n, m, D), m - 1 a multiple of 4, extrapolated from m - 1, half and a quarter as many chords."""
    one, two, four = (_chords(nodes[:, ::stride]).sum(-1) for stride in (1, 2, 4))
    first, second = (4 * one - two) / 3, (4 * two - four) / 3
    return torch.maximum((16 * first - second) / 15, one)


def along(nodes: Tensor, t: Tensor) -> Tensor:
    """Points (n, k, D) at shares t (n, k) in [0, 1] of curves through nodes (n, m, D), by cubic interpolation of the four nodes around each."""
    m = nodes.shape[1]
    at = t * (m - 1)
    first = (at.floor().long() - 1).clamp(0, m - 4)
    s = at - first
    index = first.unsqueeze(-1) + torch.arange(4, device=nodes.device)
    around = nodes[torch.arange(len(nodes), device=nodes.device)[:, None, None], index]
    weights = [torch.stack([(s - j) / (i - j) for j in range(4) if j != i]).prod(0) for i in range(4)]
    return (torch.stack(weights, -1).unsqueeze(-1) * around).sum(-2)


def end_directions(nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives (n, D) by the share of the curve at its first and last node, by one-sided differences of fourth order."""
    weights = nodes.new_tensor([-25.0, 48.0, -36.0, 16.0, -3.0]) / 12 * (nodes.shape[1] - 1)
    return weights @ nodes[:, :5], -(weights @ nodes.flip(1)[:, :5])


def _started(surface: PathSurface, graph: PathGraph, x: Tensor, y: Tensor, count: int, tolerance: float) -> list[_Curves]:
    """Relaxed coarse curves, one group per number of nodes: the fewest on which every chord stays near M."""
    begun = starts(graph, surface.project, x, y, count=count, nodes=_LEVELS[-1])
    nodes, ok = _on(surface, begun.nodes)
    level = _levels(surface, nodes)
    groups = []
    for m in _LEVELS:
        rows = (level == m).nonzero().squeeze(-1)
        if len(rows):
            relaxed, converged = relax(surface, nodes[rows][:, :: (_LEVELS[-1] - 1) // (m - 1)], tolerance=max(tolerance, 1e-6))
            groups.append(_Curves(relaxed, begun.pair[rows], converged & ok[rows]))
    return groups


def _levels(surface: PathSurface, nodes: Tensor) -> Tensor:
    """For each curve (n, 65, D) the fewest nodes on which every chord stays near M, 0 where 65 are not enough: the curve jumps."""
    level = torch.where(_near(surface, nodes), _LEVELS[-1], 0)
    for m in reversed(_LEVELS[:-1]):
        rows = (level == 2 * m - 1).nonzero().squeeze(-1)
        level[rows[_near(surface, nodes[rows][:, :: (_LEVELS[-1] - 1) // (m - 1)])]] = m
    return level


def _near(surface: PathSurface, nodes: Tensor) -> Tensor:
    """Curves (n,) of which the middle of every chord is within .15 of its length of M: a chord between two sheets or pieces is not."""
    middle = (nodes[:, 1:] + nodes[:, :-1]) / 2
    found = surface.project(middle)
    length = nodes.norm(dim=-1).amax(-1, keepdim=True)
    near = found.converged & ((found.points - middle).norm(dim=-1) <= 0.15 * _chords(nodes) + 1e-8 * length)
    return near.all(-1)


def _refined(surface: PathSurface, curves: _Curves, m: int, tolerance: float) -> _Curves:
    nodes, converged = curves.nodes, curves.converged
    ok = torch.ones_like(converged)
    while nodes.shape[1] < m:
        doubled = nodes.new_zeros(len(nodes), 2 * nodes.shape[1] - 1, nodes.shape[2])
        doubled[:, ::2] = nodes
        doubled[:, 1::2] = (nodes[:, 1:] + nodes[:, :-1]) / 2
        nodes, ok = _on(surface, doubled)
        last = nodes.shape[1] == m
        nodes, converged = relax(surface, nodes, tolerance=tolerance if last else max(tolerance, 1e-6))
    return _Curves(nodes, curves.pair, converged & ok & _near(surface, nodes))


def _on(surface: PathSurface, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Interior nodes brought onto M, and the curves (n,) of which all were."""
    found = surface.project(nodes[:, 1:-1])
    return torch.cat([nodes[:, :1], found.points, nodes[:, -1:]], 1), found.converged.all(-1)


def _winners(groups: list[_Curves], n: int, margin: float) -> list[_Curves]:
    """Of each pair the curves within `margin` of its shortest, without repetitions; with margin 0 a single one."""
    if not groups:
        return groups
    group = torch.cat([torch.full_like(curves.pair, i) for i, curves in enumerate(groups)])
    row = torch.cat([torch.arange(len(curves.pair), device=curves.pair.device) for curves in groups])
    pair = torch.cat([curves.pair for curves in groups])
    middle = torch.cat([curves.nodes[:, curves.nodes.shape[1] // 2] for curves in groups])
    length = torch.cat([polygon_length(curves.nodes) for curves in groups])
    order = length.argsort(stable=True)
    order = order[pair[order].argsort(stable=True)]
    best = length.new_full((n,), torch.inf).scatter_reduce(0, pair, length, "amin")
    keep = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    for rank, i in enumerate(order.tolist()):
        rivals = [j for j in order[max(0, rank - 8) : rank].tolist() if pair[j] == pair[i] and keep[j]]
        new = all((middle[i] - middle[j]).norm() > 0.02 * best[pair[i]] for j in rivals)
        keep[i] = not rivals or (margin > 0 and length[i] <= (1 + margin) * best[pair[i]] and new)
    return [curves.take(row[keep & (group == i)]) for i, curves in enumerate(groups)]


def _collected(groups: list[_Curves], x: Tensor, m: int, candidates: Tensor) -> Paths:
    n, dim = x.shape
    nodes = x.new_full((n, m, dim), torch.nan)
    lengths = x.new_full((n,), torch.inf)
    converged = torch.zeros(n, dtype=torch.bool, device=x.device)
    for curves in groups:
        nodes[curves.pair] = curves.nodes
        lengths[curves.pair] = polygon_length(curves.nodes)
        converged[curves.pair] = curves.converged
    return Paths(nodes, lengths, converged, candidates)


def _chords(nodes: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(nodes[:, 1:] - nodes[:, :-1], dim=-1)
    return lengths


def _step(surface: PathSurface, nodes: Tensor, newton: bool) -> Tensor:
    """Newton's (or Gauss-Newton's) step (n, m - 2, D) of the interior nodes, tangent to M; Gauss-Newton where Newton's matrix is not positive."""
    x = nodes[:, 1:-1]
    basis = surface.tangent_basis(x)
    pull = nodes[:, 2:] - 2 * x + nodes[:, :-2]
    slope = (basis.mT @ pull.unsqueeze(-1)).squeeze(-1)
    beside = -(basis[:, :-1].mT @ basis[:, 1:])
    plain = (2 * torch.eye(basis.shape[-1], dtype=x.dtype, device=x.device)).expand(*x.shape[:2], -1, -1)
    diagonal = plain - _bent(surface, x, basis, pull, _chords(nodes).mean(-1)) if newton else plain
    step, positive = _tridiagonal(diagonal, beside, slope)
    if not bool(positive.all()):
        step[~positive] = _tridiagonal(plain[~positive], beside[~positive], slope[~positive])[0]
    return (basis @ step.unsqueeze(-1)).squeeze(-1)


def _bent(surface: PathSurface, x: Tensor, basis: Tensor, pull: Tensor, chord: Tensor) -> Tensor:
    """<w, II(T_a, T_b)> (n, k, d, d) by one-sided second differences of the projection; zero where it does not converge."""
    dim = basis.shape[-1]
    normal = pull - (basis @ (basis.mT @ pull.unsqueeze(-1))).squeeze(-1)
    a, b = torch.triu_indices(dim, dim, device=x.device)
    directions = torch.where((a == b), basis[..., a], basis[..., a] + basis[..., b]).movedim(-1, 0)
    # II enters with the small weight |w|: a step that is safe for any projection is worth more than its digits.
    h = (0.01 * chord)[:, None, None].clamp_min(1e-12)
    found = surface.project(x + h * directions)
    forms = (normal * (found.points - x)).sum(-1) * 2 / h.squeeze(-1) ** 2
    forms = torch.where(found.converged, forms, 0.0)
    result = x.new_zeros(*x.shape[:2], dim, dim)
    own = forms[a == b]
    for k, (i, j) in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        value = forms[k] if i == j else (forms[k] - own[i] - own[j]) / 2
        result[..., i, j] = result[..., j, i] = value
    return result


def _tridiagonal(diagonal: Tensor, beside: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solution (n, k, d) of symmetric block tridiagonal systems by elimination, and where they are safely positive (n,).

    `diagonal` (n, k, d, d), `beside` (n, k - 1, d, d) the blocks right of it, `right` (n, k, d).
    """
    k = diagonal.shape[1]
    factors: list[Tensor] = []
    values: list[Tensor] = []
    positive = torch.ones(len(diagonal), dtype=torch.bool, device=diagonal.device)
    for i in range(k):
        block, value = diagonal[:, i], right[:, i].unsqueeze(-1)
        if i:
            cross = beside[:, i - 1]
            solved = torch.cholesky_solve(torch.cat([cross, values[-1]], -1), factors[-1])
            block = block - cross.mT @ solved[..., :-1]
            value = value - cross.mT @ solved[..., -1:]
        factor, failed = torch.linalg.cholesky_ex(block)
        good = (failed == 0) & (factor.diagonal(dim1=-2, dim2=-1).amin(-1) > 1e-3)
        positive &= good
        factors.append(torch.where(good[:, None, None], factor, torch.eye(block.shape[-1], dtype=block.dtype, device=block.device)))
        values.append(value)
    solution = [torch.cholesky_solve(values[-1], factors[-1])]
    for i in range(k - 2, -1, -1):
        solution.append(torch.cholesky_solve(values[i] - beside[:, i] @ solution[-1], factors[i]))
    return torch.stack(solution[::-1], 1).squeeze(-1), positive


def _descended(surface: PathSurface, nodes: Tensor, move: Tensor, active: Tensor, trials: int = 5) -> tuple[Tensor, Tensor]:
    """Nodes after the longest of move, move/4, .. that does not raise the energy, and which of the `active` curves (n,) moved."""

    def shorten(nodes: Tensor, move: Tensor, _: Tensor, energy: Tensor) -> tuple[State, Tensor]:
        found = surface.project(nodes[:, 1:-1] + move)
        # A node that would leave M, over an edge or into a hole, stays where it is and lets the others go on.
        inner = torch.where(found.converged.unsqueeze(-1), found.points, nodes[:, 1:-1])
        trial = torch.cat([nodes[:, :1], inner, nodes[:, -1:]], 1)
        ok = _chords(trial).square().sum(-1) <= energy * (1 + 1e-13)
        return (torch.where(ok[:, None, None], trial, nodes), move / 4, ok), ~ok

    energy = _chords(nodes).square().sum(-1)
    nodes, _, moved = iterate(shorten, (nodes, move, torch.zeros_like(active)), (energy,), max_iterations=trials, active=active).state
    return nodes, moved
