"""Singular points: crossings and branches are found and counted, nothing is found on manifolds, with noise, at boundaries, creases or tips."""

import pytest
import torch
from torch import Tensor

from topogen.geometry.clouds.singular_points import singular_points
from topogen.manifolds import shapes


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def square(n: int, number: int) -> Tensor:
    return 4 * torch.rand(n, 2, generator=seed(number), dtype=torch.float64) - 2


def crossing(degrees: float, n: int = 2000) -> Tensor:
    """The square [-2, 2]^2 and its copy turned about the first axis."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    first, second = square(n // 2, 0), square(n // 2, 1)
    flat = torch.cat([first, torch.zeros(n // 2, 1, dtype=torch.float64)], 1)
    turned = torch.stack([second[:, 0], second[:, 1] * angle.cos(), second[:, 1] * angle.sin()], 1)
    return torch.cat([flat, turned])


@pytest.mark.parametrize("degrees", [90.0, 60.0])
def test_a_crossing_is_found_where_it_is(degrees):
    """Most points near the line are found, none farther than the neighbourhoods are wide, and there are two sheets."""
    x = crossing(degrees)
    found = singular_points(x, 2)
    distance = x[:, 1:].norm(dim=1)
    assert (found.labels[distance < 0.25 * found.radius] == 0).double().mean() > 0.9
    assert distance[found.labels >= 0].max() < 1.6 * found.radius
    assert found.crowding[0] == pytest.approx(2, abs=0.4)


def test_the_share_of_a_branch_is_between_a_crossing_and_a_sheet():
    x = crossing(90.0, 6000)
    half = x[(x[:, 2] >= 0)]
    found = singular_points(half, 2)
    assert found.labels.max() >= 0
    assert 1.3 < float(found.crowding[0]) < 1.85


@pytest.mark.parametrize("name", [name for name in shapes.SHAPES if name != "figure_eight"])
@pytest.mark.parametrize("n", [1000, 3000])
def test_no_false_alarm_on_manifolds(name, n):
    shape = shapes.get(name)
    assert (singular_points(shape.sample(n, generator=seed(0)), shape.dim).labels == -1).all()


@pytest.mark.parametrize("name", ["sphere", "torus", "moebius_band", "swiss_roll", "klein_bottle", "special_orthogonal", "trefoil_knot"])
@pytest.mark.parametrize("share", [0.002, 0.01])
def test_no_false_alarm_under_noise(name, share):
    shape = shapes.get(name)
    x = shape.sample(3000, generator=seed(0))
    x = x + share * shape.diameter * torch.randn(x.shape, generator=seed(1), dtype=torch.float64)
    assert (singular_points(x, shape.dim).labels == -1).all()


def test_a_crossing_shows_through_noise():
    x = crossing(90.0, 3000)
    found = singular_points(x + 0.02 * torch.randn(x.shape, generator=seed(3), dtype=torch.float64), 2)
    assert (found.labels[x[:, 1:].norm(dim=1) < 0.05] == 0).double().mean() > 0.8


def test_creases_and_tips_are_no_crossings():
    """The surface of a cube and a cone: not smooth, manifolds all the same. Planted: without the count in balls the creases would be taken."""
    cube = 2 * torch.rand(4000, 3, generator=seed(0), dtype=torch.float64) - 1
    axis, sign = torch.randint(3, (4000,), generator=seed(1)), torch.randint(2, (4000,), generator=seed(2)) * 2.0 - 1
    cube[torch.arange(4000), axis] = sign.double()
    found = singular_points(cube, 2)
    assert (found.labels == -1).all() and (found.residual > 0.15).any()
    turn, height = 6.283185 * torch.rand(2000, generator=seed(3), dtype=torch.float64), torch.rand(2000, generator=seed(4), dtype=torch.float64).sqrt()
    cone = torch.stack([height * turn.cos(), height * turn.sin(), height], 1)
    assert (singular_points(cone, 2).labels == -1).all()


def test_units_order_and_input():
    x = crossing(90.0)
    before, found = x.clone(), singular_points(x, 2)
    assert torch.equal(x, before)
    assert torch.equal(singular_points(1e6 * x, 2).labels, found.labels)
    order = torch.randperm(len(x), generator=seed(5))
    assert ((singular_points(x[order], 2).labels >= 0) == (found.labels >= 0)[order]).all()


@pytest.mark.parametrize(("n", "ambient", "dim"), [(5, 3, 2), (40, 3, 2), (100, 2, 2), (12, 10, 1)])
def test_clouds_too_small_or_without_normals_have_no_verdict(n, ambient, dim):
    found = singular_points(torch.rand(n, ambient, generator=seed(0), dtype=torch.float64), dim)
    assert found.labels.shape == (n,) and (found.labels == -1).all()
