"""Persistence diagrams of clouds over several prime fields, every value a radius in data units.

A bar [b, d) in degree k is a class of H_k born when balls of radius b are put round the points and filled at radius d. Two filtrations:

    "cech"  alpha complex, the exact homology of the union of balls of radius s (R^1 to R^3)
    "rips"  a simplex appears at half its diameter: Cech(s) in Rips(s) in Cech(theta s), theta = sqrt(2 D / (D + 1)) (Jung)

Both engines are GUDHI's. Rips (Ripser with edge collapse) is under the MIT licence; the alpha complex links CGAL, and this part of
GUDHI is under the GPL version 3: `engine="rips"` avoids it.

Edelsbrunner, Harer (2010), Computational Topology; Bauer (2021), Ripser; Jung (1901), Ueber die kleinste Kugel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.point_clouds import check_cloud, first_occurrences
from topogen.topology.persistence.budget import Budget, Cost, estimate_cost, rips_cost
from topogen.topology.persistence.engine import Arrays
from topogen.topology.persistence.subprocess_runner import run_in_subprocess

__all__ = ["Diagram", "jung", "persistence"]

COLLAPSE_CREDIT = 50


@dataclass(frozen=True)
class Diagram:
    """Bars of one cloud over the field Z/p, p = `field`, in radius units of the data.

    `bars[k]` (m, 2) float64 holds births and deaths in degree k, sorted. A death of inf means: alive at the end. If `threshold` is
    a number the complex stops there, and such a bar is known only to reach the threshold. `filtration` is "cech" or "rips".
    """

    field: int
    filtration: str
    threshold: float | None
    bars: tuple[NDArray[np.float64], ...]

    @property
    def end(self) -> float:
        """The radius up to which the diagram is known: the threshold, or infinity."""
        return math.inf if self.threshold is None else self.threshold

    def spanning(self, degree: int, birth: float, death: float) -> int:
        """Number of bars [b, d) in a degree with b <= birth and d > death, radii at most `end`."""
        b, d = self.bars[degree].T
        return int(((b <= birth) & (d > death)).sum())

    def betti(self, radius: float) -> tuple[int, ...]:
        """Betti numbers of the complex at a radius: the bars with b <= radius < d, per degree."""
        return tuple(self.spanning(k, radius, radius) for k in range(len(self.bars)))

    def alive(self, degree: int) -> int:
        """Number of bars that are alive at the threshold (or for ever, without one)."""
        return int(np.isinf(self.bars[degree][:, 1]).sum())

    def to_dict(self, longest: int = 20) -> dict[str, Any]:
        """JSON-able summary: the `longest` bars of each degree, the death of an alive bar None."""
        return {
            "field": self.field,
            "filtration": self.filtration,
            "unit": "radius, data units",
            "threshold": self.threshold,
            "bars": [[[float(b), None if np.isinf(d) else float(d)] for b, d in _longest(bars, longest)] for bars in self.bars],
            "counts": [len(bars) for bars in self.bars],
        }

    @classmethod
    def from_dict(cls, summary: Mapping[str, Any]) -> Diagram:
        """The diagram of the bars that a summary by `to_dict` holds."""
        bars = [np.array([[b, math.inf if d is None else d] for b, d in rows], dtype=np.float64).reshape(-1, 2) for rows in summary["bars"]]
        return cls(summary["field"], summary["filtration"], summary["threshold"], tuple(_sorted(b) for b in bars))


def jung(ambient_dim: int) -> float:
    """Jung's constant theta = sqrt(2 D / (D + 1)): a set of diameter 2 s in R^D lies in a ball of radius theta s."""
    return math.sqrt(2 * ambient_dim / (ambient_dim + 1))


