"""Normals that agree: outwards on closed surfaces, alternating where one component holds another."""

import pytest
import torch
from torch import Tensor

from topogen.geometry.clouds.scales import estimate_scales
from topogen.learning.implicit.sides import agreeing_normals
from topogen.manifolds import shapes


def normals(cloud: Tensor, dim: int) -> Tensor:
    return agreeing_normals(cloud, estimate_scales(cloud, dim, generator=torch.Generator().manual_seed(0)).spacing_per_point)


def sphere(n: int, seed: int, dim: int = 2) -> Tensor:
    return shapes.Sphere(dim).sample(n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("small", [0.1, 0.4])
def test_those_of_a_torus_point_away_from_its_core(small):
    torus = shapes.Torus(1.0, small)
    cloud = torus.sample(3000, torch.Generator().manual_seed(1))
    core = torch.nn.functional.normalize(cloud[:, :2], dim=1)
    outwards = (cloud - torch.nn.functional.pad(core, (0, 1))) / small
    assert (normals(cloud, 2) * outwards).sum(1).min() > 0.8


def test_components_beside_each_other_both_point_outwards():
    one = sphere(800, 1)
    found = normals(torch.cat([one, one + torch.tensor([3.0, 0.5, 0.0])]), 2)
    assert (found * torch.cat([one, one])).sum(1).min() > 0.8


@pytest.mark.parametrize(("dim", "radii", "signs"), [(1, (3.0, 1.0), (1, -1)), (2, (1.0, 3.0, 2.0), (1, 1, -1))])
def test_components_inside_each_other_alternate(dim, radii, signs):
    """The outermost points outwards, the next inwards, and so on: the sign of F changes across components, nowhere between."""
    on = [sphere(int(400 * radius**dim), seed, dim) for seed, radius in enumerate(radii)]
    found = normals(torch.cat([radius * part for radius, part in zip(radii, on, strict=True)]), dim)
    for part, directions, sign in zip(torch.split(found, [len(part) for part in on]), on, signs, strict=True):
        assert (sign * (part * directions).sum(1)).min() > 0.8


def test_they_turn_with_the_cloud_up_to_one_sign():
    cloud = sphere(600, 5)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)).Q
    assert ((normals(cloud @ turn.T, 2) @ turn) * normals(cloud, 2)).sum(1).min() > 0.99
