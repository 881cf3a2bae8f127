"""Brownian motion on a manifold, dX = P(X) o dB, whose law solves the heat equation dp/dt = 1/2 Delta p with the volume measure of M as its equilibrium.

    projected      x <- proj(x + sqrt(h) xi),    xi ~ N(0, 1) in T_xM
    second order   x <- proj(x + v + 1/3 S(v)),  v = sqrt(h) (1 - h Ric / 12) xi,    S(v) = II(II(v, v), v), the shape operator of II(v, v) applied to v
    metropolis     the tangent random walk of `sampling.kernels.walk`, which leaves the uniform law exactly as it is

The closest point of x + v is the geodesic from x along v - S(v) / 3 up to fourth order, and a geodesic walk is fast by h Ric / 6: with both corrections decay
rates are right to second order in h where curvature changes slowly (projected: an error of 2.5 h on the unit 2-sphere). Steps are at most .15 of the reach.
A step that does not project, or leaves M at its boundary, is not made: reflection, in the limit of small steps.
Zappa, Holmes-Cerfon, Goodman (2018), Monte Carlo on manifolds; Schwarz, Herrmann, Sturm, Wardetzky (2023), Efficient random walks on Riemannian manifolds;
Hsu (2002), Stochastic analysis on manifolds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.reach import low_reach
from topogen.geometry.curvature import ricci_curvature
from topogen.geometry.frames import apply
from topogen.manifolds.base import Manifold
from topogen.sampling.chains import run_chains
from topogen.sampling.kernels.noise import ambient_noise
from topogen.sampling.kernels.walk import TangentRandomWalk

__all__ = ["SCHEMES", "BrownianPaths", "brownian", "brownian_paths", "longest_step", "mirrored"]

SCHEMES = ("second order", "projected", "metropolis")
STEP_OF_REACH = 0.15


class BrownianPaths(NamedTuple):
    """Brownian paths at their times: `points` (K, n, D) float64, and the share of the steps that were `refused`."""

    points: Tensor
    refused: float


def brownian(
    manifold: Manifold,
    x: Tensor,
    time: float | Tensor,
    *,
    step: float | None = None,
    scheme: str = "second order",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Where Brownian paths from points x (n, D) of M are at `time` > 0 (a number or (n,); variance per direction, squared data units): (n, D).

    `step`: the longest sqrt(h), .15 of the reach when None. Raises InvalidInputError for times that are not positive, unknown schemes and wrong shapes.
    """
    times = torch.as_tensor(time, dtype=torch.float64).expand(1, len(x)) if torch.is_tensor(time) else torch.full((1, len(x)), float(time), dtype=torch.float64)
    return brownian_paths(manifold, x, times, step=step, scheme=scheme, generator=generator).points[0].to(x.dtype)


@torch.no_grad()
def brownian_paths(
    manifold: Manifold, x: Tensor, times: Tensor, *, step: float | None = None, scheme: str = "second order", generator: torch.Generator | None = None
) -> BrownianPaths:
    """Brownian paths from points x (n, D) of M at ascending `times` (K,) or (K, n); see `brownian`."""
    start = manifold.as_rows(x).detach().double()
    times = _checked_times(times, len(start))
    if scheme not in SCHEMES:
        raise InvalidInputError(f"scheme: expected one of {', '.join(SCHEMES)}, found {scheme!r}")
    step = longest_step(manifold, start) if step is None else step
    if not 0 < step < math.inf:
        raise InvalidInputError(f"step: expected a positive length, found {step}")
    if scheme == "metropolis":
        return _metropolis(manifold, start, times, step, generator)
    found, refused, made, now = [], 0.0, 0, torch.zeros_like(times[0])
    for then in times:
        count = max(1, math.ceil(float((then - now).max()) / step**2))
        for _ in range(count):
            start, lost = _moved(manifold, start, (then - now) / count, scheme == "second order", generator)
            refused, made = refused + lost, made + 1
        found.append(start)
        now = then
    return BrownianPaths(torch.stack(found), refused / made)


