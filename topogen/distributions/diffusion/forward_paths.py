"""Brownian paths from the data, stored with what a score is learned from.

Path i is stopped at levels u_ik = u_min (u_max / u_min)^((k + r_i) / K), r_i uniform in [0, 1), so that log u is spread evenly. Its last step, of variance
h = min(u, (.3 reach)^2), is short enough for the heat kernel to be known (Varadhan; Minakshisundaram, Pleijel), and for a path that was at y before

    grad_x log k_h(x, y) = v / h - Ric v / 6 + O(|v|^3),      v = log_x(y) = w + II(II(w, w), w) / 6,  w = P(x) (y - x),
    grad log p_u(x) = E[grad_x log k_h(x, y) | x]             whatever came before y

is the target of denoising. The last step is taken in both directions, x = exp_y(+-w): the two targets are nearly opposite, and their noise, by far the largest
at early times, cancels where the field is smooth on the length of the step.
Varadhan (1967), On the behavior of the fundamental solution of the heat equation; Vincent (2011), Score matching and denoising autoencoders;
Hammersley, Morton (1956), A new Monte Carlo technique: antithetic variates.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.geometry.curvature import ricci_curvature
from topogen.manifolds.base import Manifold
from topogen.sampling.brownian import brownian_paths, mirrored

__all__ = ["LEVELS", "ForwardPaths", "forward_paths"]

_ROWS = 20_000

KNOWN = 0.3
LEVELS = 24
# The walk is right to second order, and what is left at a quarter of the reach is 1 % of a decay rate.
STRIDE = 0.25


class ForwardPaths(NamedTuple):
    """Pairs of points at one time: `points` (m, 2, D) float64; float32 `log_times` (m,), `tangent` (m, 2, D, d), `target` (m, 2, D) their scores;
    `start` (m,) int64 the row of the data whose context they have, `alone` (m,) whether they have none."""

    points: Tensor
    log_times: Tensor
    tangent: Tensor
    target: Tensor
    start: Tensor
    alone: Tensor


@torch.no_grad()
def forward_paths(
    manifold: Manifold,
    data: Tensor,
    times: tuple[float, float],
    reach: float,
    *,
    alone: float = 0.0,
    generator: torch.Generator | None = None,
) -> ForwardPaths:
    """`LEVELS` rows for every row of the data (n, D) on M, whose reach is given in data units; the share `alone` of them is to be learned without a context."""
    low, high = (math.log(time) for time in times)
    share = (torch.arange(LEVELS, dtype=torch.float64).unsqueeze(1) + torch.rand(1, len(data), generator=generator, dtype=torch.float64)) / LEVELS
    log_times = low + share * (high - low)
    before, last = _before_the_last(manifold, data, log_times.exp(), (KNOWN * reach) ** 2, STRIDE * reach, generator)
    parts = zip(before.split(_ROWS), last.split(_ROWS), strict=True)
    points, tangent, target = (torch.cat(column) for column in zip(*(_ends(manifold, y, h, generator) for y, h in parts), strict=True))
    start = torch.arange(len(data)).repeat(LEVELS)
    return ForwardPaths(points, log_times.flatten().float(), tangent, target, start, torch.rand(len(start), generator=generator) < alone)


def _before_the_last(manifold: Manifold, data: Tensor, times: Tensor, known: float, stride: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Where paths to `times` (K, n) are before their last step (K n, D), and the variance of that (K n,)."""
    waiting = times - times.clamp_max(known)
    resting = int((waiting <= 0).all(1).sum())
    # Paths that have not left yet while others of their level have: steps of no length, which ascend as all times have to.
    moving = waiting[resting:].clamp_min(1e-9 * known) + 1e-9 * known * torch.arange(len(times) - resting, dtype=times.dtype).unsqueeze(1)
    here = [data.expand(resting, *data.shape)]
    here += [brownian_paths(manifold, data, moving, step=stride, generator=generator).points] if len(moving) else []
    return torch.cat(here).flatten(0, 1), (times - torch.cat([torch.zeros_like(waiting[:resting]), moving])).flatten()


def _ends(manifold: Manifold, y: Tensor, h: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
    """Both ends (m, 2, D) of last steps of variance h from y (m, D), their tangents and scores of the heat kernel."""
    x = mirrored(manifold, y, h, generator)
    tangent, target = _learnable(manifold, x.flatten(0, 1), y.repeat_interleave(2, 0), h.repeat_interleave(2))
    return x, tangent.unflatten(0, (-1, 2)).float(), target.unflatten(0, (-1, 2)).float()


def _learnable(manifold: Manifold, x: Tensor, origin: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Tangents and scores of the heat kernel of time h (m,) at points (m, D) that came from `origin` (m, D)."""
    basis, form = manifold.tangent_and_second_form(x)
    w = torch.einsum("nDa,nD->na", basis, origin - x)
    bent = torch.einsum("nDab,na,nb->nD", form, w, w)
    v = w + torch.einsum("nD,nDab,nb->na", bent, form, w) / 6
    score = v / h.unsqueeze(1) - torch.einsum("nab,nb->na", ricci_curvature(form), v) / 6
    return basis, torch.einsum("nDa,na->nD", basis, score)
