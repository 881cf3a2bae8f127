"""The volume of a manifold read off uniform points on it, without an integral over the ambient space: the intrinsic kernel estimate.

Two independent uniform points of M are within h of each other with probability p(h) = E vol(M cap B(x, h)) / vol(M), and

    vol(M cap B(x, h)) = v_d h^d (1 + c h^2 + O(h^4)),     so     v_d h^d / p(h) = vol(M) (1 - c h^2 + O(h^4)) .

p is counted at several h and the left side is extrapolated to h = 0 by weighted regression on h^2. Pairs of one chain are left out, because its
points depend on each other; the standard error is a bootstrap over chains. Near a boundary balls are cut: only points marked interior are centres.
Karp, Gray (1984), The volume of a small geodesic ball of a Riemannian manifold; Efron (1979), Bootstrap methods.
"""

from __future__ import annotations

import torch
from torch import Tensor

from topogen.distributions.uniform.estimate import Estimate
from topogen.errors import InvalidInputError
from topogen.geometry.balls import ball_volume

__all__ = ["kernel_volume"]

RADII = 8
SMALLEST = 0.4
REPLICATES = 200
FEWEST_PAIRS = 200


def kernel_volume(points: Tensor, dim: int, largest: float, generator: torch.Generator, interior: Tensor | None = None) -> Estimate:
    """Volume of the d-manifold that chains of uniform points (k, n_chains, D) fill, from balls of radius up to `largest` (below the reach).

    `interior` (k, n_chains) marks the points whose ball of that radius is not cut by a boundary (None: all).
    Raises InvalidInputError for fewer than 8 chains or when hardly any pair of points is within `largest`.
    """
    k, chains, _ = points.shape
    if chains < 8:
        raise InvalidInputError(f"points: found {chains} chains, the estimate and its bootstrap need at least 8")
    interior = torch.ones(k, chains, dtype=torch.bool) if interior is None else interior
    radii = largest * torch.linspace(SMALLEST, 1, RADII, dtype=torch.float64)
    counts = _counts(points, interior, radii)
    if float(counts[-1].sum()) < FEWEST_PAIRS:
        raise InvalidInputError(f"points: only {int(counts[-1].sum())} pairs of {k * chains} points are within {largest:.3g}; draw more points")
    centres = interior.sum(0).double()
    powers = ball_volume(dim) * radii**dim
    everything = _extrapolate(powers, _shares(counts, centres, k, torch.ones(1, chains, dtype=torch.float64)), radii, counts)
    draws = torch.multinomial(torch.ones(REPLICATES, chains), chains, replacement=True, generator=generator)
    multiplicity = torch.zeros(REPLICATES, chains, dtype=torch.float64).scatter_add_(1, draws, torch.ones(REPLICATES, chains, dtype=torch.float64))
    replicates = _extrapolate(powers, _shares(counts, centres, k, multiplicity), radii, counts)
    return Estimate(float(everything[0]), float(replicates.std()), f"intrinsic kernel estimate from {k * chains} points, balls up to {largest:.3g}")


def _counts(points: Tensor, interior: Tensor, radii: Tensor) -> Tensor:
    """Pairs (radii, chains, chains) of an interior point of one chain and a point of another within each radius."""
    k, chains, dim = points.shape
    flat = points.permute(1, 0, 2).reshape(-1, dim)
    rows = interior.T.reshape(-1)
    total = torch.zeros(len(radii), chains, chains, dtype=torch.float64)
    step = max(1, 4_000_000 // (len(flat) * k))
    for first in range(0, chains, step):
        block = slice(first * k, min(first + step, chains) * k)
        distance = torch.cdist(flat[block], flat, compute_mode="donot_use_mm_for_euclid_dist").masked_fill(~rows[block, None], torch.inf)
        for i, h in enumerate(radii.tolist()):
            total[i, first : first + step] = (distance <= h).reshape(-1, k, chains, k).sum((1, 3)).double()
    total.diagonal(dim1=1, dim2=2).zero_()
    return total


def _shares(counts: Tensor, centres: Tensor, k: int, multiplicity: Tensor) -> Tensor:
    """p(h) (replicates, radii) when chain a is taken multiplicity[., a] times."""
    pairs = torch.einsum("ra,hab,rb->rh", multiplicity, counts, multiplicity)
    weighted = multiplicity * centres
    possible = k * (weighted.sum(1) * multiplicity.sum(1) - (weighted * multiplicity).sum(1))
    return pairs / possible.clamp_min(1).unsqueeze(1)


def _extrapolate(powers: Tensor, shares: Tensor, radii: Tensor, counts: Tensor) -> Tensor:
    """Value at h = 0 (replicates,) of the weighted least-squares fit of v_d h^d / p(h) on 1, h^2."""
    values = powers / shares.clamp_min(1e-300)
    root = counts.sum((1, 2)).sqrt().unsqueeze(1)
    design = torch.stack([torch.ones_like(radii), (radii / radii[-1]) ** 2], 1)
    fitted: Tensor = torch.linalg.lstsq(root * design, root * values.T).solution
    return fitted[0]
