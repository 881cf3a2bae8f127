"""Sheets: a set that is glued from known ones comes apart into them."""

import pytest
import torch

from topogen.errors import NotSupportedError
from topogen.manifolds.shapes import Sphere
from topogen.topology.strata.strata import find_strata, sheets


def seed(number):
    return torch.Generator().manual_seed(number)


def two_spheres(n, number=0):
    """Unit spheres that meet in a circle, and which point came from which."""
    first, second = (Sphere(2).sample(n // 2, generator=seed(number + i)) for i in range(2))
    return torch.cat([first, second + torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)]), torch.arange(n) >= n // 2


@pytest.mark.parametrize("n", [2000, 4000])
@pytest.mark.parametrize("number", range(3))
def test_two_spheres_come_apart(n, number):
    cloud, second = two_spheres(n, number)
    found = sheets(cloud, 2, find_strata(cloud, 2))
    assert found.members.shape == (n, 2)
    assert bool(found.members.any(1).all())
    assert found.agreement > 0.5
    matched = max(float((found.members[:, 0] == second).double().mean()), float((found.members[:, 0] != second).double().mean()))
    assert matched > 0.97
    assert min(float((cloud[own].norm(dim=1) - 1).abs().quantile(0.98)) for own in found.members.T) < 0.05


def test_a_sphere_and_two_planes_are_three():
    flat = 3 * torch.rand(4000, 2, generator=seed(3), dtype=torch.float64) - 1.5
    height = torch.where(torch.arange(4000) % 2 == 0, 0.5, -0.5).double().unsqueeze(1)
    cloud = torch.cat([Sphere(2).sample(3000, generator=seed(3)), torch.cat([flat, height], 1)])
    found = sheets(cloud, 2, find_strata(cloud, 2))
    assert found.members.shape[1] == 3
    assert found.pieces >= 7
    on = [cloud[found.members[:, s]] for s in range(3)]
    assert float((on[0].norm(dim=1) - 1).abs().quantile(0.95)) < 0.05
    assert sorted(round(float(sheet[:, 2].median()), 2) for sheet in on[1:]) == [-0.5, 0.5]


def test_without_crossings_there_is_one_sheet():
    cloud = Sphere(2).sample(500, generator=seed(0))
    assert sheets(cloud, 2, ()).members.shape == (500, 1)


def test_curves_are_refused():
    with pytest.raises(NotSupportedError, match="strata say where"):
        sheets(torch.zeros(10, 2, dtype=torch.float64), 1, ())
