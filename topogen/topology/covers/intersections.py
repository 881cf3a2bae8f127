"""What the intersections of charts look like: their connected pieces and holes, from the samples in them.

Pieces: components of the neighbour graph of the samples, where two pieces count as one if they meet in the intersection of the charts thickened
by three rings of neighbours, so that the few samples of a thin intersection are not mistaken for pieces (epsilon-acyclic covers).
Holes: alpha complex, in the coordinates of one chart, of a net of the samples whose distance to the others is at most e, at alpha = e + spacing
of the samples; e is an eighth of the intersection's width, and a fortieth where there are holes or several pieces. Both are evidence from samples:
pieces closer than some six spacings are one, and holes of radius below alpha are not seen.

Govc, Skraba (2018), An approximate nerve theorem; Edelsbrunner, Muecke (1994), Three-dimensional alpha shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import components, nearest
from topogen.topology.covers.cells import Cells, cells, check_members, decode, graph, links, parts, subsets, thickened

__all__ = ["SEEN_DIMENSIONS", "Coordinates", "Layer", "folded_charts", "intersections"]

Coordinates = Callable[[int, Tensor], Tensor]
SEEN_DIMENSIONS = (2, 3)
RINGS = 3
NET, FINE_NET = 8, 40
PROBES = 200
FOLD = 3.0


class Layer(NamedTuple):
    """The non-empty intersections of t charts: `charts` (s, t), number of `samples` (s,), and Betti numbers `betti` (s, d), -1 where not looked at."""

    charts: Tensor
    samples: Tensor
    betti: Tensor


def intersections(
    points: Tensor,
    members: Tensor,
    dim: int,
    coordinates: Coordinates | None = None,
    *,
    sizes: int | None = None,
    everything: bool = False,
    neighbours: Tensor | None = None,
) -> list[Layer]:
    """Betti numbers of the intersections of 1, 2, ..., `sizes` (default d + 1) charts of a d-manifold.

    `points` (n, D) are samples of M, `members` (n, K) bool says which charts each lies in, `coordinates(k, rows)` gives R^d coordinates (m, d) of
    samples in chart k. An intersection of t charts is looked at in the degrees j <= d - t + 1 that the nerve theorem needs, or in `everything`
    below d. Holes (j >= 1) are looked at for d = 2 and 3 where coordinates are given. `neighbours` (n, k): the neighbour graph if there is one already.
    Raises InvalidInputError for unusable members, points or coordinates; BudgetExceeded for too many intersections.
    """
    members = check_members(members, dim)
    near = graph(points, members, dim) if neighbours is None else neighbours
    found = cells(members, links(near))
    wide = members
    for _ in range(RINGS):
        wide = thickened(wide, near)
    meeting = _Meeting(members.T.contiguous(), wide.T.contiguous(), near)
    layers = [_layer(found, meeting, size, dim) for size in range(1, min(sizes or dim + 1, int(members.sum(1).max())) + 1)]
    if coordinates is not None and dim in SEEN_DIMENSIONS:
        _look_for_holes(layers, members, dim, coordinates, everything)
    return layers


def folded_charts(points: Tensor, members: Tensor, dim: int, coordinates: Coordinates, neighbours: Tensor) -> tuple[int, ...]:
    """The charts that are not one-to-one on the samples in them: next to each other in coordinates, far apart on M.

    Far is three times the distance to the last of the `neighbours` (n, k). Holes found in the coordinates of such a chart mean nothing.
    """
    cloud = points.detach().to(device="cpu", dtype=torch.float64)
    far = FOLD * (cloud - cloud[neighbours[:, -1]]).norm(dim=1)
    folded = []
    for k in range(members.shape[1]):
        rows = members[:, k].nonzero()[:, 0]
        z = torch.as_tensor(_coordinates(coordinates, k, rows, dim))
        if len(rows) > 1 and bool(((cloud[rows] - cloud[rows[nearest(z, 1)[1][:, 0]]]).norm(dim=1) > far[rows]).any()):
            folded.append(k)
    return tuple(folded)


class _Meeting(NamedTuple):
    """Charts (K, n) and thickened charts (K, n), with the neighbours (n, k) of each sample."""

    own: Tensor
    wide: Tensor
    neighbours: Tensor

    def pieces(self, charts: Tensor) -> int:
        """Number of components of the thickened intersection of some charts that hold samples of the intersection itself."""
        wide = self.wide[charts].all(0)
        rows = wide.nonzero()[:, 0]
        number = wide.cumsum(0) - 1
        others = self.neighbours[rows]
        inner = torch.where(wide[others], number[others], torch.arange(len(rows)).unsqueeze(1))
        label = components(len(rows), links(inner))[1]
        return len(torch.unique(label[self.own[charts][:, rows].all(0)]))


def _layer(found: Cells, meeting: _Meeting, size: int, dim: int) -> Layer:
    """Intersections of `size` charts with their samples and pieces; only where these are several the thickened charts are asked."""
    per_cell = torch.bincount(found.of, minlength=len(found.patterns))
    row, key = subsets(found.patterns, size)
    keys, where = torch.unique(key, return_inverse=True)
    samples = torch.zeros(len(keys), dtype=torch.int64).index_add_(0, where, per_cell[row])
    charts = decode(keys, size, found.patterns.shape[1])
    betti = torch.full((len(keys), dim), -1)
    betti[:, 0] = parts(found, size).pieces(keys)
    for s in (betti[:, 0] > 1).nonzero()[:, 0].tolist():
        betti[s, 0] = meeting.pieces(charts[s])
    return Layer(charts, samples, betti)


def _look_for_holes(layers: list[Layer], members: Tensor, dim: int, coordinates: Coordinates, everything: bool) -> None:
    """Fill in the Betti numbers of degree 1 to d - 1."""
    needed = [(layer, dim - 1 if everything else min(dim - 1, dim - size + 1)) for size, layer in enumerate(layers, 1)]
    for k in range(members.shape[1]):
        rows = members[:, k].nonzero()[:, 0]
        z = _coordinates(coordinates, k, rows, dim)
        gap = _spacing(z, dim)
        for layer, top in needed:
            for s, inside in _with_first(layer, k, members[rows]) if top > 0 else ():
                holes = [1] if layer.betti[s, 0] > 1 else _holes(z[inside], gap, NET)
                if any(holes):
                    holes = _holes(z[inside], gap, FINE_NET)
                layer.betti[s, 1 : top + 1] = torch.tensor(holes[:top])


def _with_first(layer: Layer, k: int, charts: Tensor) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Simplices whose first chart is k, and which of the samples of chart k, with membership `charts`, lie in them."""
    flags: NDArray[np.bool_] = charts.numpy()
    for s in (layer.charts[:, 0] == k).nonzero()[:, 0].tolist():
        yield s, np.all(flags[:, layer.charts[s].numpy()], axis=1)


