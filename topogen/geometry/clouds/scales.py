"""The lengths that decide what can be learned from a cloud: noise, spacing, reach.

Noise sigma is the residual, per normal direction, of quadratic sheets fitted to the smallest neighbourhoods wider than 4 to 7 sigma,
so curvature does not count. Spacing is the distance to the nearest neighbour in a uniform sample of the density found there, tau_k k^(-1/d) Gamma(1 + 1/d),
tau_k the tangential radius of k neighbours: noise does not count. Reach is Federer's

    reach(x) = inf_y |y - x|^2 / (2 dist(y - x, T_xM))

over the points moved onto their sheets, with what the noise left on them taken off the distance; pairs from two sheets that come near count as well.
Of more than 20,000 points (`LOCAL_ROWS`) so many drawn at random are looked at, with all points for neighbours; the others take what the nearest of them has.
Federer (1959), Curvature measures, theorem 4.18; Aamari et al. (2019), Estimating the reach of a manifold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import LocalFit, LocalPCA, local_fit, local_pca, nearest, terms
from topogen.geometry.clouds.point_clouds import LOCAL_ROWS, random_rows

__all__ = ["NoiseLevel", "Scales", "boundary_points", "diameter", "estimate_scales", "noise_level"]

WIDE = 4.0
TRIMMED = 7.0
STEADY = 16.0
LACK_OF_FIT, SLIGHT = 1.15, 1.08
HEARD = 8.0
VISIBLE = 0.3
SHRINK = 1.5
BOUNDARY_NEIGHBOURS, MOST_NEIGHBOURS = 50, 400
PLANE_NEIGHBOURS = 20
PARTNERS = 2500
PILOT = 400


@dataclass(frozen=True)
class Scales:
    """Lengths of a cloud of n points near a manifold of dimension `dim` in R^D, in units of the data.

    `noise`: standard deviation per normal coordinate; `spacing`, `reach`: robust summaries (median; 5 % quantile) of
    `spacing_per_point` (n,) and `reach_per_point` (n,); `diameter`: a lower bound of the largest distance, tight in practice;
    `k`: size of the neighbourhoods used; `resolved`: False where no neighbourhood was wider than 4 sigma, so that noise and reach are guesses.
    """

    dim: int
    noise: float
    spacing: float
    reach: float
    diameter: float
    spacing_per_point: Tensor
    reach_per_point: Tensor
    k: int
    resolved: bool


def estimate_scales(points: Tensor, dim: int, *, generator: torch.Generator | None = None) -> Scales:
    """Noise, spacing and reach of distinct points (n, D) near a manifold of dimension `dim`.

    The generator picks the pilot points that choose the neighbourhood size, the points looked at where there are many, and the partners of the reach.
    Raises InvalidInputError for dim outside 1..D or fewer than dim + 2 points.
    """
    n, ambient = points.shape
    if not 1 <= dim <= ambient:
        raise InvalidInputError(f"dim: expected 1 to {ambient} for points in R^{ambient}, found {dim}; pass the manifold's dimension")
    if n < dim + 2:
        raise InvalidInputError(f"points: {n} points cannot show a manifold of dimension {dim}; give at least {dim + 2}")
    noise, k, resolved, _ = _pilot(points, dim, generator)
    queries = points if n <= LOCAL_ROWS else points[random_rows(n, LOCAL_ROWS, generator).to(points.device)]
    indices = _thinned(points, k, queries)
    fit = local_fit(points, queries, indices, dim)
    spacing = _spacing(points, queries, fit, noise, k)
    reach = _reach_under_noise(fit, noise, indices.shape[1], generator)
    summaries = float(spacing.median()), float(reach.quantile(0.05, interpolation="lower"))
    if n > LOCAL_ROWS:
        near = nearest(queries, 1, points)[1][:, 0]
        spacing, reach = spacing[near], reach[near]
    return Scales(dim, noise, *summaries, diameter(points), spacing, reach, k, resolved)


def noise_level(points: Tensor, dim: int, *, generator: torch.Generator | None = None) -> NoiseLevel:
    """`Scales.noise`, `k` and `resolved` of points (n, D), n at least dim + 2, alone: a small part of the work."""
    return _pilot(points, dim, generator)


def diameter(points: Tensor) -> float:
    """Largest distance found from point to farthest point, started at the one farthest from the mean and followed eight times."""
    x = points.mean(0)
    x = points[(points - x).norm(dim=1).argmax()]
    best = 0.0
    for _ in range(8):
        distance = (points - x).norm(dim=1)
        x = points[distance.argmax()]
        best = max(best, float(distance.max()))
    return best


def boundary_points(points: Tensor, dim: int, *, k: int | None = None) -> Tensor:
    """Mask (n,) of the points behind which, along their tangent plane, next to no neighbour lies.

    With z_j the neighbours of x in tangent coordinates and u the direction of their mean, x is on the boundary when so few of the z_j have
    <z_j, u> < 0, at most a tenth, that a count of Binomial(m, .4) that small is expected less than once in a thousand clouds: .4, not .5, and the
    tenth leave room for uneven density.
    Neighbours more than half the neighbourhood's radius off the plane belong to another sheet and do not count; m is how many are left of 50.
    A piece of lower dimension (d-th local eigenvalue below a tenth of the first) is left alone.
    `k`, the neighbours that give the tangent plane (20), is `Scales.k` for a noisy cloud: planes wider than the noise.
    All False where the cloud is too small to tell.
    """
    n = len(points)
    plane = min(k or PLANE_NEIGHBOURS, n - 1)
    indices = _thinned(points, 1 + max(plane, min(BOUNDARY_NEIGHBOURS, n // 8)), points)[:, 1:]
    size = max(1, 4_000_000 // (indices.shape[1] * points.shape[1]))
    rows = zip(torch.split(points, size), torch.split(indices, size), strict=True)
    behind, kept, thin = torch.cat([_behind(points, x, part, local_pca(points, part[:, :plane]), dim) for x, part in rows], 1)
    few: Tensor = _few(n, indices.shape[1], dim).to(points.device)
    mask: Tensor = (behind <= few[kept]) & ~thin.bool()
    return mask


class NoiseLevel(NamedTuple):
    """Noise per normal coordinate, the neighbourhoods that show it, and whether one was wide enough to, as in `Scales`; their median `radius`."""

    noise: float
    k: int
    resolved: bool
    radius: float


class _Width(NamedTuple):
    """What neighbourhoods of k points show: the median residual of their sheets and their median radius."""

    k: int
    residual: float
    radius: float


def _pilot(points: Tensor, dim: int, generator: torch.Generator | None) -> NoiseLevel:
    """Noise from neighbourhoods WIDE to TRIMMED times wider than it; k as large as quadratic sheets still explain it; whether one was wide enough."""
    seen = list(_widths(points, dim, generator))
    wide = [width for width in seen if width.radius >= WIDE * width.residual]
    if not wide:
        best = max(seen, key=lambda width: width.radius / width.residual)
        return NoiseLevel(best.residual, best.k, False, best.radius)
    first = wide[0]
    fitting = [width for width in wide if width.residual <= LACK_OF_FIT * first.residual and width.radius <= STEADY * first.residual]
    trimmed = [width for width in fitting if width.radius <= TRIMMED * first.residual and width.residual <= SLIGHT * first.residual]
    noise = (trimmed or [first])[-1].residual if dim < points.shape[1] else 0.0
    widest = (fitting or [first])[-1]
    return NoiseLevel(noise, widest.k, True, widest.radius)


def _widths(points: Tensor, dim: int, generator: torch.Generator | None) -> Iterator[_Width]:
    """Scan k upwards, until the neighbourhoods are far wider than the residual."""
    chosen = _sample(len(points), PILOT, generator).to(points.device)
    for k, indices in _neighbourhoods(points, points[chosen], _sizes(2 * terms(dim) + 4, len(points))):
        fit = local_fit(points, points[chosen], indices, dim)
        width = _Width(k, float(fit.variance.median().sqrt()), float(fit.radius.median()))
        yield width
        if width.radius > STEADY * width.residual:
            return


def _neighbourhoods(points: Tensor, queries: Tensor, sizes: list[int]) -> Iterator[tuple[int, Tensor]]:
    """Each size k with the k nearest points of every query, (q, k); of a large cloud wide ones are searched for when they are asked for, in part of it."""
    near = sizes if len(points) <= LOCAL_ROWS else [k for k in sizes if k < 2 * MOST_NEIGHBOURS]
    indices = nearest(points, near[-1], queries)[1]
    yield from ((k, indices[:, :k]) for k in near)
    yield from ((k, _thinned(points, k, queries)) for k in sizes[len(near) :])


def _sizes(first: int, n: int) -> list[int]:
    last = max(min(first, n), n // 4)
    sizes = [min(first, n)]
    while sizes[-1] < last:
        sizes.append(min(max(sizes[-1] + 1, int(1.4 * sizes[-1])), last))
    return sizes


def _thinned(points: Tensor, k: int, queries: Tensor) -> Tensor:
    """Neighbourhoods of queries as wide as those of the k nearest points, themselves among them; from every m-th point only where k is 800 or more."""
    every = max(1, k // MOST_NEIGHBOURS)
    return nearest(points[::every], k // every, queries)[1] * every


def _spacing(points: Tensor, queries: Tensor, fit: LocalFit, noise: float, k: int) -> Tensor:
    """tau_k k^(-1/d) Gamma(1 + 1/d); where noise does not hide them, set to the mean of the distances found, as evenly spread points need."""
    _, ambient, dim = fit.tangent.shape
    tangential = (fit.radius**2 - (dim + 2) * noise**2).clamp_min(0.1 * fit.radius**2).sqrt()
    spacing: Tensor = tangential * (math.gamma(1 + 1 / dim) * k ** (-1 / dim))
    if noise * math.sqrt(2 * (ambient - dim)) > VISIBLE * float(spacing.median()):
        return spacing
    return spacing * float((nearest(points, 2, queries)[0][:, 1] / spacing.clamp_min(1e-300)).mean())


def _reach_under_noise(fit: LocalFit, noise: float, k: int, generator: torch.Generator | None) -> Tensor:
    """Federer's quotient at every point, moved onto its sheet, against a sample of partners, less what noise leaves there (`reach_at`: exact tangents)."""
    _, ambient, dim = fit.tangent.shape
    chosen = _sample(len(fit.centre), PARTNERS, generator).to(fit.centre.device)
    variance = (ambient - dim) * noise**2 * (dim + 2) / k
    size = max(1, 4_000_000 // (len(chosen) * ambient))
    chunks = (torch.split(part, size) for part in (fit.centre, fit.tangent, fit.radius))
    quotients = [_audible_quotients(x, t, r, fit.centre[chosen], variance) for x, t, r in zip(*chunks, strict=True)]
    return torch.cat(quotients)


def _audible_quotients(x: Tensor, tangent: Tensor, radius: Tensor, partners: Tensor, variance: float) -> Tensor:
    """Least quotient of each x over the pairs whose normal distance is HEARD standard errors (of position and tilt) above zero.

    The least of many is biased low; SHRINK standard errors off the distance even that out.
    """
    dim = tangent.shape[2]
    chord = partners.unsqueeze(0) - x.unsqueeze(1)
    squared = chord.square().sum(-1)
    normal = squared - (chord @ tangent).square().sum(-1)
    error = variance * ((dim + 2) / 2 + squared / radius.square().unsqueeze(1))
    heard = (squared > 0.25 * radius.square().unsqueeze(1)) & (normal > HEARD**2 * error + 64 * torch.finfo(squared.dtype).eps * squared)
    distance = (normal - error).clamp_min(0).sqrt() - SHRINK * error.sqrt()
    return (squared / (2 * distance)).masked_fill(~heard, math.inf).amin(1)


def _behind(points: Tensor, x: Tensor, indices: Tensor, plane: LocalPCA, dim: int) -> Tensor:
    """(3, q): neighbours behind x, neighbours on its sheet, and whether the neighbourhood is thinner than `dim` dimensions."""
    offset = points[indices] - x.unsqueeze(1)
    z = offset @ plane.frames[:, :, :dim]
    squared = offset.square().sum(-1)
    sheet = squared - z.square().sum(-1) <= 0.25 * squared.amax(1, keepdim=True)
    mean = (z * sheet.unsqueeze(-1)).sum(1)
    thin = plane.values[:, dim - 1] < 0.1 * plane.values[:, 0]
    return torch.stack([((z @ mean.unsqueeze(-1)).squeeze(-1).lt(0) & sheet).sum(1), sheet.sum(1), thin.long()])


def _few(n: int, k: int, dim: int) -> Tensor:
    """For m = 0..k neighbours the largest count c <= m/10 with n 2^d P(Binomial(m, .4) <= c) <= .001; -1 where there is none."""
    from scipy.stats import binom

    counts = torch.arange(k + 1)
    chance = torch.as_tensor(binom.cdf(counts.unsqueeze(0).numpy(), counts.unsqueeze(1).numpy(), 0.4))
    return torch.minimum((chance * n * 2.0**dim <= 1e-3).sum(1) - 1, counts // 10)


def _sample(n: int, size: int, generator: torch.Generator | None) -> Tensor:
    return torch.randperm(n, generator=generator)[:size].sort().values
