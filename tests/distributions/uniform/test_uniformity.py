"""The test of uniformity: its false alarms, its power, and data more even than random ones."""

import math

import pytest
import torch

from topogen.distributions import Uniform
from topogen.distributions.uniform.uniformity import uniformity
from topogen.errors import InvalidInputError
from topogen.manifolds.shapes import Circle, Sphere

REPEATS = 200


def test_uniform_points_are_rejected_in_five_of_a_hundred():
    """200 clouds: more than 22 rejections have probability 3e-4 at 5 %, fewer than 1 probability 4e-5."""
    circle, generator = Circle(), torch.Generator().manual_seed(0)
    uniform = Uniform(circle)
    rejected = sum(uniformity(circle.sample(300, generator=generator), uniform, generator).p_value < 0.05 for _ in range(REPEATS))
    assert 1 <= rejected <= 22


@pytest.mark.parametrize("n", [400, 4000])
def test_a_density_that_varies_is_seen(n):
    """(1 + cos) / 2 pi by rejection, and most of a half left out of a sphere."""
    generator = torch.Generator().manual_seed(1)
    circle, sphere = Circle().sample(2 * n, generator=generator), Sphere(2).sample(n, generator=generator)
    tilted = circle[2 * torch.rand(len(circle), generator=generator, dtype=torch.float64) < 1 + circle[:, 0]]
    assert uniformity(tilted, Uniform(Circle()), generator).p_value < 1e-6
    assert uniformity(sphere[sphere[:, 2] < 0.3], Uniform(Sphere(2)), generator).p_value < 1e-3


def test_a_lattice_passes():
    angle = torch.arange(500, dtype=torch.float64) * (2 * math.pi / 500)
    found = uniformity(torch.stack([angle.cos(), angle.sin()], -1), Uniform(Circle()), torch.Generator().manual_seed(2))
    assert found.p_value > 0.5 and found.cells == 25


def test_too_few_points_are_refused():
    with pytest.raises(InvalidInputError, match="at least 60"):
        uniformity(Circle().sample(20), Uniform(Circle()))
