"""Uniform samples and the volume of a manifold of any dimension by tangent random walks from known points.

Chains equilibrate from the given points (steps tuned, but at most twice the reach: longer ones stick where M bends most), then a pool of positions
far apart in time is kept. Chains never leave their connected component, so a component's share of start points says nothing about its volume:
components of the neighbour graph of the pool (chains join what they visit) get their own kernel estimate of the volume, and samples choose a
component with probability proportional to it before they walk.

Zappa, Holmes-Cerfon, Goodman (2018), Monte Carlo on manifolds: sampling densities and integrating functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from topogen.distributions.uniform.estimate import Estimate
from topogen.distributions.uniform.kernel_volume import kernel_volume
from topogen.errors import InvalidInputError, ProjectionError
from topogen.geometry.balls import sphere_points
from topogen.geometry.clouds.neighbours import Tree
from topogen.geometry.clouds.point_clouds import even_rows
from topogen.geometry.clouds.reach import low_reach
from topogen.manifolds.base import Manifold
from topogen.sampling import TangentRandomWalk, autocorrelation_time, first_step, run_chains, warm_up

__all__ = ["MarkovChainUniform", "markov_chains_from"]

CHAINS = 512
SAMPLING_CHAINS = 2048
POOL = 5120
PER_COMPONENT = 64
WARM_UP = 150
PILOT = 100
LONGEST_PILOT = 1600
LONGEST_STEP = 2.0
NEIGHBOURS = 16
REACH_SHARE = 0.8
RESTARTS = 2


@final
@dataclass(frozen=True)
class MarkovChainUniform:
    """Equilibrated chains on M: `pools`, one (k, n_chains, D) of positions `thin` steps apart per component, with their `volumes`."""

    kernel: TangentRandomWalk
    step: float
    thin: int
    pools: list[Tensor]
    volumes: list[Estimate]

    def sample(self, n: int, generator: torch.Generator | None) -> Tensor:
        """n points (n, D) float64: chains restarted from the pools, a component drawn by its volume, walked `thin` steps between samples."""
        source = generator if generator is not None else torch.default_generator
        chains = min(max(n, 1), SAMPLING_CHAINS)
        start = self._starts(chains, source)
        rounds = math.ceil(n / chains)
        start = run_chains(self.kernel, start, RESTARTS * self.thin, self.step, thin=RESTARTS * self.thin, generator=source).points[-1]
        moved = run_chains(self.kernel, start, rounds * self.thin, self.step, thin=self.thin, generator=source)
        return moved.points.reshape(-1, start.shape[1])[:n]

    def volume(self) -> Estimate:
        """Sum of the components' volumes."""
        value = sum(part.value for part in self.volumes)
        error = math.hypot(*(part.standard_error for part in self.volumes))
        pieces = f", {len(self.volumes)} components" if len(self.volumes) > 1 else ""
        return Estimate(value, error, f"{self.volumes[0].method}{pieces}, {self.thin} steps of the tangent walk apart")

    def _starts(self, chains: int, source: torch.Generator) -> Tensor:
        """Pool points, the components in the proportions of their volumes (systematic draw, then shuffled)."""
        share = torch.tensor([part.value for part in self.volumes], dtype=torch.float64)
        levels = (torch.arange(chains) + torch.rand(1, generator=source)) / chains
        component = torch.bucketize(levels.double() * share.sum(), share.cumsum(0)).clamp(max=len(share) - 1)
        component = component[torch.randperm(chains, generator=source)]
        pick = torch.rand(chains, dtype=torch.float64, generator=source)
        flat = [pool.reshape(-1, pool.shape[-1]) for pool in self.pools]
        return torch.stack([flat[int(c)][int(u * len(flat[int(c)]))] for c, u in zip(component, pick, strict=True)])


