"""The homology of a zero set in a box, by a grid: proved where the constraint's derivatives can be bounded on every cell.

For N_t = {x in the box : |F(x)| <= t} and closed cells with bounds low <= |F| <= high (`cell_bounds`), L_t = union of the cells with low <= t,

    N_t  in  L_t  in  N_s      with s = max high over the cells of L_t.

From a level a: A = L_a in N_t2, C = L_t2 in N_t3, so N_a in A in N_t2 in C in N_t3. Where |F| has no critical point with a < |F| <= t3 and the
tube N_t3 stays clear of the faces of the box, the gradient flow of |F|^2 retracts N_t3 to N_t2 and N_a, and

    beta_k(N_a)  =  rank( H_k(A) -> H_k(C) ) ,

a cubical persistence of three values. Regular constraints (as many outputs as normals, full rank on the tube) take a = 0: N_0 is the zero set itself, a closed
manifold. Constraints with more outputs have no zeros of their own but sections that vanish; for them the tube is what is certified, a > 0.
Cohen-Steiner, Edelsbrunner, Harer (2007), Stability of persistence diagrams; Kaczynski, Mischaikow, Mrozek (2004), Computational Homology; Milnor
(1963), Morse Theory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from topogen.errors import InvalidInputError, MissingDependencyError, NotSupportedError
from topogen.geometry.clouds.point_clouds import check_cloud
from topogen.geometry.meshing import extract_mesh
from topogen.manifolds.base import Manifold
from topogen.topology.level_sets.cell_bounds import Bounds, Enclosure, bounds, corners, enclosure_of
from topogen.topology.level_sets.surfaces import SurfaceFacts, surface_facts
from topogen.topology.persistence.budget import Budget, Cost

__all__ = ["LevelSet", "certify_level_set"]

MARGIN = 0.15
HIGHEST = 4
BYTES_CELL, SECONDS_CELL = 60, 4e-6
WIDE, COARSER, SAMPLES = 4.0, 4, 4096
ROUNDS, DEEPEST = 4, 3
MOST_CELLS = 3_000_000


@dataclass(frozen=True)
class LevelSet:
    """What the grid says of the zero set in the box from `lower` to `upper`; lengths in data units, values in the units of F.

    `betti[p]`: Betti numbers over Z/p, None where not decided, then `reason` says why and what would. `label`: "proved" or "heuristic" (bounds sampled), under
    `assumption`. `regular`: the constraint has full rank on the tube, so the zero set is a closed orientable manifold; otherwise the numbers are those of the
    tube {|F| <= level}. `level` a, `tube` t3; `margin`: what the smallest singular value (regular) or |J^t F| stays above on the tube;
    `leaks`: the tube reaches the faces of the box; `cells` of side `spacing` that carry it, `evaluated` ones in all; `mesh`: marching cubes' facts, a
    cross-check by another algorithm, where there is one.
    """

    betti: dict[int, tuple[int, ...]] | None
    label: str
    assumption: str
    regular: bool
    level: float
    tube: float
    margin: float
    leaks: bool
    spacing: float
    cells: int
    evaluated: int
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    mesh: SurfaceFacts | None
    reason: str
    seconds: float

    @property
    def euler(self) -> int | None:
        """Euler characteristic by the Betti numbers over Z/2 (or the first field), None where not decided."""
        return None if self.betti is None else sum((-1) ** k * b for k, b in enumerate(self.betti.get(2, next(iter(self.betti.values())))))

    @property
    def agrees(self) -> bool | None:
        """Whether Euler characteristic and number of pieces are those of the mesh; None where one of them is missing."""
        if self.betti is None or self.mesh is None:
            return None
        return self.euler == self.mesh.euler_characteristic and all(b[0] == self.mesh.components for b in self.betti.values())

    def to_text(self) -> str:
        """A few lines for people."""
        numbers = "not decided" if self.betti is None else ", ".join(f"Z/{p} ({','.join(map(str, b))})" for p, b in self.betti.items())
        what = "the zero set in the box" if self.regular else f"the tube |F| <= {self.level:.3g}"
        lines = [f"[{self.label}] {what}: Betti numbers {numbers}"]
        lines.append(f"tube |F| <= {self.tube:.3g}, margin {self.margin:.3g}, {self.cells} cells of side {self.spacing:.3g}, {self.evaluated} bounded")
        lines += [f"marching cubes: {self.mesh.to_text()} ({'agrees' if self.agrees else 'does NOT agree'})"] if self.mesh is not None else []
        return "\n".join([*lines, f"assumes {self.assumption}", *([f"undecided: {self.reason}"] if self.reason else [])])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; what is not finite becomes None."""
        plain = {key: value if not isinstance(value, float) or math.isfinite(value) else None for key, value in asdict(self).items()}
        betti = None if self.betti is None else {str(p): list(b) for p, b in self.betti.items()}
        return {**plain, "betti": betti, "mesh": None if self.mesh is None else self.mesh.to_dict(), "euler": self.euler, "agrees": self.agrees}


