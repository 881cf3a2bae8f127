"""Flows of the ball: densities whatever the weights are, drawn as they say, equal to the bump at the start and close to it at the rim."""

import math
import subprocess
import sys

import pytest
import torch

from topogen.distributions.charts.ball_densities import Bump
from topogen.distributions.charts.ball_flow import BallFlow
from topogen.errors import InvalidInputError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(count: int, dim: int, **sizes) -> BallFlow:
    """A flow far from the identity."""
    flow = BallFlow(count, dim, generator=seeded(0), **sizes).double().requires_grad_(False)
    for network in flow.networks:
        network[-1].weight.normal_(0, 0.6, generator=seeded(1))
        network[-1].bias.normal_(0, 0.6, generator=seeded(2))
    return flow


def inside(n: int, dim: int) -> torch.Tensor:
    cube = 2 * torch.rand(n, dim, generator=seeded(3), dtype=torch.float64) - 1
    return cube[cube.norm(dim=1) < 1]


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_it_starts_as_the_bump_and_integrates_to_one_when_it_is_not(dim):
    w = inside(60_000, dim)
    chart = torch.randint(4, (len(w),), generator=seeded(4))
    assert torch.allclose(BallFlow(4, dim, generator=seeded(0)).double().log_density(chart, w), Bump(dim).log_density(chart, w), atol=1e-6)
    flow, bump = shaken(4, dim), Bump(dim)
    for k in range(4):
        here = torch.full((len(w),), k)
        value = torch.zeros(60_000, dtype=torch.float64)
        value[: len(w)] = flow.log_density(here, w).exp() * 2**dim
        assert abs(float(value.mean()) - 1) < 4.5 * float(value.std()) / 60_000**0.5
    assert float((flow.log_density(chart, w) - bump.log_density(chart, w)).abs().mean()) > 0.3


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_draws_have_the_density(dim):
    """E_q[b / q] is 1 for the bump b, within 4.5 standard errors; draws of one chart judged by another fail."""
    flow, bump = shaken(2, dim), Bump(dim)
    chart = torch.zeros(20_000, dtype=torch.int64)
    w = flow.draw(chart, seeded(5))
    assert w.dtype == torch.float64 and float(w.norm(dim=1).max()) < 1
    ratio = (bump.log_density(chart, w) - flow.log_density(chart, w)).exp()
    wrong = (bump.log_density(chart, w) - flow.log_density(1 - chart, w)).exp()
    assert abs(float(ratio.mean()) - 1) < 4.5 * float(ratio.std()) / 20_000**0.5
    assert abs(float(wrong.mean()) - 1) > 4.5 * float(wrong.std()) / 20_000**0.5


def test_the_rim_is_that_of_the_bump():
    """Within a constant factor of the bump all the way out, in double and in single precision; nothing outside."""
    flow, bump = shaken(1, 2), Bump(2)
    angle = torch.linspace(0, 2 * math.pi, 50, dtype=torch.float64)
    chart = torch.zeros(50, dtype=torch.int64)
    for radius in (0.99, 0.999, 0.9999):
        w = radius * torch.stack([angle.cos(), angle.sin()], 1)
        assert float((flow.log_density(chart, w) - bump.log_density(chart, w)).abs().max()) < 8
        assert bool(torch.isfinite(flow.float().log_density(chart, w.float())).all())
        flow.double()
    assert bool((flow.log_density(chart, 1.0001 * w / radius) == -torch.inf).all())


def test_gradients_reach_every_weight():
    flow = BallFlow(3, 2, generator=seeded(6))
    for network in flow.networks:
        torch.nn.init.normal_(network[-1].weight, 0, 0.1)
    w = inside(200, 2).float()
    flow.log_density(torch.randint(3, (len(w),), generator=seeded(7)), w).sum().backward()
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) and float(p.grad.abs().max()) > 0 for p in flow.parameters())


def test_splines_leave_the_validation_of_torch_distributions_as_it_was():
    code = (
        "import torch; from topogen.distributions.charts.ball_flow import BallFlow; from torch.distributions import Distribution as D;"
        "before = D._validate_args;"
        "BallFlow(1, 1).log_density(torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1)); print(before == D._validate_args)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "True"


def test_sizes_that_make_no_flow_are_named():
    with pytest.raises(InvalidInputError, match="bins"):
        BallFlow(2, 2, bins=1)
    with pytest.raises(InvalidInputError, match="dim"):
        BallFlow(2, 0)