def markov_chains_from(manifold: Manifold, points: Tensor, generator: torch.Generator, *, chains: int = CHAINS, pool_size: int = POOL) -> MarkovChainUniform:
    """Chains started at the projections of points (n, D) float64, tuned and equilibrated, with the volume of every component they found.

    `pool_size` positions are kept in all; the standard error of the volumes falls with its root.
    Raises ProjectionError when no point can be projected.
    """
    found = manifold.project(points)
    known = found.points[found.converged]
    if not len(known):
        raise ProjectionError(f"points: none of {len(points)} could be projected onto {manifold!r}; pass points near it")
    kernel = TangentRandomWalk(manifold)
    start = known[_spread(len(known), chains, generator)]
    start, step = warm_up(kernel, start, first_step(known, manifold.dim), WARM_UP, generator=generator)
    step = min(step, LONGEST_STEP * _sampled_low_reach(manifold, known))
    pilot = _pilot(kernel, start, step, generator)
    thin = math.ceil(2 * float(autocorrelation_time(pilot, within=True).max()))
    masks = _components(pilot)
    each = max(PER_COMPONENT, chains // len(masks))
    start = torch.cat([pilot[-1][mask][_spread(int(mask.sum()), each, generator)] for mask in masks])
    pool = run_chains(kernel, start, thin * math.ceil(pool_size / len(start)), step, thin=thin, generator=generator).points
    pools = [pool[:, mask] for mask in _components(pool)]
    return MarkovChainUniform(kernel, step, thin, pools, [_volume(manifold, part, generator) for part in pools])


def _spread(n: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` row numbers below n, each row as often as any other up to one."""
    return torch.cat([torch.randperm(n, generator=generator) for _ in range(math.ceil(count / n))])[:count]


def _pilot(kernel: TangentRandomWalk, start: Tensor, step: float, generator: torch.Generator) -> Tensor:
    """Positions of a run ten autocorrelation times long, after as long a burn-in (the first half is dropped)."""
    n = PILOT
    positions = run_chains(kernel, start, n, step, generator=generator).points
    while n < LONGEST_PILOT and 20 * float(autocorrelation_time(positions[n // 2 :], within=True).max()) > n:
        positions = torch.cat([positions, run_chains(kernel, positions[-1], n, step, generator=generator).points])
        n *= 2
    return positions[n // 2 :]


def _components(positions: Tensor) -> list[Tensor]:
    """Masks (n_chains,) of the chains on each component: nearest neighbours are joined, and so are all positions of a chain."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    k, chains, dim = positions.shape
    kept = positions[:: max(1, k * chains // POOL)]
    flat = kept.reshape(-1, dim)
    near = Tree(flat).nearest(flat, min(NEIGHBOURS + 1, len(flat)))[1]
    source = torch.arange(len(flat)).repeat_interleave(near.shape[1]) % chains
    target = near.reshape(-1) % chains
    graph = coo_matrix((torch.ones(len(source)).numpy(), (source.numpy(), target.numpy())), shape=(chains, chains))
    number, labels = connected_components(graph, directed=False)
    labels = torch.as_tensor(labels)
    return [labels == i for i in range(number)]


def _volume(manifold: Manifold, pool: Tensor, generator: torch.Generator) -> Estimate:
    flat = pool.reshape(-1, pool.shape[-1])
    radius = REACH_SHARE * _sampled_low_reach(manifold, flat)
    interior = None if manifold.gate is None else _interior(manifold, flat, radius, generator).reshape(pool.shape[:2])
    if interior is not None and int(interior.sum()) < len(flat) // 20:
        raise InvalidInputError(
            f"manifold: hardly any of {len(flat)} points is {radius:.3g} away from the gate; the piece is too narrow for the kernel estimate"
        )
    return kernel_volume(pool, manifold.dim, radius, generator, interior)


def _sampled_low_reach(manifold: Manifold, points: Tensor) -> float:
    """The `low_reach` of up to 1500 of the points (n, D) of M."""
    some = points[even_rows(len(points), 1500)]
    return low_reach(some, manifold.tangent_basis(some))


def _interior(manifold: Manifold, points: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """Points (n, D) from which a step of length `radius` in any of 8 d random tangent directions stays on M."""
    tangent = manifold.tangent_basis(points)
    inside = torch.ones(len(points), dtype=torch.bool)
    for _ in range(8 * manifold.dim):
        u = sphere_points(len(points), manifold.dim, generator=generator)
        ahead = manifold.project(points + radius * (tangent @ u.unsqueeze(-1)).squeeze(-1))
        inside &= ahead.converged
    return inside
