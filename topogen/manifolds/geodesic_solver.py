"""Geodesics of a manifold between given points: `GeodesicSolver(manifold, points)` keeps the neighbour graph that every search starts from.

    dist(x, y) = least length of a curve in M from x to y,      exp_x(log_x y) = y with |log_x y| = dist(x, y)

Curves are found by `geometry.paths`; the logarithm starts from the curve's direction at x and is corrected by Newton's method on the exponential map.
Points in different components have infinite distance and no logarithm (NaN): failure is data, per pair.

A solver owns its graph. `Manifold.dist` and `logmap` ask `solver_near`, which keeps one graph per manifold, for as long as the manifold lives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.farthest_points import spread_out
from topogen.geometry.derivatives import with_jacobians
from topogen.geometry.exponential_map import differentials, exponential_map
from topogen.geometry.newton import State, iterate, select_rows
from topogen.geometry.path_graph import PathGraph, path_graph
from topogen.geometry.paths import Paths, PathSurface, along, end_directions, minimal_paths
from topogen.geometry.projection import Projection

__all__ = ["Embedded", "GeodesicSolver", "checked_pair", "distance", "finite", "logarithm", "solver_near", "surroundings"]

_NODES = (9, 17, 33, 65)
_SECOND = "logmap, dist: geodesics have first derivatives in their ends only; compute second ones by differences"


class Embedded(Protocol):
    """What geodesics need of a manifold in R^D; every `Manifold` has it."""

    ambient_dim: int

    def project(self, x: Tensor) -> Projection:
        """Projections of points (..., D)."""
        ...

    def tangent_basis(self, x: Tensor) -> Tensor:
        """Orthonormal tangent bases (..., D, d) at points (..., D) of M."""
        ...

    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Tangential parts (..., D) of vectors u (..., D) at points x."""
        ...

    def as_rows(self, x: Tensor) -> Tensor:
        """Points (..., D) as rows (n, D), checked."""
        ...

    def known_points(self) -> Tensor | None:
        """Points (n, D) that cover M, where they are known."""
        ...


SolverFor = Callable[[Tensor, Tensor], "GeodesicSolver"]
"""Points x and y (n, D) -> the solver to ask."""


