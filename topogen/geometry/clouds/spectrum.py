"""The slow modes of diffusion on a manifold, from uniform points of it: eigenfunctions of the Laplace-Beltrami operator, anywhere.

    k_ij = exp(-|x_i - x_j|^2 / 4e),    q_i = sum_j k_ij,    P_ij = k_ij / q_j / sum_l (k_il / q_l),      P phi = mu phi
    -Delta phi = lambda phi with lambda = -log(mu) / e,      phi(x) = sum_j P(x, x_j) phi_j / mu (Nystrom)

The kernel is that of the heat equation at time e, up to e^2, so the logarithm is better than (1 - mu) / e; q takes out how the sample
happens to fluctuate. The bandwidth e is half the median squared distance to
the 32nd neighbour. Modes are orthonormal for the uniform distribution of their component; low ones are good to some per cent.
Belkin, Niyogi (2008), Towards a theoretical foundation for Laplacian-based manifold methods; Coifman, Lafon (2006), Diffusion maps.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest, pairs_within

__all__ = ["Modes", "kernel_mean", "slow_modes"]

POINTS = 10_000
COUNT = 80
_NEIGHBOURS = 32
_REACH = 5.0
_ROWS = 1000


@final
class Modes:
    """lambda (k,) ascending, without the constant mode, and how to evaluate phi: from uniform points (n, D) of one component, bandwidth e and their q (n,)."""

    def __init__(self, points: Tensor, vectors: Tensor, shares: Tensor, bandwidth: float, crowding: Tensor) -> None:
        self.points, self.vectors, self.shares, self.bandwidth, self.crowding = points, vectors, shares, bandwidth, crowding
        self.values = -shares.log() / bandwidth

    def at(self, x: Tensor) -> Tensor:
        """phi (n, k) at points (n, D) of M."""
        return kernel_mean(x, self.points, self.bandwidth, self.crowding, self.vectors) / self.shares


def kernel_mean(x: Tensor, points: Tensor, bandwidth: float, crowding: Tensor, values: Tensor) -> Tensor:
    """sum_j P(x, x_j) v_j (n, k) at points x (n, D), for values v (m, k) at points (m, D) with crowding q (m,) and bandwidth e."""
    level = crowding.log()
    return torch.cat([torch.softmax(-torch.cdist(part, points).square() / (4 * bandwidth) - level, 1) @ values for part in x.split(_ROWS)])


def slow_modes(points: Tensor, count: int = COUNT) -> Modes:
    """The `count` slowest modes on one component, from uniform points (n, D) of it, of which 10,000 are used.

    Raises InvalidInputError for fewer points than modes.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import eigsh

    some = points[:POINTS].double()
    if len(some) < count + _NEIGHBOURS:
        raise InvalidInputError(f"points: {len(some)} are too few for {count} modes; draw at least {count + _NEIGHBOURS}")
    bandwidth = float(nearest(some, _NEIGHBOURS)[0][:, -1].square().median()) / 2
    rows, columns = pairs_within(some, some, _REACH * bandwidth**0.5)
    kernel = torch.exp(-(some[rows] - some[columns]).square().sum(1) / (4 * bandwidth))
    crowding = torch.zeros(len(some), dtype=torch.float64).index_add_(0, rows, kernel)
    kernel = kernel / (crowding[rows] * crowding[columns])
    root = torch.zeros_like(crowding).index_add_(0, rows, kernel).rsqrt()
    matrix = coo_array(((root[rows] * kernel * root[columns]).numpy(), (rows.numpy(), columns.numpy())), shape=(len(some), len(some))).tocsr()
    values, vectors = eigsh(matrix, k=count + 1, which="LA", v0=np.ones(len(some)))
    order = np.argsort(-values)[1:]
    phi = root.unsqueeze(1) * torch.from_numpy(vectors[:, order].copy())
    volume = (1 / crowding).unsqueeze(1) / (1 / crowding).sum()
    shares = torch.from_numpy(values[order].copy()).clamp(1e-6, 1 - 1e-9)
    return Modes(some, phi / (volume * phi.square()).sum(0).sqrt(), shares, bandwidth, crowding)
