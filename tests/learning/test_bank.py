"""Paths and their targets against the heat kernel of the sphere, in its Legendre series. Means are compared within 4.5 standard errors."""

import math

import torch

from topogen.learning.bank import walk_bank
from topogen.manifolds import shapes

TIMES = (1e-3, 2.0)
MODES = 40


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slope_of_log_kernel(height: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """d/dc log sum_l (2l + 1) exp(-l (l + 1) u / 2) P_l(c)."""
    c = height.clone().requires_grad_()
    legendre = [torch.ones_like(c), c]
    for k in range(1, MODES):
        legendre.append(((2 * k + 1) * c * legendre[-1] - k * legendre[-2]) / (k + 1))
    kernel = sum((2 * k + 1) * torch.exp(-k * (k + 1) * time / 2) * p for k, p in enumerate(legendre))
    return torch.autograd.grad(kernel.log().sum(), c)[0]


def from_the_pole():
    pole = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(3000, 3)
    return walk_bank(shapes.get("sphere"), pole.clone(), TIMES, 1.0, generator=seeded())


def test_times_are_spread_evenly_and_laws_decay():
    bank = from_the_pole()
    share = (bank.log_times.double() - math.log(TIMES[0])) / math.log(TIMES[1] / TIMES[0])
    counts = torch.histc(share, 8, 0, 1)
    assert float((counts / counts.mean() - 1).abs().max()) < 0.05
    late = bank.log_times.double().exp() > 0.5
    off = bank.points[late][:, 2] - torch.exp(-bank.log_times[late].double().exp())
    assert abs(float(off.mean() / off.std())) * len(off) ** 0.5 < 4.5 * 24**0.5  # rows of a path are not independent


def test_targets_are_the_scores_of_the_heat_kernel():
    bank = from_the_pole()
    rows = bank.known & (bank.log_times > math.log(0.02))
    x, time = bank.points[rows], bank.log_times[rows].double().exp()
    pole = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    expected = slope_of_log_kernel(x[:, 2], time).unsqueeze(1) * (pole - x[:, 2:] * x)
    missed = (bank.target[rows] - expected).norm(dim=1)
    assert float(missed.mean() / expected.norm(dim=1).mean()) < 0.01


def test_the_curvature_of_the_sphere_is_stored():
    bank = from_the_pole()
    assert float((bank.bend + 2 * bank.points.float()).abs().max()) < 1e-4
    assert torch.equal(bank.start[:3000], torch.arange(3000))