class GeodesicSolver:
    """Minimal geodesics of `manifold`, searched from known points.

    Args:
        manifold: any `Manifold`; only its projection and tangents are used.
        points: (n, D) points on or near M that cover it, data or samples; they are projected, and those that do not converge are left out.
            Or the `graph` of another solver of the same manifold, taken as it is.
        neighbours: edges per point of the graph.
        max_points: the graph keeps at most so many points, spread evenly.
        starts: different curves tried per pair, for the homotopy classes.
        n_nodes: nodes of a curve, 9, 17, 33 or 65 (33: relative error of a distance about 1e-6).

    Raises InvalidInputError for points of the wrong shape, with NaN, or none that converge.
    """

    def __init__(
        self, manifold: Embedded, points: Tensor | PathGraph, *, neighbours: int = 12, max_points: int = 2000, starts: int = 3, n_nodes: int = 33
    ) -> None:
        if n_nodes not in _NODES:
            raise InvalidInputError(f"n_nodes: expected one of {_NODES}, found {n_nodes!r}; use interpolate(x, y, t) for other numbers of points")
        if min(neighbours, max_points, starts) < 1:
            raise InvalidInputError(f"neighbours, max_points, starts: expected at least 1, found {neighbours}, {max_points}, {starts}")
        self.manifold = manifold
        self.starts, self.n_nodes = starts, n_nodes
        self.surface = PathSurface(manifold.project, manifold.tangent_basis)
        self.graph = points if isinstance(points, PathGraph) else self._graph(finite("points", manifold.as_rows(points)), neighbours, max_points)

    @torch.no_grad()
    def _graph(self, points: Tensor, neighbours: int, max_points: int) -> PathGraph:
        found = self.manifold.project(spread_out(points.detach().double(), max_points)) if len(points) else None
        if found is None or not bool(found.converged.any()):
            raise InvalidInputError(f"points: none of the {len(points)} points projects onto {self.manifold!r}; pass data or samples of it")
        return path_graph(self.surface.project, found.points[found.converged], neighbours)

    def paths(self, x: Tensor, y: Tensor) -> Paths:
        """Shortest curves between points x and y (..., D) of M, broadcast over leading dimensions, in float64: nodes (..., m, D), lengths (...), masks.

        Raises InvalidInputError for a wrong last dimension, a dtype that is not floating, or values that are not finite.
        """
        x, y = checked_pair(self.manifold, x, y)
        with torch.no_grad():
            a, b = (z.detach().double().reshape(-1, z.shape[-1]) for z in (x, y))
            return minimal_paths(self.surface, self.graph, a, b, n_nodes=self.n_nodes, count=self.starts).reshape(x.shape[:-1])

    def dist(self, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
        """Geodesic distances (...) of points x and y (..., D) of M, infinite where no path was found; differentiable in both.

        The derivatives are the unit tangents at the ends (first variation of length), zero where the distance is zero or infinite. A second one raises
        NotSupportedError.
        """
        return distance(self.manifold, lambda *_: self, x, y, keepdim=keepdim)

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """Initial velocities (..., D) at x of the shortest geodesics that reach y (..., D) after unit time; NaN where no path was found.

        Newton's method on the exponential map is kept per pair as far as it comes nearer to y; between conjugate points the curve's own direction stands.
        Differentiable in x and y along M; a second derivative raises NotSupportedError.
        """
        return logarithm(self.manifold, lambda *_: self, x, y)

    def _log(self, x: Tensor, y: Tensor, paths: Paths) -> Tensor:
        """log_x(y) (n, D) float64, NaN where there is no path."""
        return self._shot_along(x, y, self._ends(paths, x)[0], paths.lengths)

    def _arrival(self, x: Tensor, y: Tensor, paths: Paths) -> Tensor:
        """-log_y(x) (n, D): the velocity with which the geodesic arrives."""
        return -self._shot_along(y, x, -self._ends(paths, x)[1], paths.lengths)

    def _shot_along(self, x: Tensor, y: Tensor, start: Tensor, lengths: Tensor) -> Tensor:
        found, velocity = torch.isfinite(lengths), torch.full_like(x, torch.nan)
        first = _units(self.manifold.proju(x[found], start[found])) * lengths[found].unsqueeze(-1)
        velocity[found] = self._shot(x[found], y[found], first)
        return velocity

    def _log_jacobians(self, x: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives (n, D, D) of log_x(y) in x and in y, from exp(x, log_x(y)) = y.

        With A = D_v exp on T_xM: D_y log = T A^+, and along a tangent t of x, carried to v' = P(x')v, D_x log t = II(t, v) - T A^+ D exp(x', v').
        """
        basis = self.manifold.tangent_basis(x)
        change = differentials(lambda z: self.manifold.project(z).points, self.manifold.proju, x, velocity.nan_to_num(), basis, self.graph.spacing)
        inverse = basis @ torch.linalg.pinv(change.along)
        bent = change.carried - basis @ (basis.mT @ change.carried)
        lost = torch.isnan(velocity).any(-1)[:, None, None]
        return torch.where(lost, torch.nan, (bent - inverse @ change.moved) @ basis.mT), torch.where(lost, torch.nan, inverse)

    def interpolate(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """Points (..., k, D) at shares t (k,) in [0, 1] of the length of the shortest geodesics from x to y (..., D); NaN where no path was found."""
        x, y = checked_pair(self.manifold, x, y)
        if t.ndim != 1 or not bool(((t >= 0) & (t <= 1)).all()):
            raise InvalidInputError(f"t: expected shares (k,) within [0, 1], found shape {tuple(t.shape)}; extend geodesics with expmap")
        nodes = self.paths(x, y).nodes
        flat = nodes.reshape(-1, *nodes.shape[-2:])
        points = along(flat, t.to(flat).expand(len(flat), -1))
        return self.manifold.project(points).points.reshape(*x.shape[:-1], len(t), x.shape[-1]).to(x.dtype)

    def covers(self, x: Tensor) -> bool:
        """Whether every one of the points x (..., D) is about as near to the graph as its points are to each other."""
        distance = torch.cdist(self.manifold.as_rows(x).detach().double(), self.graph.points).amin(-1)
        return bool((distance <= 3 * self.graph.spacing).all())

    def _ends(self, paths: Paths, like: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of the curves at both ends, in the shape and dtype of `like`; zero where there is no curve."""
        first, last = end_directions(paths.nodes.reshape(-1, *paths.nodes.shape[-2:]))
        return first.nan_to_num().reshape(like.shape).to(like.dtype), last.nan_to_num().reshape(like.shape).to(like.dtype)

    def _shot(self, x: Tensor, y: Tensor, velocity: Tensor, rounds: int = 4) -> Tensor:
        """Velocities (n, D) at x whose geodesics end nearer to y, by Newton's method with differences in the tangent space."""

        def step(velocity: Tensor, target: Tensor, error: Tensor, x: Tensor, y: Tensor, basis: Tensor) -> tuple[State, Tensor]:
            trial = velocity + self._correction(x, velocity, y - target, target, basis)
            end = self._reached(x, trial)
            missed = (y - end).norm(dim=-1)
            better = missed < error
            return select_rows(better, (trial, end, missed), (velocity, target, error)), better & (missed > 1e-10 * trial.norm(dim=-1))

        target = self._reached(x, velocity)
        error = (y - target).norm(dim=-1)
        fixed = (x, y, self.manifold.tangent_basis(x))
        return iterate(step, (velocity, target, error), fixed, max_iterations=rounds, active=error > 1e-10 * velocity.norm(dim=-1)).state[0]

    def _correction(self, x: Tensor, velocity: Tensor, miss: Tensor, end: Tensor, basis: Tensor) -> Tensor:
        h = 1e-5 * velocity.norm(dim=-1).clamp_min(1e-12)
        columns = [(self._reached(x, velocity + h[:, None] * basis[..., i]) - end) / h[:, None] for i in range(basis.shape[-1])]
        jacobian = torch.stack(columns, -1)
        # A damped normal equation: near conjugate points the Jacobian loses rank.
        normal = jacobian.mT @ jacobian
        ridge = 1e-12 * normal.diagonal(dim1=-2, dim2=-1).amax(-1)[:, None, None] + 1e-300
        eye = torch.eye(normal.shape[-1], dtype=x.dtype, device=x.device)
        step = torch.linalg.solve(normal + ridge * eye, jacobian.mT @ miss.unsqueeze(-1))
        return (basis @ step).squeeze(-1)

    def _reached(self, x: Tensor, velocity: Tensor) -> Tensor:
        return exponential_map(lambda z: self.manifold.project(z).points, self.manifold.proju, x, velocity)

    def __repr__(self) -> str:
        return f"GeodesicSolver({self.manifold!r}, points={len(self.graph.points)}, spacing={self.graph.spacing:.3g})"


def distance(manifold: Embedded, solver: SolverFor, x: Tensor, y: Tensor, *, keepdim: bool = False) -> Tensor:
    """`GeodesicSolver.dist` by the solver that is found for the plain points."""
    x, y = checked_pair(manifold, x, y)

    def compute(a: Tensor, b: Tensor) -> tuple[Tensor, Callable[[], tuple[Tensor, ...]]]:
        by = solver(a, b)
        paths = by.paths(a, b)
        return paths.lengths.unsqueeze(-1), lambda: (_slopes(-by._log(a, b, paths)), _slopes(by._arrival(a, b, paths)))

    length = with_jacobians(compute, (_rows(x), _rows(y)), _SECOND).to(x.dtype).reshape(x.shape[:-1])
    return length.unsqueeze(-1) if keepdim else length


def logarithm(manifold: Embedded, solver: SolverFor, x: Tensor, y: Tensor) -> Tensor:
    """`GeodesicSolver.logmap` by the solver that is found for the plain points."""
    x, y = checked_pair(manifold, x, y)

    def compute(a: Tensor, b: Tensor) -> tuple[Tensor, Callable[[], tuple[Tensor, ...]]]:
        by = solver(a, b)
        velocity = by._log(a, b, by.paths(a, b))
        return velocity, lambda: by._log_jacobians(a, velocity)

    return with_jacobians(compute, (_rows(x), _rows(y)), _SECOND).reshape(x.shape).to(x.dtype)


def _rows(x: Tensor) -> Tensor:
    return x.double().reshape(-1, x.shape[-1])


class _Kept(NamedTuple):
    """The graph kept for a manifold, and whether it was made of points that cover all of M or only of surroundings."""

    graph: PathGraph
    complete: bool


# Graphs are tensors alone and do not hold on to their manifold; copies of a manifold and unpickled ones make their own.
_KEPT: WeakKeyDictionary[Embedded, _Kept] = WeakKeyDictionary()


def solver_near(manifold: Embedded, x: Tensor, y: Tensor) -> GeodesicSolver:
    """The solver for points x and y (..., D) of M: on the manifold's known points, else on `surroundings` of what it is asked for.

    Its graph is kept for the next call, and made anew where it does not cover all of M nor the new ends.
    Raises InvalidInputError as `checked_pair` does, or where nothing projects.
    """
    ends = torch.cat([manifold.as_rows(z).detach().double() for z in checked_pair(manifold, x, y)])
    kept = _KEPT.get(manifold)
    if kept is not None:
        solver = GeodesicSolver(manifold, kept.graph)
        if kept.complete or solver.covers(ends):
            return solver
    known = manifold.known_points()
    solver = GeodesicSolver(manifold, surroundings(manifold, ends) if known is None else known)
    _KEPT[manifold] = _Kept(solver.graph, known is not None)
    return solver


def checked_pair(manifold: Embedded, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """x and y broadcast to one shape (..., D); raises InvalidInputError unless both are finite floating points of R^D of one dtype and fit together."""
    for name, z in (("x", x), ("y", y)):
        finite(name, manifold.as_rows(z))
    if x.dtype != y.dtype:
        raise InvalidInputError(f"y: expected the dtype {x.dtype} of x, found {y.dtype}; convert one of them")
    try:
        first, second = torch.broadcast_tensors(x, y)
    except RuntimeError:
        raise InvalidInputError(f"y: shape {tuple(y.shape)} does not broadcast with {tuple(x.shape)} of x") from None
    return first, second


@torch.no_grad()
def surroundings(manifold: Embedded, x: Tensor, n: int = 1500, seed: int = 0) -> Tensor:
    """Points (m, D) of a manifold of which only x (k, D) are known: random points of a growing box around them, projected.

    The box starts at the spread of x, is enlarged to what was reached and stops growing when nothing new is; m <= n. The draws are fixed by `seed`.
    """
    generator = torch.Generator().manual_seed(seed)
    known = manifold.as_rows(x).detach().double()
    for _ in range(6):
        low, high = known.amin(0), known.amax(0)
        margin = 0.3 * (high - low).amax().clamp_min(1e-3 * (1 + float(known.abs().max())))
        draws = torch.rand(n, manifold.ambient_dim, generator=generator, dtype=torch.float64).to(known.device)
        found = manifold.project(low - margin + draws * (high - low + 2 * margin))
        reached = found.points[found.converged]
        inside = ((reached >= low - 2 * margin) & (reached <= high + 2 * margin)).all(-1)
        before, known = known, torch.cat([known, reached[inside]])
        grown = (known.amax(0) - known.amin(0)).amax() > 1.02 * (before.amax(0) - before.amin(0)).amax()
        known = spread_out(known, 2 * n)
        if not grown:
            break
    return spread_out(known, n)


def _slopes(velocity: Tensor) -> Tensor:
    """Unit vectors (n, 1, D), zero where there is no direction."""
    return _units(velocity).nan_to_num().unsqueeze(-2)


def _units(vectors: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.where(length > 0, vectors / length.clamp_min(1e-300 if vectors.dtype == torch.float64 else 1e-30), 0.0)


def finite(name: str, x: Tensor) -> Tensor:
    """x (n, D) itself; raises InvalidInputError naming the argument and how many of its rows are not finite."""
    bad = int((~torch.isfinite(x.detach()).all(-1)).sum())
    if bad:
        raise InvalidInputError(f"{name}: {bad} of {len(x)} rows are not finite; leave them out")
    return x
