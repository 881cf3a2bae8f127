"""Links: spheres at regular places, known graphs where sheets cross, balls at boundaries."""

import torch

from topogen.manifolds.shapes import FigureEight, SwissRoll
from topogen.topology.strata.links import link_betti, sphere_betti


def seed(number):
    return torch.Generator().manual_seed(number)


def planes(n, dim=3):
    """Two planes that cross in the third axis of R^3, at a right angle."""
    flat = 2 * torch.rand(n, 2, generator=seed(0), dtype=torch.float64) - 1
    zero = torch.zeros(n, 1, dtype=torch.float64)
    return torch.cat([torch.cat([flat[:, :1], zero, flat[:, 1:]], 1), torch.cat([zero, flat], 1)])


def test_two_planes_that_cross():
    cloud = planes(3000)
    for height in (-0.3, 0.0, 0.3):
        assert link_betti(cloud, torch.tensor([0.0, 0.0, height], dtype=torch.float64), 0.15, 2) == (1, 3)
    assert link_betti(cloud, torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64), 0.12, 2) == (1, 1) == sphere_betti(2)


def test_curves_that_cross_and_curves_that_do_not():
    cloud = FigureEight().sample(2000, generator=seed(1))
    assert link_betti(cloud, torch.zeros(2, dtype=torch.float64), 0.05, 1) == (4,)
    far = cloud[cloud.norm(dim=1).argmax()]
    assert link_betti(cloud, far, 0.05, 1) == (2,) == sphere_betti(1)


def test_the_link_at_a_boundary_is_a_ball():
    roll = SwissRoll()
    cloud = roll.sample(8000, generator=seed(0))
    edge = cloud[cloud.norm(dim=1).argmax()]
    assert link_betti(cloud, edge, 0.2 * roll.diameter / 10, 2) != sphere_betti(2)


def test_too_few_points_tell_nothing():
    assert link_betti(planes(10), torch.zeros(3, dtype=torch.float64), 0.05, 2) is None
