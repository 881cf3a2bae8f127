"""The jobs that native code does for persistence, arrays in and arrays out, so that they run here or behind the wall of a process of their own.

This file imports nothing of topogen and no torch: run as a program it reads one job from stdin and writes the answer to stdout (`subprocess_runner`). Bars of
degree k over Z/p come as `bars_{p}_{k}` (m, 2) float64 in radius units. Alpha complexes are GUDHI's under the GPL, Rips ones (Ripser, edge collapse) under MIT.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["JOBS", "Arrays"]

Arrays = dict[str, NDArray[Any]]

ROUNDING = 1e-12
OUT_OF_MEMORY = 3


def alpha(arrays: Arrays, *, max_degree: int, fields: Sequence[int]) -> Arrays:
    """Bars of the alpha complex of `cloud` (n, D); with `delays` f (n,) balls have radius (t^2 - f^2)^(1/2) at time t."""
    tree = _alpha_tree(arrays)
    found: Arrays = {}
    for p in fields:
        # cocircular points make bars of the length of rounding errors
        tree.compute_persistence(homology_coeff_field=p, min_persistence=ROUNDING, persistence_dim_max=tree.dimension() <= max_degree)
        for k in range(max_degree + 1):
            bars = tree.persistence_intervals_in_dimension(k).reshape(-1, 2).astype(np.float64)
            # gudhi gives weighted complexes by squares only
            found[f"bars_{p}_{k}"] = np.sqrt(np.maximum(bars, 0)) if "delays" in arrays else bars
    return found


def collapse(arrays: Arrays) -> Arrays:
    """The graph of `rows`, `columns`, `lengths` on n = `size` vertices without the edges that edge collapse shows to change no homology."""
    from gudhi.flag_filtration.edge_collapse import reduce_graph

    if not len(arrays["rows"]):
        return arrays
    graph = reduce_graph(_graph(arrays), 1)
    return {"rows": graph.row, "columns": graph.col, "lengths": graph.data, "size": arrays["size"]}


def rips(arrays: Arrays, *, max_degree: int, fields: Sequence[int]) -> Arrays:
    """Bars of the flag complex of a graph, its edges appearing at half their lengths."""
    from gudhi.sklearn import RipsPersistence

    found: Arrays = {}
    for p in fields:
        # gudhi measures Rips by diameters, and its own default field is 11
        engine = RipsPersistence(homology_dimensions=range(max_degree + 1), input_type="distance coo_matrix", num_collapses=0, homology_coeff_field=p)
        bars = engine.fit_transform([_graph(arrays)])[0]
        found |= {f"bars_{p}_{k}": np.asarray(b, dtype=np.float64).reshape(-1, 2) / 2 for k, b in enumerate(bars)}
    return found


def alpha_ends(arrays: Arrays, *, max_degree: int, prime: int) -> Arrays:
    """As `_ends`, of the alpha complex of `cloud`."""
    return _ends(_alpha_tree(arrays), max_degree, prime)


def rips_ends(arrays: Arrays, *, max_degree: int, prime: int) -> Arrays:
    """As `_ends`, of the flag complex of a graph."""
    from gudhi import SimplexTree

    tree = SimplexTree()
    size = int(arrays["size"])
    tree.insert_batch(np.arange(size).reshape(1, -1), np.zeros(size))
    tree.insert_batch(np.stack([arrays["rows"], arrays["columns"]]), arrays["lengths"] / 2)
    tree.expansion(max_degree + 1)
    return _ends(tree, max_degree, prime)


JOBS: dict[str, Callable[..., Arrays]] = {"alpha": alpha, "collapse": collapse, "rips": rips, "alpha_ends": alpha_ends, "rips_ends": rips_ends}
LIBRARIES = {"collapse": ("scipy.sparse", "gudhi.flag_filtration.edge_collapse"), "rips": ("scipy.sparse", "gudhi.sklearn")}


def _alpha_tree(arrays: Arrays) -> Any:
    from gudhi import AlphaComplex

    if "delays" in arrays:
        return AlphaComplex(points=arrays["cloud"], weights=-np.square(arrays["delays"])).create_simplex_tree(output_squared_values=True)
    return AlphaComplex(points=arrays["cloud"]).create_simplex_tree(output_squared_values=False)


def _graph(arrays: Arrays) -> Any:
    from scipy.sparse import coo_matrix

    size = int(arrays["size"])
    return coo_matrix((arrays["lengths"], (arrays["rows"], arrays["columns"])), shape=(size, size))


def _ends(tree: Any, max_degree: int, prime: int) -> Arrays:
    """Per degree k the finite bars `bars_k` (m, 2) and the vertices `simplex_k` (m, k + 2) of the simplices that end them."""
    tree.compute_persistence(homology_coeff_field=prime, min_persistence=ROUNDING, persistence_dim_max=tree.dimension() <= max_degree)
    pairs: list[list[tuple[list[float], list[int]]]] = [[] for _ in range(max_degree + 1)]
    for first, last in tree.persistence_pairs():
        if 0 < len(first) <= max_degree + 1 and last:
            pairs[len(first) - 1].append(([tree.filtration(first), tree.filtration(last)], last))
    found: Arrays = {}
    for k, ends in enumerate(pairs):
        found[f"bars_{k}"] = np.array([bar for bar, _ in ends], dtype=np.float64).reshape(-1, 2)
        found[f"simplex_{k}"] = np.array([simplex for _, simplex in ends], dtype=np.int64).reshape(-1, k + 2)
    return found


def _main() -> int:
    """One job from stdin: limits and options as JSON on the first line, arrays as npz after it; the answer as npz to stdout."""
    import io

    head = json.loads(sys.stdin.buffer.readline())
    arrays = dict(np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False))
    for library in LIBRARIES.get(head["job"], ("gudhi",)):
        # they are there before the wall goes up, since they are none of the job's memory
        importlib.import_module(library)
    _wall(head["bytes"], head["seconds"])
    try:
        answer = JOBS[head["job"]](arrays, **head["options"])
        packed = io.BytesIO()
        np.savez(packed, **answer)  # type: ignore[arg-type]
    except MemoryError:
        return OUT_OF_MEMORY
    sys.stdout.buffer.write(packed.getvalue())
    return 0


def _wall(most_bytes: int, most_seconds: float | None) -> None:
    """Limit the address space to what is taken now and `most_bytes` more, processor time to `most_seconds` more; where the system can."""
    import resource

    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + most_bytes, taken + most_bytes))
    if most_seconds is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        limit = math.ceil(usage.ru_utime + usage.ru_stime + most_seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(_main())
