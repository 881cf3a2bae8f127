"""Paths and their targets against the heat kernel of the sphere, in its Legendre series. Means are compared within 4.5 standard errors."""

import math

import torch

from topogen.distributions.diffusion.forward_paths import KNOWN, LEVELS, forward_paths
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


def from_the_pole(n: int = 3000):
    pole = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64).expand(n, 3)
    return forward_paths(shapes.get("sphere"), pole.clone(), TIMES, 1.0, alone=0.25, generator=seeded())


def exact(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    """grad log k_u(x, pole) (n, 3)."""
    pole = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    return slope_of_log_kernel(x[:, 2], time).unsqueeze(1) * (pole - x[:, 2:] * x)


def test_times_are_spread_evenly_and_laws_decay():
    bank = from_the_pole()
    share = (bank.log_times.double() - math.log(TIMES[0])) / math.log(TIMES[1] / TIMES[0])
    counts = torch.histc(share, 8, 0, 1)
    assert float((counts / counts.mean() - 1).abs().max()) < 0.05
    late = bank.log_times.double().exp() > 0.5
    off = bank.points[late][:, 0, 2] - torch.exp(-bank.log_times[late].double().exp())
    assert abs(float(off.mean() / off.std())) * len(off) ** 0.5 < 4.5 * LEVELS**0.5  # rows of a path are not independent


def test_targets_of_a_single_step_are_the_scores_of_the_heat_kernel():
    bank = from_the_pole()
    rows = (bank.log_times < 2 * math.log(KNOWN)) & (bank.log_times > math.log(0.05))
    x, time = bank.points[rows][:, 0], bank.log_times[rows].double().exp()
    expected = exact(x, time)
    missed = (bank.target[rows][:, 0] - expected).norm(dim=1)
    assert float(missed.mean() / expected.norm(dim=1).mean()) < 0.006  # .009 without the Ricci term


def test_targets_of_the_last_step_have_the_score_of_the_path_as_their_mean():
    bank = from_the_pole(20_000)
    rows = (bank.log_times > math.log(0.2)) & (bank.log_times < math.log(0.8))
    x, time, target = bank.points[rows].flatten(0, 1), bank.log_times[rows].double().exp().repeat_interleave(2), bank.target[rows].flatten(0, 1).double()
    score = exact(x, time)
    # <target, s> and |s|^2 have one mean, for the score s and for fields like it.
    for field in (score, time.unsqueeze(1) * score, x[:, 2:] * score):
        off = ((target - score) * field).sum(1)
        assert abs(float(off.mean() / off.std())) * len(off) ** 0.5 < 4.5 * (2 * LEVELS) ** 0.5
        assert abs(float(off.mean())) < 0.05 * float((score * field).sum(1).abs().mean())


def test_both_ends_of_a_step_have_nearly_opposite_targets():
    bank = from_the_pole()
    early = bank.log_times < math.log(5e-3)
    target = bank.target[early]
    across = target[:, :, :2]  # tangents differ between the ends, by what shows in the third coordinate
    assert float(across.sum(1).norm(dim=1).mean() / across.norm(dim=2).mean()) < 1e-4
    assert float((bank.tangent.double().mT @ bank.points.unsqueeze(-1)).abs().max()) < 1e-6


def test_rows_know_their_data_and_some_have_no_context():
    bank = from_the_pole()
    assert torch.equal(bank.start[:3000], torch.arange(3000)) and len(bank.start) == LEVELS * 3000
    assert abs(float(bank.alone.double().mean()) - 0.25) < 4.5 * (0.25 * 0.75 / len(bank.alone)) ** 0.5
