"""The two sides of a closed hypersurface, read off a cloud: unit normals that agree.

A single output F has a sign, and near M the denoising objective does not mind which: each patch picks its own at first, and where patches of opposite
sign meet a seam stays. So the sign is found beforehand. Normals are those of local planes; along a minimum spanning tree of the neighbourhood
graph, whose edges cost 1 - |<n_i, n_j>|, each takes the sign of its parent (Hoppe et al. 1992). A component is turned outwards at its extreme point, and
inwards instead where an odd number of the others contain it, so that the sign changes across components and nowhere between: containment is
the generalised winding number

    w(x) = 1 / |S^(h-1)| sum_j a_j <n_j, x_j - x> / |x_j - x|^h ,     a_j the share of area around x_j.

Hoppe, DeRose, Duchamp, McDonald, Stuetzle (1992), Surface reconstruction from unorganized points; Barill et al. (2018), Fast winding numbers for soups
and clouds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from topogen.geometry.clouds.neighbours import components, local_pca, nearest

__all__ = ["agreeing_normals"]

NEIGHBOURS = 10


def agreeing_normals(points: Tensor, spacing: Tensor) -> Tensor:
    """Unit normals (n, h) of distinct points (n, h) on a closed hypersurface, on one side of it all; `spacing` (n,) as in `Scales`."""
    device = points.device
    points, spacing = points.cpu(), spacing.cpu()
    indices = nearest(points, min(NEIGHBOURS, len(points) - 1))[1]
    normals = local_pca(points, torch.cat([torch.arange(len(points)).unsqueeze(1), indices], 1)).frames[:, :, -1]
    edges = torch.stack([torch.arange(len(points)).repeat_interleave(indices.shape[1]), indices.flatten()], 1)
    count, labels = components(len(points), edges)
    members = [torch.nonzero(labels == label).squeeze(1) for label in range(count)]
    cost = 1 - (normals[edges[:, 0]] * normals[edges[:, 1]]).sum(1).abs()
    normals = _spread(normals, edges, cost, [int(points[rows, 0].argmax()) for rows in members], members)
    holds = [_holds(points, normals, spacing, rows, members) for rows in members] if count > 1 else [torch.zeros(1)]
    for rows, contained in zip(members, torch.stack(holds).sum(0), strict=True):
        normals[rows] *= 1 - 2 * (int(contained) % 2)
    return normals.to(device)


def _spread(normals: Tensor, edges: Tensor, cost: Tensor, extremes: list[int], members: list[Tensor]) -> Tensor:
    """The normals with the signs that go down the tree from the extreme point of each component, where they point outwards."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    size = len(normals)
    # a cost of zero would be no edge at all to scipy
    graph = coo_array((cost.numpy() + 1e-3, edges.T.numpy()), shape=(size, size)).tocsr()
    tree = minimum_spanning_tree(graph.maximum(graph.T))
    normals, signs = normals.clone(), torch.ones(size, dtype=normals.dtype)
    for extreme, rows in zip(extremes, members, strict=True):
        root = int(rows[extreme])
        order, parents = breadth_first_order(tree, root, directed=False)
        signs[root] = 1.0 if normals[root, 0] >= 0 else -1.0
        below = torch.as_tensor(order[1:].astype("int64"))
        above = torch.as_tensor(parents[order[1:]].astype("int64"))
        agree = (normals[below] * normals[above]).sum(1) >= 0
        for child, parent, same in zip(below.tolist(), above.tolist(), agree.tolist(), strict=True):
            signs[child] = signs[parent] if same else -signs[parent]
    return normals * signs.unsqueeze(1)


def _holds(points: Tensor, normals: Tensor, spacing: Tensor, rows: Tensor, members: list[Tensor]) -> Tensor:
    """Whether the component `rows` contains the first point of each component, as 0 or 1; it does not contain itself."""
    h = points.shape[1]
    ball = math.pi ** ((h - 1) / 2) / math.gamma((h + 1) / 2)
    # the mean distance to the nearest neighbour is Gamma(1 + 1/d) (density * volume of the unit ball)^(-1/d)
    area = ball * (spacing[rows] / math.gamma(1 + 1 / (h - 1))) ** (h - 1)
    found = []
    for other in members:
        chord = points[rows] - points[other[0]]
        flux = (area * (normals[rows] * chord).sum(1) / chord.norm(dim=1).clamp_min(1e-300) ** h).sum()
        sphere = 2 * math.pi ** (h / 2) / math.gamma(h / 2)
        found.append(0.0 if other is rows else float(abs(flux) / sphere > 0.5))
    return torch.tensor(found)
