"""Riemannian score-based densities on a manifold, learned or given.

Brownian motion smooths the data; with p_u its law at time u (variance per direction, squared data units) and the score s = grad_M log p_u,

    dX = dB,        u from u_min to u_max            forward (`sampling.brownian`)
    dX = s du + dB,  u running down                   reverse walk
    dx/du = -1/2 s                                    probability flow: the same laws, deterministic, with a likelihood

The network gives sqrt(u) s, and l = log u is the time that is integrated: dx/dl = -1/2 sqrt(u) P f.
De Bortoli et al. (2022), Riemannian score-based generative modelling; Song et al. (2021), Score-based generative modeling through SDEs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from topogen.distributions.fields.components import Base
from topogen.distributions.fields.continuous_flow import TOLERANCE, ContinuousFlow
from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.errors import InvalidInputError

__all__ = ["Diffusion"]

Energy = Callable[[Tensor], Tensor]


@final
class Diffusion(ContinuousFlow):
    """p_u at u_min, by the probability flow of a learned score from a base at u_max: the data smoothed by heat (`distributions.diffusion.heat_kernel`), or
    uniform.

    Args:
        base, field, tolerance: see `ContinuousFlow`; field(x, s) = sqrt(u) score(x, u) with s = log(u / u_min) / log(u_max / u_min).
        times: (u_min, u_max), squared data units.
    """

    def __init__(self, base: Base, field: FieldNetwork, times: tuple[float, float], *, tolerance: float = TOLERANCE) -> None:
        if not 0 < times[0] < times[1] < math.inf:
            raise InvalidInputError(f"times: expected 0 < u_min < u_max, found {times}")
        self.times = (float(times[0]), float(times[1]))
        super().__init__(base, field, tolerance=tolerance)

    @property
    def span(self) -> tuple[float, float]:
        """log u_max, log u_min."""
        return math.log(self.times[1]), math.log(self.times[0])

    def _share(self, time: Tensor) -> Tensor:
        end, begin = self.span
        return (time - begin) / (end - begin)

    def _gain(self, time: Tensor) -> Tensor:
        return -0.5 * (time / 2).exp()

    def score(self, x: Tensor, time: float, context: Tensor | None = None, guidance: float = 1.0) -> Tensor:
        """grad_M log p_u (n, D) at points (n, D) of M at u = `time`; raises InvalidInputError outside (u_min, u_max)."""
        if not self.times[0] <= time <= self.times[1]:
            raise InvalidInputError(f"time: expected a variance within {self.times}, found {time}")
        s = self._share(torch.full((len(x),), math.log(time), dtype=torch.float64)).float()
        value = self._velocity(x.double(), s, self.contexts_of(context, len(x)), guidance)
        return (value / math.sqrt(time)).to(x.dtype)
