"""Points of balls and spheres: where they lie, that they are uniform, and the volume."""

import math

import pytest
import torch

from topogen.geometry.balls import ball_lengths, ball_points, ball_volume, sphere_points


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_volumes():
    assert ball_volume(2, 2.0) == pytest.approx(4 * math.pi)
    assert ball_volume(3) == pytest.approx(4 * math.pi / 3)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_points_are_uniform(dim):
    """(|x| / R)^d is uniform on [0, 1): mean and variance of 20,000 within five standard errors; the mean direction is 0 as nearly."""
    x = ball_points(20_000, dim, radius=3.0, generator=generator())
    share = (x.norm(dim=1) / 3) ** dim
    assert float(share.max()) < 1
    assert float(share.mean()) == pytest.approx(0.5, abs=5 / math.sqrt(12 * 20_000))
    assert float(share.var()) == pytest.approx(1 / 12, abs=5 * math.sqrt(1 / 180 / 20_000))
    direction = sphere_points(20_000, dim, generator=generator(1))
    torch.testing.assert_close(direction.norm(dim=1), torch.ones(20_000, dtype=torch.float64))
    assert float(direction.mean(0).norm()) < 5 / math.sqrt(20_000)


def test_points_are_directions_times_lengths_and_follow_the_generator():
    source = generator(2)
    radius = torch.tensor([[1.0], [2.0]], dtype=torch.float64).unsqueeze(1)
    expected = sphere_points(2, 7, 3, generator=source) * (radius * ball_lengths(2, 7, 3, generator=source))
    assert torch.equal(ball_points(2, 7, 3, radius=radius, generator=generator(2)), expected)
    assert ball_points(4, 3, generator=generator(), dtype=torch.float32).dtype == torch.float32
