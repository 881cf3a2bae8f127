"""Brownian paths from the data, stored with what a score is learned from.

Path i is stopped at levels u_ik = u_min (u_max / u_min)^((k + r_i) / K), r_i uniform in [0, 1), so that log u is spread evenly. Where u is short against the
reach (u <= (.3 reach)^2) the heat kernel is known (Varadhan; Minakshisundaram, Pleijel),

    grad_x log k_u(x, x_0) = v / u - Ric v / 6 + O(|v|^3),      v = log_x(x_0) = w + II(II(w, w), w) / 6,  w = P(x) (x_0 - x)

and is the target of denoising. Later the divergence is needed, for which the tangents and the mean curvature vector of every point are kept. Latest, where few
modes are left, the score of the data itself is known from them (`learning.tail`), and nothing has to be walked that far.
Varadhan (1967), On the behavior of the fundamental solution of the heat equation; Vincent (2011), Score matching and denoising autoencoders;
Hyvarinen (2005), Estimation of non-normalized statistical models by score matching.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.curvature import ricci_curvature
from topogen.learning.tail import Tail
from topogen.manifolds.base import Manifold
from topogen.sampling.brownian import brownian_paths

__all__ = ["Bank", "walk_bank"]

_ROWS = 20_000

KNOWN = 0.3
LEVELS = 24
# The walk is right to second order, and what is left at a quarter of the reach is 1 % of a decay rate.
STRIDE = 0.25


class Bank(NamedTuple):
    """Rows of paths, float32: `points` (m, D) float64, `log_times` (m,), `tangent` (m, D, d), `bend` H (m, D), `target` (m, D) the score of the heat kernel,
    `known` (m,) whether that is to be used, `start` (m,) int64 the row of the data the path began at."""

    points: Tensor
    log_times: Tensor
    tangent: Tensor
    bend: Tensor
    target: Tensor
    known: Tensor
    start: Tensor


@torch.no_grad()
def walk_bank(
    manifold: Manifold, data: Tensor, times: tuple[float, float], reach: float, *, tail: Tail | None = None, generator: torch.Generator | None = None
) -> Bank:
    """`LEVELS` rows for every row of the data (n, D) on M, whose reach is given in data units: points of a path, and of the tail where one is given."""
    low, high = math.log(times[0]), math.log(times[1])
    middle = high if tail is None else min(max(math.log(tail.begins), low), high)
    levels = max(1, round(LEVELS * (middle - low) / (high - low)))
    walked = _walked(manifold, data, low, middle, levels, reach, generator)
    if tail is None or levels >= LEVELS:
        return walked
    more = _tailed(manifold, walked, tail, (middle, high), (LEVELS - levels) * len(data), generator)
    return Bank(*(torch.cat(column) for column in zip(walked, more, strict=True)))


def _walked(manifold: Manifold, data: Tensor, low: float, high: float, levels: int, reach: float, generator: torch.Generator | None) -> Bank:
    """Points of paths at `levels` times with logarithms between low and high."""
    share = (torch.arange(levels, dtype=torch.float64).unsqueeze(1) + torch.rand(1, len(data), generator=generator, dtype=torch.float64)) / levels
    log_times = low + share * (high - low)
    paths = brownian_paths(manifold, data, log_times.exp(), step=STRIDE * reach, generator=generator)
    start = torch.arange(len(data)).repeat(levels)
    points, flat = paths.points.flatten(0, 1), log_times.flatten()
    parts = [_learnable(manifold, x, data[i], t) for x, i, t in zip(points.split(_ROWS), start.split(_ROWS), flat.split(_ROWS), strict=True)]
    tangent, bend, target = (torch.cat(column).float() for column in zip(*parts, strict=True))
    return Bank(points, flat.float(), tangent, bend, target, flat <= 2 * math.log(KNOWN * reach), start)


def _tailed(manifold: Manifold, walked: Bank, tail: Tail, span: tuple[float, float], n: int, generator: torch.Generator | None) -> Bank:
    """n rows with the scores of the tail: half of them where paths have ended, half anywhere."""
    ended = walked.points[-(int(walked.start.max()) + 1) :]
    there = ended[torch.randint(len(ended), (n // 2,), generator=generator)]
    anywhere = tail.points[torch.randint(len(tail.points), (n - n // 2,), generator=generator)]
    x = torch.cat([there, anywhere])
    log_times = span[0] + (span[1] - span[0]) * torch.rand(n, generator=generator, dtype=torch.float64)
    tangent = torch.cat([manifold.tangent_basis(part) for part in x.split(_ROWS)]).float()
    target = torch.cat([tail.score(part, t.exp()) for part, t in zip(x.split(_ROWS), log_times.split(_ROWS), strict=True)]).float()
    known = torch.ones(n, dtype=torch.bool)
    return Bank(x, log_times.float(), tangent, torch.zeros_like(target), target, known, torch.zeros(n, dtype=torch.int64))


def _learnable(manifold: Manifold, x: Tensor, origin: Tensor, log_times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Tangents, mean curvature vectors and scores of the heat kernel at points (m, D) that came from `origin` (m, D)."""
    basis, form = manifold._bend(x)
    w = torch.einsum("nDa,nD->na", basis, origin - x)
    bent = torch.einsum("nDab,na,nb->nD", form, w, w)
    v = w + torch.einsum("nD,nDab,nb->na", bent, form, w) / 6
    score = v / log_times.exp().unsqueeze(1) - torch.einsum("nab,nb->na", ricci_curvature(form), v) / 6
    return basis, form.diagonal(dim1=-2, dim2=-1).sum(-1), torch.einsum("nDa,na->nD", basis, score)
