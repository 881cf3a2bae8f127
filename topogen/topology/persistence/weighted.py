"""Filtrations of balls that start late: at time t the ball of a centre x has radius (t^2 - f(x)^2)^(1/2), nothing before t = f(x).

Alpha: a weighted Delaunay triangulation gives the exact homology of the union. Rips: a centre appears at f(x), an edge of length d when its balls meet,

    t = ( ((f(x) + f(y))^2 + d^2) ((f(x) - f(y))^2 + d^2) )^(1/2) / (2 d)

or max(f(x), f(y)) where one ball is swallowed at birth, d^2 <= |f(x)^2 - f(y)^2|. Without delays t is the radius.

Anai, Chazal, Glisse, Ike, Inakoshi, Tinarrage, Umeda (2020), DTM-based filtrations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from topogen.topology.persistence.budget import Budget, estimate_cost
from topogen.topology.persistence.subprocess_runner import run_in_subprocess

__all__ = ["weighted"]

Bars = list[NDArray[np.float64]]


def weighted(
    centres: NDArray[np.float64], delays: NDArray[np.float64], max_degree: int, fields: Sequence[int], *, alpha: bool, budget: Budget | None
) -> dict[int, Bars]:
    """Bars (m, 2) per field and degree of distinct `centres` (n, D) with `delays` f (n,) in units of length; raises BudgetExceeded before the work starts."""
    budget = Budget() if budget is None else budget
    cost = estimate_cost(len(centres), centres.shape[1], max_degree if alpha else 1, engine="alpha" if alpha else "rips")
    budget.check(cost, f"filtration of {len(centres)} centres")
    if alpha:
        found = run_in_subprocess("alpha", {"cloud": centres, "delays": delays}, budget, max_degree=max_degree, fields=tuple(fields))
        return {p: [found[f"bars_{p}_{k}"] for k in range(max_degree + 1)] for p in fields}
    rows, columns = np.triu_indices(len(centres), 1)
    meet = _meeting(centres, delays, rows, columns)
    graph = {"rows": rows, "columns": columns, "lengths": 2 * meet, "size": np.array(len(centres))}
    # classes of degree 1 and more do not notice when their vertices appear
    found = run_in_subprocess(
        "rips", run_in_subprocess("collapse", graph, budget) if max_degree else graph, budget, max_degree=max_degree, fields=tuple(fields)
    )
    components = _components(delays, rows, columns, meet)
    return {p: [components, *(found[f"bars_{p}_{k}"] for k in range(1, max_degree + 1))] for p in fields}


def _meeting(centres: NDArray[np.float64], delays: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """When the balls of each pair meet."""
    points = torch.from_numpy(centres)
    d = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").numpy()[rows, columns]
    one, other = delays[rows], delays[columns]
    meet = np.sqrt(((one + other) ** 2 + d**2) * ((one - other) ** 2 + d**2)) / (2 * np.maximum(d, np.finfo(float).tiny))
    swallowed = d**2 <= np.abs(one**2 - other**2)
    return np.where(swallowed, np.maximum(one, other), meet)


def _components(delays: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], meet: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bars of degree 0 by the elder rule: of two components that meet the one born later ends."""
    parent = list(range(len(delays)))

    def root(v: int) -> int:
        while parent[v] != v:
            parent[v] = parent[parent[v]]
            v = parent[v]
        return v

    bars = [(float(delays.min()), np.inf)]
    for edge in np.argsort(meet, kind="stable"):
        a, b = sorted((root(int(rows[edge])), root(int(columns[edge]))), key=lambda v: delays[v])
        if a != b:
            parent[b] = a
            bars.append((float(delays[b]), float(meet[edge])))
    found = np.array(bars)
    return found[found[:, 1] > found[:, 0]]
