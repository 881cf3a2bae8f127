"""Nearest neighbours in a cloud, and what each neighbourhood looks like: principal axes and a quadratic sheet.

With y_1..y_k the neighbours of x and m their mean, the local covariance is

    C(x) = 1/(k - 1) sum_j (y_j - m)(y_j - m)^t,    eigenvalues lambda_1 >= lambda_2 >= ...

On a d-manifold the first d grow like r^2/(d + 2) with the radius r of the neighbourhood, the others like r^4 (curvature) above the noise.
The sheet is the least-squares fit y ~ m + A phi(z), phi(z) = (1, z, z z^t), over z = T^t (y - m), T the first d axes: it removes the curvature
from the residual, corrects the tangent plane and denoises x.
Little, Maggioni, Rosasco (2017), Multiscale geometric methods for data sets I;
Cazals, Pouget (2005), Estimating differential quantities using polynomial fitting.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "LocalFit",
    "LocalPCA",
    "Tree",
    "components",
    "linear_and_quadratic",
    "local_fit",
    "local_pca",
    "nearest",
    "nearest_distance",
    "pairs_within",
    "terms",
]

TREE_DIMENSIONS = 20
CHUNK_ELEMENTS = 8_000_000
SPARE = 8
MANY = 50_000


class LocalPCA(NamedTuple):
    """Principal axes of q neighbourhoods: `mean` (q, D), `values` (q, m) descending, `frames` (q, D, m), m = min(k, D)."""

    mean: Tensor
    values: Tensor
    frames: Tensor


class LocalFit(NamedTuple):
    """Quadratic sheets through q neighbourhoods.

    `centre` (q, D): each query moved onto its sheet; `tangent` (q, D, d): the sheet's orthonormal tangent basis there;
    `variance` (q,): residual per normal direction, an estimate of the noise's variance; `radius` (q,): sqrt((d + 2) mean tangent eigenvalue).
    """

    centre: Tensor
    tangent: Tensor
    variance: Tensor
    radius: Tensor


class Tree:
    """A k-d tree of points (n, D), to be asked many times: in any D, where the points lie on a set of few dimensions."""

    def __init__(self, points: Tensor) -> None:
        from scipy.spatial import cKDTree

        self._tree, self._dtype = cKDTree(points.detach().cpu().numpy()), points.dtype

    @property
    def leaf_order(self) -> Tensor:
        """The rows (n,) int64 of the points leaf by leaf."""
        return torch.from_numpy(self._tree.indices.astype("int64"))

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """As `nearest` of the points and queries (q, D), with k at most n."""
        distances, indices = self._tree.query(queries.detach().cpu().numpy(), k=range(1, k + 1))
        return torch.as_tensor(distances).to(queries.device, self._dtype), torch.as_tensor(indices, dtype=torch.int64).to(queries.device)

    def __len__(self) -> int:
        return int(self._tree.n)

    def within(self, queries: Tensor, radius: float) -> tuple[Tensor, Tensor, Tensor]:
        """All pairs (m,) of a query and a point closer than the radius, in no order: rows of the queries, of the points, and distances."""
        from scipy.spatial import cKDTree

        found: Any = cKDTree(queries.detach().cpu().numpy()).sparse_distance_matrix(self._tree, radius, output_type="ndarray")
        row, point = (torch.from_numpy(found[name].astype("int64")).to(queries.device) for name in ("i", "j"))
        return row, point, torch.from_numpy(found["v"].copy()).to(queries.device)

    def count(self, queries: Tensor, radius: float) -> Tensor:
        """How many of the points (q,) int64 lie no farther than the radius from queries (q, D)."""
        found = self._tree.query_ball_point(queries.detach().cpu().numpy(), radius, return_length=True)
        return torch.as_tensor(found, dtype=torch.int64).to(queries.device)

    def pairs(self, length: float) -> Tensor:
        """All pairs (m, 2) int64 of points no farther apart than the length, the lower row first, in no order."""
        return torch.from_numpy(self._tree.query_pairs(length, output_type="ndarray").astype("int64")).reshape(-1, 2)


def nearest(points: Tensor, k: int, queries: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The k nearest points of each query: distances (q, k) ascending and indices (q, k) int64.

    `points` is (n, D) floating. Without `queries` they are the points themselves, each excluded from its own list (by index, so that a
    duplicate counts). k is cut to what there is. A k-d tree serves D <= 20, blocks of distances above.
    """
    own = queries is None
    searched = points if queries is None else queries
    count = min(k + own, len(points))
    distances, indices = _search(points, searched, count)
    return _without_self(distances, indices, min(k, len(points) - 1)) if own else (distances, indices)