def certify_level_set(
    manifold: Manifold,
    points: Tensor | None = None,
    *,
    box: tuple[Sequence[float], Sequence[float]] | None = None,
    resolution: int = 64,
    level: float | None = None,
    fields: Sequence[int] = (2, 3),
    second_derivative: float | None = None,
    sampled: bool = False,
    budget: Budget | None = None,
) -> LevelSet:
    """Certify the Betti numbers of the zero set of a constraint F: R^D -> R^m, D <= 4, in a box.

    Args:
        manifold: its constraint is read as it is, without gate.
        points: (n, D) data; the box is theirs, enlarged by 15 %.
        box: lower and upper corners instead.
        resolution: cells along the longest side of the box; in R^4 take 24 or so.
        level: a >= 0; None: 0 for regular constraints, the largest |F| on the projected points otherwise.
        fields: primes p.
        second_derivative: a bound on the operator norm of D^2 F in the box, for a constraint that has no enclosure of its own.
        sampled: estimate the bounds even where they could be proved, which is quicker and needs fewer cells; the label is then "heuristic".
        budget: limits of the cubical complex.

    Raises NotSupportedError for D > 4, InvalidInputError for unusable boxes, BudgetExceeded before the work starts.

    Example:
        >>> from topogen.manifolds import ImplicitManifold
        >>> sphere = ImplicitManifold(lambda x: (x**2).sum(-1, keepdim=True) - 1, dim=2, ambient_dim=3)
        >>> certify_level_set(sphere, box=([-1.5] * 3, [1.5] * 3), resolution=32, second_derivative=2.0).betti
        {2: (1, 0, 1), 3: (1, 0, 1)}
    """
    began = time.perf_counter()
    _check(manifold, resolution, level, second_derivative)
    grid = _grid(manifold, points, box, resolution)
    (Budget() if budget is None else budget).check(grid.cost, f"cubical complex of {' x '.join(map(str, grid.shape))} cells")
    enclosure = enclosure_of(manifold, second_derivative, sampled=sampled)
    regular = manifold.regular
    start = level if level is not None else 0.0 if regular else _level(manifold, points, grid.side)
    tube = _tube(grid, enclosure, start)
    margin, evaluated = _margin(grid, enclosure, tube, regular)
    leaks = bool(grid.outermost(tube.cells[tube.low <= tube.outer]).any())
    reason = _reason(tube, margin, leaks, regular, grid)
    betti = None if reason else _betti(grid, tube, fields, manifold.dim if regular else manifold.ambient_dim - 1)
    return LevelSet(
        betti=betti,
        label=enclosure.label,
        assumption=enclosure.assumption,
        regular=regular and margin > 0,
        level=start,
        tube=tube.outer,
        margin=margin,
        leaks=leaks,
        spacing=grid.side,
        cells=int((tube.low <= tube.inner).sum()),
        evaluated=tube.evaluated + evaluated,
        lower=tuple(grid.lower.tolist()),
        upper=tuple((grid.lower + grid.side * torch.tensor(grid.shape)).tolist()),
        mesh=_mesh(manifold, grid) if regular and not reason else None,
        reason=reason,
        seconds=time.perf_counter() - began,
    )


class _Grid(NamedTuple):
    """Cubes of one `side` in a box from `lower` (D,) of `shape` cells, each number a multiple of COARSER."""

    lower: Tensor
    side: float
    shape: tuple[int, ...]

    @property
    def cost(self) -> Cost:
        """Cells of all dimensions, of the whole box; only the tube's are kept."""
        count = math.prod(2.0 * n + 1 for n in self.shape)
        return Cost(count, BYTES_CELL * count, SECONDS_CELL * count)

    def centres(self, index: Tensor, side: float) -> Tensor:
        """Centres (n, D) of the cells with these indices in the grid of this side."""
        return self.lower + side * (index.double() + 0.5)

    def outermost(self, index: Tensor) -> Tensor:
        """Which cells (n, D) touch a face of the box."""
        return ((index == 0) | (index == torch.tensor(self.shape) - 1)).any(1)


