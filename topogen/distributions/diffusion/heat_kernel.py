"""The law of data after heat has run on M for a time u, from the slow modes of M: where a diffusion begins on its way to the data.

    p_u(x) = w_c / vol_c g(x),      g(x) = 1 + sum_i a_i exp(-lambda_i u / 2) phi_i(x),      a_i = mean of phi_i over the data on component c

At such times few modes are left, all the data speak at once, and nothing has to be learned from paths. By Nystrom's formula (`clouds.spectrum`) a sum of
modes is one weighted mean over nodes x_j of M, g(x) = 1 + sum_j P(x, x_j) h_j, so a density costs as much as a kernel's. Draws are nodes with masses
v_j p_{u - t}(x_j), moved by Brownian motion for the time t that the kernel of the modes stands for; v_j takes out how the nodes happen to be spread.
What truncated sums leave below .003 of the uniform density is set to that. Where the data fall into classes, each has a law; the last is that of all of them.
Chavel (1984), Eigenvalues in Riemannian geometry; Coifman, Lafon (2006), Diffusion maps.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

from topogen.distributions.fields.components import SampledManifold
from topogen.errors import InvalidInputError
from topogen.geometry.clouds.spectrum import kernel_mean
from topogen.sampling.brownian import brownian

__all__ = ["FLOOR", "HeatKernel", "HeatKernelBase"]

FLOOR = 3e-3
_SAME = 1e-4
_ANY = -1


class HeatKernel(NamedTuple):
    """For N nodes, C components and G laws: `nodes` (N, D), their `owner` (N,) int64 and `crowding` q (N,), `bandwidth` e (C,), `height` h (N, G),
    `mass` (N, G) with columns that sum to 1, `weights` w (C, G), `norms` (C, G) the integrals of g / vol_c, `classes` (G - 1, c) the contexts of the laws."""

    nodes: Tensor
    owner: Tensor
    crowding: Tensor
    bandwidth: Tensor
    height: Tensor
    mass: Tensor
    weights: Tensor
    norms: Tensor
    classes: Tensor


@final
class HeatKernelBase:
    """The density above on a `ground`; `distributions.diffusion.fit_heat_kernel` makes its `heat` from data."""

    measure = "hausdorff"

    def __init__(self, ground: SampledManifold, heat: HeatKernel) -> None:
        self.ground, self.heat = ground, heat

    def sample(self, n: int, generator: torch.Generator | None = None, context: Tensor | None = None) -> Tensor:
        """n points (n, D) float64."""
        return self._drawn(torch.full((n,), _ANY), self._laws(context, n), generator)

    def within(self, labels: Tensor, generator: torch.Generator | None = None, context: Tensor | None = None) -> Tensor:
        """A point (n, D) of the component that is named for each row (n,)."""
        return self._drawn(labels, self._laws(context, len(labels)), generator)

    def log_density(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p (n,) at points (n, D) of M, with their contexts (n, c)."""
        law, label, found = self._laws(context, len(x)), self.ground.component(x), x.new_zeros(len(x))
        volumes = self.ground.volumes()
        for c in label.unique().tolist():
            rows = (label == c).nonzero()[:, 0]
            share = self.heat.weights[c, law[rows]] / self.heat.norms[c, law[rows]] / volumes[c]
            found[rows] = (self._relative(x[rows], c).gather(1, law[rows].unsqueeze(1))[:, 0].clamp_min(FLOOR) * share).log()
        return found

    def _drawn(self, labels: Tensor, law: Tensor, generator: torch.Generator | None) -> Tensor:
        """Nodes by their masses in a law (n,) and a component (n,), or any, moved by a kernel's time."""
        chosen = torch.empty(len(law), dtype=torch.int64)
        for c, g in torch.stack([labels, law], 1).unique(dim=0).tolist():
            rows = ((labels == c) & (law == g)).nonzero()[:, 0]
            mass = self.heat.mass[:, g] if c == _ANY else torch.where(self.heat.owner == c, self.heat.mass[:, g], 0.0)
            chosen[rows] = torch.multinomial(mass, len(rows), replacement=True, generator=generator)
        times = 2 * self.heat.bandwidth[self.heat.owner[chosen]]
        return brownian(self.ground.fast, self.heat.nodes[chosen], times, generator=generator) if len(law) else self.heat.nodes[:0]

    def _relative(self, x: Tensor, c: int) -> Tensor:
        """g (n, G) at points of component c."""
        own = self.heat.owner == c
        return 1 + kernel_mean(x, self.heat.nodes[own], float(self.heat.bandwidth[c]), self.heat.crowding[own], self.heat.height[own])

    def _laws(self, context: Tensor | None, n: int) -> Tensor:
        """The law (n,) of every context; the last for none, and for NaN."""
        last = torch.full((n,), self.heat.mass.shape[1] - 1)
        if context is None or not len(self.heat.classes):
            return last
        given = torch.isfinite(context).all(-1)
        away, law = torch.cdist(context.nan_to_num().double(), self.heat.classes.double()).min(1)
        if bool((away[given] > _SAME).any()):
            raise InvalidInputError(f"context: {context[given][away[given].argmax()].tolist()} is none of the {len(self.heat.classes)} that were learned from")
        return torch.where(given, law, last)