def persistence(
    points: Tensor,
    *,
    max_degree: int,
    fields: Sequence[int] = (2, 3),
    engine: str = "auto",
    threshold: float | None = None,
    budget: Budget | None = None,
) -> dict[int, Diagram]:
    """Persistence diagrams of a cloud (n, D), one for each prime field, degrees 0 to max_degree, radius units.

    `engine` is "alpha" (filtration "cech", GPL part of GUDHI; the default up to D = 3), "rips" (the default above) or "auto".
    `threshold` (radius) ends the filtration; always give one to Rips if you can. Duplicates are removed. The complex is built once.
    Raises InvalidInputError for a cloud that is not finite (n, D), a field that is not prime, a negative degree or threshold;
    BudgetExceeded before the work starts where its predicted cost is hopelessly above the budget, and otherwise once the edges are
    listed (from degree 2 on: collapsed), when the columns can be counted.
    """
    check_cloud(points)
    _check_options(max_degree, fields, engine, threshold)
    budget = Budget() if budget is None else budget
    cloud, scale = _standardised(points)
    stop = math.inf if threshold is None else threshold / scale
    if engine == "alpha" or (engine == "auto" and cloud.shape[1] <= 3):
        budget.check(estimate_cost(len(cloud), cloud.shape[1], max_degree, engine="alpha"), "alpha complex")
        raw, filtration = _alpha(cloud, max_degree, fields, stop, budget), "cech"
    else:
        raw, filtration = _rips(cloud, max_degree, fields, stop, budget), "rips"
    return {p: Diagram(p, filtration, threshold, tuple(_sorted(b * scale) for b in bars)) for p, bars in raw.items()}