def longest_step(manifold: Manifold, points: Tensor) -> float:
    """.15 of a low quantile of the reach at points (n, D) of M, data units; .15 of the extent of the points where M is flat."""
    some = points[:: max(1, len(points) // 1000)].detach().double()
    known = manifold.known_points() if len(some) < 200 else None
    some = some if known is None else torch.cat([some, known[:: max(1, len(known) // 1000)].double()])
    reach = low_reach(some, manifold.tangent_basis(some))
    return STEP_OF_REACH * (reach if math.isfinite(reach) else 1.0)


@torch.no_grad()
def mirrored(manifold: Manifold, x: Tensor, h: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Both ends (n, 2, D) of one step of the second order, of variance h (n,), and of its mirror image, from points x (n, D) of M; x where there is no end."""
    noise = ambient_noise(x, generator)[:, : manifold.dim]
    step = _increment(manifold, x, noise * h.sqrt().unsqueeze(1), h, True)
    ends = [manifold.project(x + sign * step) for sign in (1, -1)]
    return torch.stack([torch.where(found.converged.unsqueeze(-1), found.points, x) for found in ends], 1)


def _moved(manifold: Manifold, x: Tensor, h: Tensor, corrected: bool, generator: torch.Generator | None) -> tuple[Tensor, float]:
    """One step of variance h (n,) from points (n, D), and the share that was refused."""
    noise = ambient_noise(x, generator)[:, : manifold.dim]
    found = manifold.project(x + _increment(manifold, x, noise * h.sqrt().unsqueeze(1), h, corrected))
    return torch.where(found.converged.unsqueeze(-1), found.points, x), float((~found.converged).double().mean())


def _increment(manifold: Manifold, x: Tensor, u: Tensor, h: Tensor, corrected: bool) -> Tensor:
    """The tangent vectors (n, D) with coordinates u (n, d), lengthened for the curvature."""
    if not corrected:
        return apply(manifold.tangent_basis(x), u)
    basis, form = manifold.tangent_and_second_form(x)
    v = u - h.unsqueeze(1) / 12 * apply(ricci_curvature(form), u)
    bent = torch.einsum("nDab,na,nb->nD", form, v, v)
    return apply(basis, v + torch.einsum("nD,nDab,nb->na", bent, form, v) / 3)


def _metropolis(manifold: Manifold, x: Tensor, times: Tensor, step: float, generator: torch.Generator | None) -> BrownianPaths:
    if not bool((times == times[:, :1]).all()):
        raise InvalidInputError("times: Metropolised walks move all points at once; pass times (K,)")
    kernel, found, refused, made, now = TangentRandomWalk(manifold), [], 0.0, 0, 0.0
    for then in times[:, 0].tolist():
        count = max(1, math.ceil((then - now) / step**2))
        chains = run_chains(kernel, x, count, math.sqrt((then - now) / count), thin=count, generator=generator)
        x, now = chains.points[-1], then
        refused, made = refused + count * float(1 - chains.acceptance.mean()), made + count
        found.append(x)
    return BrownianPaths(torch.stack(found), refused / made)


def _checked_times(times: Tensor, n: int) -> Tensor:
    times = torch.as_tensor(times, dtype=torch.float64)
    times = times.unsqueeze(1).expand(-1, n) if times.ndim == 1 else times
    if times.ndim != 2 or times.shape[1] != n or not len(times):
        raise InvalidInputError(f"times: expected (K,) or (K, {n}), found {tuple(times.shape)}")
    if not bool(torch.isfinite(times).all()) or not bool((times[0] > 0).all()) or not bool((times.diff(dim=0) > 0).all()):
        raise InvalidInputError("times: expected positive, ascending numbers; a Brownian path has no past and is where it starts at 0")
    return times
