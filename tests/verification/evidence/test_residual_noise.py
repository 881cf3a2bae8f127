"""Residuals that are noise pass, whatever its law and the codimension; those of a wrong manifold do not."""

import math

import pytest
import torch

from topogen.verification.evidence.residual_noise import speaks_against_noise

SIGMA = 0.02


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def circle(n, generator):
    angle = 2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.stack([angle.cos(), angle.sin()], 1)


def moved(n, codim):
    """t(1000 n) of normal noise."""
    return SIGMA * (math.sqrt(codim) + math.sqrt(2 * math.log(1000 * n)))


def judged(feet, normal, codim, flat=0.0):
    return speaks_against_noise(normal, feet, codim, moved(len(feet), codim), torch.full((len(feet),), flat, dtype=torch.float64))


def radial(feet, heights):
    return heights.unsqueeze(1) * feet


@pytest.mark.parametrize("codim", [1, 2, 5, 20])
@pytest.mark.parametrize("n", [100, 1000])
def test_normal_noise_is_noise(n, codim):
    """Of forty clouds at most three fail: each fails with less than 2 %, so that this has a chance below 1 in 100."""
    against = 0
    for seed in range(40):
        feet = torch.nn.functional.pad(circle(n, seeded(seed)), (0, codim))
        noise = torch.nn.functional.pad(SIGMA * torch.randn(n, codim, generator=seeded(seed + 100), dtype=torch.float64), (2, 0))
        against += bool(judged(feet, noise, codim))
    assert against <= 3


def test_uniform_noise_is_noise():
    """The least that the first test allows, with two standard errors: some 2 % of clouds fail."""
    against = 0
    for seed in range(40):
        feet, heights = circle(1000, seeded(seed)), 2 * SIGMA * (2 * torch.rand(1000, generator=seeded(seed + 100), dtype=torch.float64) - 1)
        against += bool(judged(feet, radial(feet, heights), 1))
    assert against <= 4


@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.parametrize("blur", [0.0, 0.3])
def test_a_manifold_between_two_sheets_is_no_middle_of_noise(n, blur):
    for seed in range(10):
        feet, generator = circle(n, seeded(seed)), seeded(seed + 100)
        side = 2.0 * torch.randint(2, (n,), generator=generator) - 1
        heights = SIGMA * (side + blur * torch.randn(n, generator=generator, dtype=torch.float64))
        found = judged(feet, radial(feet, heights), 1)
        assert "beside it" in found or (n == 100 and "together" in found)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_one_of_two_sheets_is_not_the_middle_of_both(share):
    for seed in range(10):
        feet, generator = circle(1000, seeded(seed)), seeded(seed + 100)
        heights = SIGMA * (torch.rand(1000, generator=generator, dtype=torch.float64) < share).double()
        assert "together" in judged(feet, radial(feet, heights), 1)


def test_a_part_that_the_manifold_leaves_is_seen():
    """Fifty of five thousand points, three sigma off: less than one percent of the variance."""
    for seed in range(10):
        feet, generator = circle(5000, seeded(seed)), seeded(seed + 100)
        heights = SIGMA * torch.randn(5000, generator=generator, dtype=torch.float64)
        angle = torch.atan2(feet[:, 1], feet[:, 0])
        heights += 3 * SIGMA * (angle.abs() < math.pi / 100).double()
        assert "together with those around them" in judged(feet, radial(feet, heights), 1)


def test_what_spacing_explains_is_no_misfit():
    feet = circle(500, seeded())
    heights = SIGMA * torch.randn(500, generator=seeded(1), dtype=torch.float64)
    heights[feet[:, 0] > 0.95] += 3 * SIGMA
    assert judged(feet, radial(feet, heights), 1)
    assert "with those around" not in judged(feet, radial(feet, heights), 1, flat=4 * SIGMA)


def test_few_points_do_not_tell():
    feet = circle(8, seeded())
    assert "too few" in judged(feet, 0.0 * feet, 1)
