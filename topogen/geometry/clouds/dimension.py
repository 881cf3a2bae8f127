"""Intrinsic dimension of a cloud, by local PCA and by the two nearest neighbours; and the affine hull at the noise level.

Local PCA: the median over query points of the spectrum lambda_1 >= lambda_2 >= ... of k neighbours, cut from below at lambda_1/200, has its largest
ratio lambda_j/lambda_{j+1} at j = d. Small k sees the noise and large k the curvature: the k with the largest ratio decides.
A virtual lambda_{D+1} = lambda_1/5 lets d = D win, and so does a largest ratio below 2: then no direction is unlike the others.
Noise in the directions that the whole cloud leaves flat is taken away first (affine hull).
TwoNN: mu = r_2/r_1 has F(mu) = 1 - mu^-d; d is the slope through the origin of -log(1 - F) against log mu, upper tenth dropped.
Facco, d'Errico, Rodriguez, Laio (2017), Estimating the intrinsic dimension of datasets by a minimal neighborhood information;
Little, Maggioni, Rosasco (2017), Multiscale geometric methods for data sets I.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import local_pca, nearest
from topogen.geometry.clouds.point_clouds import LOCAL_ROWS, random_rows

__all__ = ["AffineHull", "DimensionEstimate", "affine_hull", "estimate_dimension", "local_dimensions", "two_nn"]

CUT = 200.0
FULL = 5.0
HULL = 0.6
QUERIES = 600
SMALLEST, LARGEST, GROWTH = 12, 1500, 1.4
VOTERS = 7
DECISIVE = math.log(3.0)
FAINT = math.log(2.0)
SHARE = 0.1


@dataclass(frozen=True)
class AffineHull:
    """The affine subspace mean + span(basis) that holds a cloud up to noise.

    `mean` (D,), `basis` (D, m) orthonormal, `complement` (D, D - m): the dropped directions,
    `noise`: standard deviation per dropped direction (0 where none is dropped).
    """

    mean: Tensor
    basis: Tensor
    complement: Tensor
    noise: float

    @property
    def dim(self) -> int:
        """m, the dimension of the subspace."""
        return self.basis.shape[1]

    def coordinates(self, points: Tensor) -> Tensor:
        """Coordinates (n, m) of points (n, D), lengths kept."""
        return (points - self.mean) @ self.basis


@dataclass(frozen=True)
class DimensionEstimate:
    """What two estimators say, and how firmly.

    `dim`: the answer; `local_pca`: that of the pooled spectra, from neighbourhoods of `k` points with ratio exp(`gap`);
    `per_k`: (dimension, log ratio) for every k scanned; `plateau`: the run of k around the chosen one that agrees with it;
    `two_nn`: TwoNN's estimate, a real number, nan where it cannot tell; `agreement`: TwoNN rounds to `dim`;
    `histogram`: share of the query points per local dimension, of those whose own ratio is above 3; `mixed`: the dimensions that hold a tenth or more.
    """

    dim: int
    local_pca: int
    two_nn: float
    k: int
    gap: float
    per_k: Mapping[int, tuple[int, float]]
    plateau: tuple[int, ...]
    agreement: bool
    histogram: Mapping[int, float]
    mixed: tuple[int, ...]


def affine_hull(points: Tensor) -> AffineHull:
    """The smallest affine subspace outside of which the points (n, D) carry nothing but noise.

    From the last principal direction up, one is dropped while its variance within small neighbourhoods is at least .6 of its variance in the
    whole cloud (noise does not know where it is), or is nil. At least one direction is kept.
    """
    n, ambient = points.shape
    mean = points.mean(0)
    _, singular, axes = torch.linalg.svd(_upright(points - mean), full_matrices=n < ambient)
    values = torch.zeros(ambient, dtype=points.dtype, device=points.device)
    values[: len(singular)] = singular.square() / max(n - 1, 1)
    k = max(4, min(20, n // 20))
    queries = torch.linspace(0, n - 1, min(n, 1000), device=points.device).long()
    local = (points[nearest(points, min(k, n), points[queries])[1]] @ axes.mT).var(1).mean(0)
    rounding = torch.finfo(points.dtype).eps * ambient * torch.maximum(values[0].sqrt(), points.abs().max())
    nil = values <= rounding.square()
    signal = torch.nonzero(~(nil | (local >= HULL * values)))
    kept = int(signal.max()) + 1 if len(signal) else ambient
    dropped = values[kept:]
    return AffineHull(mean, axes[:kept].mT, axes[kept:].mT, float(dropped.mean().sqrt()) if len(dropped) else 0.0)


def estimate_dimension(points: Tensor, *, hull: AffineHull | None = None, generator: torch.Generator | None = None) -> DimensionEstimate:
    """Intrinsic dimension of distinct points (n, D), by local PCA scanned over the neighbourhood size and by TwoNN.

    Both work in the affine hull at the noise level, `hull` where it is known. The generator picks the query points (600 at most; 20,000 for TwoNN).
    Raises InvalidInputError for fewer than three points.
    """
    n = len(points)
    if n < 3:
        raise InvalidInputError(f"points: {n} points show no dimension; give at least 3 distinct points")
    inside = (hull or affine_hull(points)).coordinates(points)
    queries = inside[torch.randperm(n, generator=generator)[:QUERIES].to(inside.device)]
    spectra = _spectra(inside, queries)
    per_k = {k: _largest(_log_ratios(values.median(0).values, k)) for k, values in spectra.items()}
    k = max(per_k, key=lambda size: (round(per_k[size][1], 6), -size))
    pooled, gap = per_k[k] if per_k[k][1] >= FAINT else (inside.shape[1], per_k[k][1])
    histogram = _histogram(_log_ratios(spectra[k], k), queries)
    mixed = tuple(d for d, share in histogram.items() if share >= SHARE)
    dim = max(histogram, key=histogram.__getitem__) if mixed and pooled not in mixed and gap >= FAINT else pooled
    second = two_nn(inside, generator=generator)
    agreement = math.isfinite(second) and round(second) == dim
    return DimensionEstimate(dim, pooled, second, k, gap, per_k, _plateau(per_k, k), agreement, histogram, mixed)


def local_dimensions(points: Tensor, k: int, among: tuple[int, ...]) -> Tensor:
    """Dimension (n,) int64 at each of distinct points (n, D), one of `among`: the largest mean log ratio of the spectra of `k` neighbours, near it."""
    inside = affine_hull(points).coordinates(points)
    ratios = _log_ratios(local_pca(inside, nearest(inside, k, inside)[1]).values, k)
    near = nearest(inside, min(VOTERS, len(inside)), inside)[1]
    places = torch.tensor([d - 1 for d in among if d <= ratios.shape[1]], device=points.device)
    return places[ratios[near].mean(1)[:, places].argmax(1)] + 1


def two_nn(points: Tensor, *, generator: torch.Generator | None = None) -> float:
    """TwoNN estimate of the dimension of points (n, D); points with a duplicate are left out, nan where fewer than ten remain.

    Of more than 20,000 points (`LOCAL_ROWS`) so many ask for their neighbours, picked by the generator.
    """
    few = len(points) <= LOCAL_ROWS
    distances = nearest(points, 2)[0] if few else nearest(points, 3, points[random_rows(len(points), LOCAL_ROWS, generator).to(points.device)])[0][:, 1:]
    distances = distances[distances[:, 0] > 0]
    n = len(distances)
    if n < 10:
        return math.nan
    mu = (distances[:, 1] / distances[:, 0]).log().sort().values
    kept = int(0.9 * n)
    x, y = mu[:kept], -torch.log1p(-torch.arange(1, kept + 1, dtype=mu.dtype, device=mu.device) / n)
    return float((x @ y) / (x @ x)) if float(x @ x) > 0 else math.nan


def _upright(centred: Tensor) -> Tensor:
    """Rows with the same singular values and right singular vectors as `centred` (n, D): of many rows the triangle of its QR decomposition, block by block."""
    ambient = centred.shape[1]
    if len(centred) <= max(LOCAL_ROWS, 2 * ambient):
        return centred
    triangle = centred[:0]
    for block in centred.split(max(LOCAL_ROWS, ambient)):
        triangle = torch.linalg.qr(torch.cat([triangle, block]), mode="r").R
    return triangle


def _spectra(points: Tensor, queries: Tensor) -> dict[int, Tensor]:
    sizes = _sizes(len(points))
    indices = nearest(points, sizes[-1], queries)[1]
    return {k: local_pca(points, indices[:, :k]).values for k in sizes}


def _sizes(n: int) -> list[int]:
    sizes = [min(SMALLEST, n)]
    while (larger := math.ceil(GROWTH * sizes[-1])) <= min(n // 8, LARGEST):
        sizes.append(larger)
    return sizes


def _log_ratios(values: Tensor, k: int) -> Tensor:
    """log lambda_j/lambda_{j+1} (..., m) of spectra (..., D), for the j <= k/5 that k points can tell from the edge of their own spectrum."""
    first = values[..., :1].clamp_min(torch.finfo(values.dtype).tiny)
    values = torch.maximum(values, first / CUT)
    last = max(1, k // 5)
    if values.shape[-1] <= last:
        values = torch.cat([values, torch.minimum(values[..., -1:], first / FULL)], -1)
    logs = values[..., : last + 1].log()
    return logs[..., :-1] - logs[..., 1:]


def _largest(ratios: Tensor) -> tuple[int, float]:
    return int(ratios.argmax()) + 1, float(ratios.max())


def _plateau(per_k: Mapping[int, tuple[int, float]], k: int) -> tuple[int, ...]:
    sizes = list(per_k)
    first = last = sizes.index(k)
    while first > 0 and per_k[sizes[first - 1]][0] == per_k[k][0]:
        first -= 1
    while last < len(sizes) - 1 and per_k[sizes[last + 1]][0] == per_k[k][0]:
        last += 1
    return tuple(sizes[first : last + 1])


def _histogram(ratios: Tensor, queries: Tensor) -> dict[int, float]:
    """Shares of the local dimensions; each query votes with the mean log ratios of the seven queries nearest to it, if they are decisive."""
    near = nearest(queries, min(VOTERS, len(queries)), queries)[1]
    strength, place = ratios[near].mean(1).max(1)
    votes = place[strength >= DECISIVE] + 1
    return {d: count / len(votes) for d, count in enumerate(votes.bincount().tolist()) if count}