def _coordinates(coordinates: Coordinates, k: int, rows: Tensor, dim: int) -> NDArray[np.float64]:
    z = torch.as_tensor(coordinates(k, rows)).detach().to(device="cpu", dtype=torch.float64)
    if z.shape != (len(rows), dim):
        raise InvalidInputError(f"coordinates: expected shape {(len(rows), dim)} for {len(rows)} samples in chart {k}, found {tuple(z.shape)}")
    if not bool(torch.isfinite(z).all()):
        raise InvalidInputError(f"coordinates: chart {k} gives coordinates that are not finite to its own samples; shrink the chart")
    found: NDArray[np.float64] = z.numpy()
    return found


def _spacing(z: NDArray[np.float64], dim: int) -> float:
    """Radius of the largest hole that chance leaves in the sample: largest distance of some samples to the (4 + 3 d)-th neighbour."""
    if len(z) < 2:
        return 0.0
    probes = torch.as_tensor(z[:: max(1, len(z) // PROBES)])
    return float(nearest(torch.as_tensor(z), 5 + 3 * dim, probes)[0][:, -1].max())


def _holes(z: NDArray[np.float64], gap: float, cells_across: int) -> list[int]:
    """Betti numbers from degree 1 to d - 1 of the union of balls around a net of z (m, d), so many cells of the net across z."""
    from gudhi import AlphaComplex
    from gudhi.subsampling import sparsify_point_set

    dim = z.shape[1]
    reach = max(gap, float(np.ptp(z, axis=0).max()) / cells_across)
    net = sparsify_point_set(points=z, min_squared_dist=reach**2)
    tree: Any = AlphaComplex(points=net, precision="fast").create_simplex_tree(max_alpha_square=(reach + gap) ** 2)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=0, persistence_dim_max=True)
    found = [int(b) for b in tree.betti_numbers()]
    return (found + [0] * dim)[1:dim]