def finishing_simplices(points: Tensor, diagram: Diagram, budget: Budget | None = None) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Per degree k the finite bars (m, 2) of a cloud (n, D) of distinct points and the rows (m, k + 2) of the simplices that end them, radius units.

    Filtration, field and end are those of its `diagram`. Meant for some thousand points (alpha) or hundred (Rips): the complex is stored.
    """
    budget = Budget() if budget is None else budget
    cloud = points.detach().to(device="cpu", dtype=torch.float64).numpy()
    scale = float(np.abs(cloud - cloud.mean(0)).max()) or 1.0
    cloud = np.ascontiguousarray((cloud - cloud.mean(0)) / scale)
    top = len(diagram.bars) - 1
    if diagram.filtration == "cech":
        found = run_in_subprocess("alpha_ends", {"cloud": cloud}, budget, max_degree=top, prime=diagram.field)
    else:
        graph = _edges(cloud, min(diagram.end / scale, _cone_radius(cloud)), budget, collapse=top >= 1)
        found = run_in_subprocess("rips_ends", graph, budget, max_degree=top, prime=diagram.field)
    return [(scale * found[f"bars_{k}"], found[f"simplex_{k}"]) for k in range(top + 1)]


def _check_options(max_degree: int, fields: Sequence[int], engine: str, threshold: float | None) -> None:
    if max_degree < 0:
        raise InvalidInputError(f"max_degree: expected 0 or more, found {max_degree}")
    if engine not in ("auto", "alpha", "rips"):
        raise InvalidInputError(f"engine: expected 'auto', 'alpha' or 'rips', found {engine!r}")
    if threshold is not None and not threshold > 0:
        raise InvalidInputError(f"threshold: expected a positive radius in data units, found {threshold}")
    check_fields(fields)


def check_fields(fields: Sequence[int]) -> None:
    """Raise InvalidInputError unless there are primes, and nothing else."""
    for p in fields:
        if p < 2 or any(p % q == 0 for q in range(2, math.isqrt(p) + 1)):
            raise InvalidInputError(f"fields: Z/p needs a prime p, found {p}")
    if not fields:
        raise InvalidInputError("fields: expected at least one prime, found none; the default is (2, 3)")


def _standardised(points: Tensor) -> tuple[NDArray[np.float64], float]:
    """Distinct points, centred and of radius about 1, and the scale back: neither 1e-30 nor 1e30 leaves the range of doubles squared."""
    points = points.detach().to(device="cpu", dtype=torch.float64)
    # in the given order: edge collapse takes several times longer on points sorted by a coordinate
    cloud = points[first_occurrences(points)[0]].numpy()
    cloud = cloud - cloud.mean(0)
    scale = float(np.abs(cloud).max()) or 1.0
    return np.ascontiguousarray(cloud / scale), scale


def _alpha(cloud: NDArray[np.float64], max_degree: int, fields: Sequence[int], stop: float, budget: Budget) -> dict[int, list[NDArray[np.float64]]]:
    found = run_in_subprocess("alpha", {"cloud": cloud}, budget, max_degree=max_degree, fields=tuple(fields))
    return {p: [_cut(found[f"bars_{p}_{k}"], stop) for k in range(max_degree + 1)] for p in fields}


def _cut(bars: NDArray[np.float64], stop: float) -> NDArray[np.float64]:
    kept = bars[bars[:, 0] <= stop].astype(np.float64)
    kept[kept[:, 1] > stop, 1] = math.inf
    return kept


def _rips(cloud: NDArray[np.float64], max_degree: int, fields: Sequence[int], stop: float, budget: Budget) -> dict[int, list[NDArray[np.float64]]]:
    stop = min(stop, _cone_radius(cloud))
    _refuse_hopeless(estimate_cost(len(cloud), cloud.shape[1], max_degree, stop, torch.from_numpy(cloud), "rips"), cloud, stop, budget)
    # up to degree 1 collapse costs more than it saves, many times more where edges span the cloud
    graph = _edges(cloud, stop, budget, collapse=max_degree >= 2)
    budget.check(_graph_cost(graph, max_degree), f"Rips complex of {len(cloud)} points (edges collapsed)")
    found = run_in_subprocess("rips", graph, budget, max_degree=max_degree, fields=tuple(fields))
    return {p: [found[f"bars_{p}_{k}"] for k in range(max_degree + 1)] for p in fields}


def _cone_radius(cloud: NDArray[np.float64]) -> float:
    """Rips radius above which some point is joined to all: a cone, nothing happens any more. (An upper bound, by 200 candidates.)"""
    near_centre = cloud[np.argsort(np.linalg.norm(cloud, axis=1))[:200]]
    farthest = torch.cdist(torch.from_numpy(near_centre), torch.from_numpy(cloud), compute_mode="donot_use_mm_for_euclid_dist").amax(1)
    return float(farthest.min()) / 2 * (1 + 1e-12)


def _refuse_hopeless(cost: Cost, cloud: NDArray[np.float64], stop: float, budget: Budget) -> None:
    """Refuse before the edges are listed if they alone break the budget, or the columns do by more than collapse ever saved."""
    what = f"Rips complex of {len(cloud)} points"
    edges = estimate_cost(len(cloud), cloud.shape[1], 1, stop, torch.from_numpy(cloud), "rips")
    budget.check(Cost(cost.simplices, edges.bytes, edges.seconds_rough), what)
    if cost.bytes > COLLAPSE_CREDIT * budget.max_bytes:
        budget.check(cost, what)


def _edges(cloud: NDArray[np.float64], stop: float, budget: Budget, *, collapse: bool) -> Arrays:
    """The graph of the edges up to length 2 stop, without those that edge collapse shows to change no homology."""
    from scipy.spatial import KDTree

    pairs = KDTree(cloud).query_pairs(r=2 * stop, output_type="ndarray")
    lengths = np.linalg.norm(cloud[pairs[:, 0]] - cloud[pairs[:, 1]], axis=1)
    graph = {"rows": pairs[:, 0], "columns": pairs[:, 1], "lengths": lengths, "size": np.array(len(cloud))}
    return run_in_subprocess("collapse", graph, budget) if collapse else graph


def _graph_cost(graph: Arrays, max_degree: int) -> Cost:
    """Cost from the collapsed graph itself: triangles counted exactly, higher simplices as if triangles were spread evenly."""
    from scipy.sparse import coo_matrix

    n, edges = int(graph["size"]), float(len(graph["rows"]))
    counts = [float(n), edges]
    degree = 2 * edges / max(n, 1)
    if max_degree <= 1:
        return rips_cost(counts, 0.0)
    adjacency = coo_matrix((np.ones(len(graph["rows"])), (graph["rows"], graph["columns"])), shape=(n, n)).tocsr()
    adjacency = adjacency + adjacency.T
    counts.append(float((adjacency @ adjacency).multiply(adjacency).sum()) / 6)
    while len(counts) < max_degree + 2:
        # each k-simplex has about (3 triangles per edge / edges) common neighbours to grow by
        growth = 3 * counts[2] / max(edges, 1.0)
        counts.append(counts[-1] * growth / (len(counts) + 1))
    return rips_cost(counts, degree)


def _sorted(bars: NDArray[np.float64]) -> NDArray[np.float64]:
    return bars[np.lexsort((bars[:, 1], bars[:, 0]))]


def _longest(bars: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return bars[np.argsort(-(bars[:, 1] - bars[:, 0]), kind="stable")[:count]]
