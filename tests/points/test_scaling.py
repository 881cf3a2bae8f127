"""`standardise`: one isotropic scale, the same cloud inside whatever the units outside."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.points import standardise


@pytest.fixture
def cloud():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(300, 4, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.1, 0.0]) + torch.tensor([3.0, -1.0, 0.0, 2.0])


def test_mean_zero_and_root_mean_square_one(cloud):
    inside, similarity = standardise(cloud)
    assert inside.mean(0).abs().max() < 1e-15
    assert float(inside.square().sum(1).mean()) == pytest.approx(1.0, abs=1e-14)
    assert similarity.scale == pytest.approx(float((cloud - cloud.mean(0)).square().sum(1).mean().sqrt()), rel=1e-14)


def test_inverse_undoes_forward_and_shape_is_kept(cloud):
    inside, similarity = standardise(cloud)
    torch.testing.assert_close(similarity.inverse(inside), cloud, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(torch.pdist(inside) * similarity.scale, torch.pdist(cloud), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("factor", [1e-6, 1e6, 1e-30, 1e30, 1e-150, 1e150, 1e-300, 1e300])
def test_units_change_nothing_inside(cloud, factor):
    inside, similarity = standardise(cloud)
    scaled, other = standardise(cloud * factor)
    torch.testing.assert_close(scaled, inside, rtol=0, atol=1e-13)
    assert other.scale == pytest.approx(similarity.scale * factor, rel=1e-13)


def test_powers_of_two_change_no_bit(cloud):
    assert torch.equal(standardise(cloud * 2.0**-40)[0], standardise(cloud)[0])


def test_translation_and_permutation(cloud):
    inside, similarity = standardise(cloud)
    moved, other = standardise(cloud + 1000.0)
    torch.testing.assert_close(moved, inside, rtol=0, atol=1e-11)
    assert other.scale == pytest.approx(similarity.scale, rel=1e-11)
    order = torch.randperm(len(cloud), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(standardise(cloud[order])[0], inside[order], rtol=0, atol=1e-13)


def test_far_from_the_origin_keeps_its_digits():
    angle = torch.arange(64, dtype=torch.float64) * (2 * math.pi / 64)
    circle = torch.stack((angle.cos(), angle.sin()), dim=1)
    inside, similarity = standardise(circle + 1e8)
    assert similarity.scale == pytest.approx(1.0, abs=1e-7)
    assert (inside.norm(dim=1) - 1).abs().max() < 1e-7


@pytest.mark.parametrize("points", [[[1.0, 2.0]], [[1.0, 2.0]] * 4, [[0.0]] * 3, [[0.0], [-0.0]]])
def test_fewer_than_two_distinct_points_have_no_scale(points):
    with pytest.raises(InvalidInputError, match="only 1 distinct"):
        standardise(points)


def test_similarity_follows_dtype_is_differentiable_and_mutates_nothing(cloud):
    before = cloud.clone()
    _, similarity = standardise(cloud)
    assert torch.equal(cloud, before)
    assert similarity.forward(cloud.float()).dtype == torch.float32 and similarity.inverse(cloud.float()).dtype == torch.float32
    assert similarity.forward(cloud.reshape(3, 100, 4)).shape == (3, 100, 4)
    x = cloud[:2].clone().requires_grad_()
    similarity.forward(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 1 / similarity.scale))


def test_two_points_are_enough():
    inside, similarity = standardise([[0.0, 0.0], [2.0, 0.0]])
    assert inside.tolist() == [[-1.0, 0.0], [1.0, 0.0]] and similarity.scale == 1.0