def nearest_distance(points: Tensor, others: Tensor) -> Tensor:
    """Distances (n,) of points (n, D) to the nearest of the others (m, D), float64 on the CPU."""
    points, others = (t.detach().to(device="cpu", dtype=torch.float64) for t in (points, others))
    return nearest(others, 1, points)[0][:, 0]


def local_pca(points: Tensor, indices: Tensor) -> LocalPCA:
    """Mean, eigenvalues and axes of the covariance of the neighbourhoods `indices` (q, k) in `points` (n, D)."""
    q, k = indices.shape
    size = max(1, CHUNK_ELEMENTS // (k * max(k, points.shape[1])))
    parts = [_pca(points[rows]) for rows in torch.split(indices, size)] if q else [_pca(points[indices])]
    return LocalPCA(*(torch.cat(column) for column in zip(*parts, strict=True)))


def terms(dim: int) -> int:
    """Number of coefficients of a quadratic in `dim` variables."""
    return (dim + 1) * (dim + 2) // 2


def linear_and_quadratic(z: Tensor) -> Tensor:
    """(z, z_i z_j for i <= j) (..., d + d (d + 1) / 2) of z (..., d)."""
    i, j = torch.triu_indices(z.shape[-1], z.shape[-1], device=z.device)
    return torch.cat([z, z[..., i] * z[..., j]], -1)


def local_fit(points: Tensor, queries: Tensor, indices: Tensor, dim: int) -> LocalFit:
    """Fit a quadratic sheet of dimension `dim` to each neighbourhood `indices` (q, k) of `queries` (q, D) in `points` (n, D).

    Include the query itself among its indices where it belongs to the cloud. With k < 1.5 terms(dim) the sheet is a plane.
    """
    k = indices.shape[1]
    size = max(1, CHUNK_ELEMENTS // (k * (points.shape[1] + terms(dim))))
    parts = [_fit(points[rows], x, dim) for rows, x in zip(torch.split(indices, size), torch.split(queries, size), strict=True)]
    return LocalFit(*(torch.cat(column) for column in zip(*parts, strict=True)))


def pairs_within(queries: Tensor, centres: Tensor | Tree, radius: Tensor | float) -> tuple[Tensor, Tensor]:
    """All pairs of a query and a centre closer than the radius (a number, or one for each centre): rows of the queries, ascending, and of the centres."""
    tree = centres if isinstance(centres, Tree) else Tree(centres)
    row, centre, distance = tree.within(queries, float(torch.as_tensor(radius).max()))
    if torch.is_tensor(radius):
        near = distance < radius[centre]
        row, centre = row[near], centre[near]
    order = torch.argsort(row * len(tree) + centre)
    return row[order], centre[order]


def components(n: int, edges: Tensor) -> tuple[int, Tensor]:
    """Connected components of the graph with n vertices and `edges` (m, 2): their number and a label (n,) per vertex."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = edges.cpu().numpy().T
    graph = coo_array((torch.ones(len(edges)).numpy(), (rows, columns)), shape=(n, n))
    number, labels = connected_components(graph, directed=False)
    return int(number), torch.as_tensor(labels, dtype=torch.int64, device=edges.device)


def _search(points: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    if points.shape[1] <= TREE_DIMENSIONS:
        return _tree_search(points, queries, count)
    blocks = torch.split(queries, max(1, CHUNK_ELEMENTS // max(len(points), count * points.shape[1])))
    parts = [_block_search(points, block, count) for block in blocks]
    return torch.cat([d for d, _ in parts]), torch.cat([i for _, i in parts])


def _tree_search(points: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    tree = Tree(points)
    if queries is not points or len(points) <= MANY:
        return tree.nearest(queries, count)
    # asked leaf by leaf, points next to each other find the tree's nodes still in the processor's cache
    order = tree.leaf_order.to(points.device)
    distances, indices = tree.nearest(points[order], count)
    return torch.empty_like(distances).index_copy_(0, order, distances), torch.empty_like(indices).index_copy_(0, order, indices)


def _block_search(points: Tensor, block: Tensor, count: int) -> tuple[Tensor, Tensor]:
    # cdist by matrix products loses digits on near pairs: it chooses a few more than wanted, the differences measure and decide.
    indices = torch.cdist(block, points).topk(min(count + SPARE, len(points)), largest=False).indices
    distances, order = (points[indices] - block.unsqueeze(1)).norm(dim=-1).sort(dim=1)
    return distances[:, :count], indices.gather(1, order)[:, :count]


def _without_self(distances: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Drop each row's own index, or its last entry where duplicates have crowded it out."""
    own = indices == torch.arange(len(indices), device=indices.device).unsqueeze(1)
    own[:, -1] |= ~own.any(1)
    keep = ~own
    return distances[keep].view(len(indices), -1)[:, :k], indices[keep].view(len(indices), -1)[:, :k]


def _pca(clouds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean = clouds.mean(1, keepdim=True)
    centred = clouds - mean
    k, dim = clouds.shape[1:]
    if dim <= k:
        values, frames = torch.linalg.eigh(centred.mT @ centred)
        values, frames = values.flip(-1), frames.flip(-1)
    else:
        _, singular, axes = torch.linalg.svd(centred, full_matrices=False)
        values, frames = singular**2, axes.mT
    return mean.squeeze(1), values.clamp_min(0) / max(k - 1, 1), frames


def _fit(clouds: Tensor, queries: Tensor, dim: int) -> LocalFit:
    mean, values, frames = _pca(clouds)
    _, k, ambient = clouds.shape
    radius = ((dim + 2) * values[:, :dim].mean(1)).sqrt()
    scale = radius.clamp_min(torch.finfo(radius.dtype).tiny)[:, None, None]
    axes = frames[:, :, :dim]
    centred = clouds - mean.unsqueeze(1)
    quadratic = k >= 1.5 * terms(dim)
    design = _monomials(centred @ axes / scale, quadratic)
    coefficients = _least_squares(design, centred)
    freedom = max(k - design.shape[-1], 1) * max(ambient - dim, 1)
    variance = (centred - design @ coefficients).square().sum((1, 2)) / freedom
    own = (queries - mean).unsqueeze(1) @ axes / scale
    centre = mean + (_monomials(own, quadratic) @ coefficients).squeeze(1)
    tangent = torch.linalg.qr((_slopes(own.squeeze(1), quadratic) @ coefficients).mT).Q
    return LocalFit(centre, tangent, variance, radius)


def _least_squares(design: Tensor, target: Tensor) -> Tensor:
    """Normal equations: the monomials are of order one, and the ridge answers a neighbourhood that is flat in some direction with slope zero."""
    gram = design.mT @ design
    ridge = 1e-13 * design.shape[1] * torch.eye(design.shape[2], dtype=design.dtype, device=design.device)
    solution: Tensor = torch.linalg.solve(gram + ridge, design.mT @ target)
    return solution


def _monomials(z: Tensor, quadratic: bool) -> Tensor:
    """(1, z, z_i z_j for i <= j) of z (..., d)."""
    return torch.cat([torch.ones_like(z[..., :1]), linear_and_quadratic(z) if quadratic else z], -1)


def _slopes(z: Tensor, quadratic: bool) -> Tensor:
    """Derivatives (q, d, p) of `_monomials` at z (q, d)."""
    q, dim = z.shape
    eye = torch.eye(dim, dtype=z.dtype, device=z.device).expand(q, dim, dim)
    parts = [torch.zeros_like(z).unsqueeze(-1), eye]
    if quadratic:
        i, j = torch.triu_indices(dim, dim, device=z.device)
        parts.append(eye[:, :, i] * z[:, None, j] + eye[:, :, j] * z[:, None, i])
    return torch.cat(parts, -1)
