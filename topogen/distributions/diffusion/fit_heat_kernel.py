"""The law of data at a late time of their diffusion, from the slow modes of M (`distributions.diffusion.heat_kernel`), and which time that is:

the least u with  exp(-lambda u / 2) <= 1 % for the fastest mode,  u >= 6 e for the bandwidth e of the modes,
                  sum_i exp(-lambda_i u) / 2n <= .01 nats, which is what estimating the a_i from n points costs in likelihood.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from topogen.distributions.diffusion.heat_kernel import FLOOR, HeatKernel, HeatKernelBase
from topogen.distributions.fields.components import SampledManifold
from topogen.distributions.fields.prepare import PreparedData
from topogen.geometry.clouds.spectrum import Modes, slow_modes
from topogen.manifolds.local_polynomial import LARGEST_DIMENSION

__all__ = ["fit_heat_kernel", "heat_kernel_of_data"]

COUNT = 200
DECAYED = 0.01
NOISE = 0.01
BANDWIDTHS = 6.0
LEAST_OF_CLASS = 50
LEAST_NODES = 100
_LEARNED = 20_000


def heat_kernel_of_data(prepared: PreparedData, least: float) -> tuple[HeatKernelBase, float] | None:
    """`fit_heat_kernel` for data to be learned from; None where no modes tell of their law: above the dimension of tables, on components with few uniform
    points, and for contexts of many values."""
    context = prepared.learn_context
    classes, groups = (None, None) if context is None else context.unique(dim=0, return_inverse=True)
    many = classes is not None and len(classes) * LEAST_OF_CLASS > len(prepared.learn)
    if many or prepared.ground.fast.dim > LARGEST_DIMENSION or int(torch.bincount(prepared.ground.labels).min()) < LEAST_NODES:
        return None
    return fit_heat_kernel(prepared.ground, prepared.learn, least, groups, classes)


@torch.no_grad()
def fit_heat_kernel(
    ground: SampledManifold, data: Tensor, least: float, groups: Tensor | None = None, classes: Tensor | None = None
) -> tuple[HeatKernelBase, float]:
    """The law of data (n, D) on the ground at the first time from `least` on that the modes can tell of, and that time, squared data units.

    `groups` (n,): the rows of `classes` (G - 1, c) that are the contexts of the data.
    """
    groups = torch.zeros(len(data), dtype=torch.int64) if groups is None else groups
    laws = 1 if classes is None else len(classes) + 1
    count = min(COUNT, int(torch.bincount(ground.labels).min()) // 4)
    modes = [slow_modes(ground.pool[ground.labels == c], count) for c in range(ground.count)]
    time = _time(modes, least, len(data) / max(1, laws - 1))
    where, parts = ground.component(data), []
    weights = torch.stack([_counts(groups[where == c], laws) for c in range(ground.count)])
    weights = weights / weights.sum(0)
    for c, own in enumerate(modes):
        means = _means(own.at(data[where == c][:_LEARNED]), groups[where == c][:_LEARNED], laws)
        parts.append(_part(own, means, time))
    height, values, spread = (torch.cat(column) for column in zip(*parts, strict=True))
    owner = torch.arange(ground.count).repeat_interleave(torch.tensor([len(own.points) for own in modes]))
    mass = weights[owner] * values
    norms = torch.stack([spread[owner == c].sum(0) for c in range(ground.count)])
    heat = HeatKernel(
        torch.cat([own.points for own in modes]), owner, torch.cat([own.crowding for own in modes]), torch.tensor([own.bandwidth for own in modes]).double(),
        height, mass / mass.sum(0), weights, norms, data.new_zeros(0, 0) if classes is None else classes.to(data.dtype),
    )  # fmt: skip
    return HeatKernelBase(ground, heat), time


def _part(modes: Modes, means: Tensor, time: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of one component: h (N, G); shares (N, G) of its mass at the nodes, a kernel's time earlier; v g (N, G)."""
    volume = (1 / modes.crowding / (1 / modes.crowding).sum()).unsqueeze(1)
    left, earlier = (means * torch.exp(-0.5 * modes.values * u) for u in (time, time - 2 * modes.bandwidth))
    before = volume * (1 + modes.vectors @ earlier.T).clamp_min(FLOOR)
    return (modes.vectors / modes.shares) @ left.T, before / before.sum(0), volume * (1 + modes.vectors @ left.T).clamp_min(FLOOR)


def _time(modes: list[Modes], least: float, n: float) -> float:
    values = torch.cat([own.values for own in modes])
    fastest, slowest = min(float(own.values[-1]) for own in modes), float(values.min())
    bandwidth = max(own.bandwidth for own in modes)
    time, end = max(least, 2 * math.log(1 / DECAYED) / fastest, BANDWIDTHS * bandwidth), 2 * math.log(1 / DECAYED) / slowest
    while time < end and float(torch.exp(-values * time).sum()) / (2 * n) > NOISE:
        time *= 1.05
    return time


def _counts(groups: Tensor, laws: int) -> Tensor:
    """How many points (G,) are in every group, and last in all."""
    counts = torch.bincount(groups, minlength=laws).double()
    counts[-1] = len(groups)
    return counts


def _means(phi: Tensor, groups: Tensor, laws: int) -> Tensor:
    """Means (G, k) of phi (n, k) in every group, the last of them over all."""
    sums = phi.new_zeros(laws, phi.shape[1]).index_add_(0, groups, phi)
    sums[-1] = phi.sum(0)
    return sums / _counts(groups, laws).clamp_min(1).unsqueeze(1)