class _Tube(NamedTuple):
    """Indices `cells` (n, D) with bounds `low`, `high` of |F|; levels `start` a, `inner` t2 and `outer` t3; infinite where the chain does not close."""

    start: float
    cells: Tensor
    low: Tensor
    high: Tensor
    inner: float
    outer: float
    evaluated: int


def _check(manifold: Manifold, resolution: int, level: float | None, second_derivative: float | None) -> None:
    if manifold.constraint is None:
        raise NotSupportedError(f"certify_level_set: {type(manifold).__name__} has no constraint; topogen.certify reads atlases, topogen.verify the rest")
    if manifold.ambient_dim > HIGHEST:
        raise NotSupportedError(
            f"certify_level_set: a grid in R^{manifold.ambient_dim} is out of reach (R^{HIGHEST} is the limit); topogen.verify judges samples, and looks"
            " for ghosts from starts all over the box"
        )
    if isinstance(resolution, bool) or not isinstance(resolution, int) or resolution < 2 * COARSER:
        raise InvalidInputError(f"resolution: expected an integer of at least {2 * COARSER} cells, found {resolution!r}")
    for name, value in (("level", level), ("second_derivative", second_derivative)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidInputError(f"{name}: expected a finite number >= 0, found {value}")


def _grid(manifold: Manifold, points: Tensor | None, box: tuple[Sequence[float], Sequence[float]] | None, resolution: int) -> _Grid:
    if (points is None) == (box is None):
        raise InvalidInputError("points, box: expected one of them, to say where to look; found " + ("neither" if box is None else "both"))
    if points is not None:
        check_cloud(points)
        cloud = points.detach().to(device="cpu", dtype=torch.float64)
        margin = MARGIN * (cloud.amax(0) - cloud.amin(0)).max()
        low, high = cloud.amin(0) - margin, cloud.amax(0) + margin
    else:
        low, high = (torch.as_tensor(corner, dtype=torch.float64) for corner in box or ())
    expected = (manifold.ambient_dim,)
    if low.shape != expected or high.shape != expected or not bool((torch.isfinite(high - low) & (high > low)).all()):
        raise InvalidInputError(f"points, box: expected finite corners {expected} with lower < upper, found {low.tolist()} and {high.tolist()}")
    side = float((high - low).max()) / resolution
    shape = tuple(COARSER * math.ceil(float(n) / side / COARSER - 1e-9) for n in high - low)
    return _Grid((low + high) / 2 - side / 2 * torch.tensor(shape, dtype=torch.float64), side, shape)


def _level(manifold: Manifold, points: Tensor | None, side: float) -> float:
    """The largest |F| where the data project to, below which an overcomplete constraint need not fall, but at least what cells of this side resolve."""
    if points is None:
        raise InvalidInputError(
            f"level: a constraint with {manifold.outputs} outputs for {manifold.codim} normals need not vanish on its manifold; pass points=, or level="
        )
    found = manifold.project(points[:: max(1, len(points) // SAMPLES)].detach().double())
    if not bool(found.converged.any()):
        raise InvalidInputError("points: none of them projects onto the manifold; pass points near it, or level=")
    return max(side, 1.1 * float(manifold.full_residual(found.points[found.converged]).max()))


def _tube(grid: _Grid, enclosure: Enclosure, start: float) -> _Tube:
    """The cells with |F| up to t3, found from coarse cells downwards; what lies beyond a cap is dropped early, and the cap raised where t3 lies above."""
    cap, evaluated = start + WIDE * math.sqrt(len(grid.shape)) * grid.side, 0
    for _ in range(ROUNDS):
        index, found, count = _near(grid, enclosure, cap)
        evaluated += count
        seeds = found.low <= start
        inner = float(found.high[seeds].max()) if bool(seeds.any()) else start
        within = found.low <= inner
        outer = float(found.high[within].max()) if bool(within.any()) else start
        if outer <= cap:
            return _Tube(start, index, found.low, found.high, inner, outer, evaluated)
        cap = 1.2 * outer
        if not math.isfinite(cap):
            break
    return _Tube(start, index, found.low, found.high, math.inf, math.inf, evaluated)


def _near(grid: _Grid, enclosure: Enclosure, cap: float) -> tuple[Tensor, Bounds, int]:
    """Indices of the cells where |F| <= cap is possible, their bounds, and how many cells were bounded on the way."""
    factor, evaluated = COARSER, 0
    index = torch.cartesian_prod(*(torch.arange(n // factor) for n in grid.shape)).reshape(-1, len(grid.shape))
    while True:
        found = bounds(enclosure, grid.centres(index, factor * grid.side), factor * grid.side)
        evaluated += len(index)
        keep = found.low <= cap
        index, found = index[keep], Bounds(*(part[keep] for part in found))
        if factor == 1:
            return index, found, evaluated
        factor //= 2
        index = _children(index)


def _children(index: Tensor) -> Tensor:
    steps = ((corners(index.shape[1]) + 1) / 2).long()
    return (2 * index.unsqueeze(1) + steps).reshape(-1, index.shape[1])


def _margin(grid: _Grid, enclosure: Enclosure, tube: _Tube, regular: bool) -> tuple[float, int]:
    """What sigma_min(J) (regular) or |J^t F| stays above where start < |F| <= t3, on cells split until it is positive; -inf where that fails."""
    if not math.isfinite(tube.outer):
        return -math.inf, 0
    index, side, least, evaluated = tube.cells[tube.low <= tube.outer], grid.side, math.inf, 0
    for _ in range(DEEPEST + 1):
        if evaluated + len(index) > MOST_CELLS:
            return -math.inf, evaluated
        found = bounds(enclosure, grid.centres(index, side), side)
        evaluated += len(index)
        inside = (found.low <= tube.outer) & (regular | (found.high > tube.start))
        index, measure = index[inside], (found.slope if regular else found.push)[inside]
        least = min([least, *measure[measure > 0].amin(0, keepdim=True).tolist()]) if bool((measure > 0).any()) else least
        index, side = _children(index[measure <= 0]), side / 2
        if not len(index):
            return least, evaluated
    return -math.inf, evaluated


def _reason(tube: _Tube, margin: float, leaks: bool, regular: bool, grid: _Grid) -> str:
    finer = f"raise resolution (side {grid.side:.3g} now)"
    if not math.isfinite(tube.outer):
        return f"the bounds on cells are too wide to close the chain of tubes; {finer}"
    if not len(tube.cells) or not bool((tube.low <= tube.inner).any()):
        return ""
    if leaks:
        return f"the tube |F| <= {tube.outer:.3g} reaches the faces of the box: enlarge the box, or {finer}"
    if margin <= 0:
        what = "full rank of the Jacobian" if regular else "a gradient of |F| other than zero"
        return f"{what} is not shown on the tube |F| <= {tube.outer:.3g}: {finer}, which narrows it, or the constraint is singular there"
    return ""


def _betti(grid: _Grid, tube: _Tube, fields: Sequence[int], top: int) -> dict[int, tuple[int, ...]]:
    """Ranks of H_k(A) -> H_k(C), A: low <= start, C: low <= t2, degrees 0 to `top`."""
    from gudhi import CubicalComplex

    within = tube.low <= tube.inner
    if not bool(within.any()):
        return dict.fromkeys(fields, (0,) * (top + 1))
    index = tube.cells[within]
    first = index.amin(0)
    values = torch.full(tuple((index.amax(0) - first + 3).tolist()), 2.0, dtype=torch.float64)
    values[tuple((index - first + 1).T)] = torch.where(tube.low[within] <= tube.start, 0.0, 1.0).double()
    complex_ = CubicalComplex(top_dimensional_cells=values.numpy())
    found = {}
    for p in fields:
        complex_.compute_persistence(homology_coeff_field=p, min_persistence=1.5)
        found[p] = tuple(len(complex_.persistence_intervals_in_dimension(k)) for k in range(top + 1))
    return found


def _mesh(manifold: Manifold, grid: _Grid) -> SurfaceFacts | None:
    """Marching cubes' facts of a surface in R^3; None elsewhere and without scikit-image."""
    if (manifold.ambient_dim, manifold.outputs) != (3, 1):
        return None
    upper = grid.lower + grid.side * torch.tensor(grid.shape, dtype=torch.float64)
    try:
        return surface_facts(*extract_mesh(lambda x: manifold.value(x)[:, 0], grid.lower, upper, max(grid.shape) + 1))
    except (MissingDependencyError, InvalidInputError):  # not installed, or nothing crosses the box
        return None
