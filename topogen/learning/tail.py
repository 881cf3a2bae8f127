"""The last of a diffusion: the law of the data at times when only the slow modes of M are left.

    p_u(x) = w_c / vol_c (1 + sum_i a_i exp(-lambda_i u / 2) phi_i(x)),      a_i = mean of phi_i over the data on component c
    grad log p_u = sum_i a_i exp(-lambda_i u / 2) grad phi_i / (1 + sum_i a_i exp(-lambda_i u / 2) phi_i)

with the modes of `geometry.spectrum`. Learned from paths, this part has all the noise and none of the signal; here all the data speak at once. It begins where
the fastest of the modes has decayed to 1 %. Errors of the modes of some per cent change densities by as much of what is left there, and likelihoods by its
square.
Chavel (1984), Eigenvalues in Riemannian geometry.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from topogen.distributions.pieces import Ground
from topogen.geometry.spectrum import COUNT, Modes, slow_modes

__all__ = ["Tail"]

DECAYED = 0.01
_LEAST = 0.02
_LEARNED = 20_000


@final
class Tail:
    """The scores of data (n, D) on the `ground` from its slow modes, for times from `begins` on."""

    def __init__(self, ground: Ground, data: Tensor) -> None:
        self.ground, self.points = ground, ground.pool
        labels = ground.component(data)
        count = min(COUNT, int(torch.bincount(ground.labels).min()) // 4)
        self.modes = [slow_modes(ground.pool[ground.labels == c], count) for c in range(ground.count)]
        self.means = [_mean(modes, data[labels == c]) for c, modes in enumerate(self.modes)]
        self.slowest = min(float(modes.values[0]) for modes in self.modes)
        self.begins = 2 * math.log(1 / DECAYED) / min(float(modes.values[-1]) for modes in self.modes)

    def score(self, x: Tensor, times: Tensor) -> Tensor:
        """grad log p_u (n, D), not projected, at points (n, D) of M and times u (n,)."""
        labels, found = self.ground.component(x), torch.zeros_like(x)
        for c, (modes, means) in enumerate(zip(self.modes, self.means, strict=True)):
            rows = (labels == c).nonzero()[:, 0]
            if len(rows):
                found[rows] = _score(modes, means, x[rows], times[rows])
        return found


def _score(modes: Modes, means: Tensor, x: Tensor, times: Tensor) -> Tensor:
    phi, slope = modes.at(x)
    left = means * torch.exp(-0.5 * modes.values * times.unsqueeze(1))
    density = (1 + (left * phi).sum(1)).clamp_min(_LEAST)
    return torch.einsum("nk,nkD->nD", left, slope) / density.unsqueeze(1)


def _mean(modes: Modes, data: Tensor) -> Tensor:
    return modes.at(data[:_LEARNED])[0].mean(0) if len(data) else torch.zeros_like(modes.values)
