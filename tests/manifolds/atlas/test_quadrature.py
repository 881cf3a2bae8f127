"""Quadrature on atlases: volumes and moments in closed form, and the pieces of the rule by themselves."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError, NotSupportedError
from topogen.learning.atlas.good_cover import good_cover
from topogen.manifolds.atlas.quadrature import _ball, quadrature
from topogen.manifolds.shapes import Circle, Sphere, Torus


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_rule_of_the_ball_is_exact_for_polynomials(dim):
    node, weight = _ball(dim, 6)
    assert float(weight.sum()) == pytest.approx(math.pi ** (dim / 2) / math.gamma(dim / 2 + 1), rel=1e-12)
    square = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1) / (dim + 2)
    torch.testing.assert_close(torch.einsum("m,mi,mj->ij", weight, node, node), square * torch.eye(dim, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "order", "error"), [(Circle(), 24, 2e-4), (Sphere(2), 10, 5e-4), (Torus(), 10, 1e-3)], ids=lambda value: str(value)[:8])
def test_volumes(shape, order, error):
    samples = shape.sample(10_000, generator=torch.Generator().manual_seed(0))
    nodes = quadrature(good_cover(samples, shape.dim, shape).atlas, order)
    assert float(nodes.weights.sum()) == pytest.approx(shape.volume, rel=error)
    assert shape.distance(nodes.points).max() < 1e-7


def test_the_error_falls_with_the_order():
    samples = Sphere(2).sample(10_000, generator=torch.Generator().manual_seed(0))
    atlas = good_cover(samples, 2, Sphere(2)).atlas
    coarse, fine = (abs(float(quadrature(atlas, order).weights.sum()) / (4 * math.pi) - 1) for order in (4, 16))
    assert fine < coarse / 10


def test_moments_of_the_sphere():
    samples = Sphere(2).sample(10_000, generator=torch.Generator().manual_seed(0))
    nodes = quadrature(good_cover(samples, 2, Sphere(2)).atlas, 10)
    second = nodes.integrate(nodes.points.unsqueeze(2) * nodes.points.unsqueeze(1))
    torch.testing.assert_close(second, 4 * math.pi / 3 * torch.eye(3, dtype=torch.float64), rtol=0, atol=3e-3)


def test_bad_input():
    atlas = good_cover(Circle().sample(2000, generator=torch.Generator().manual_seed(0)), 1, Circle()).atlas
    with pytest.raises(InvalidInputError, match="order"):
        quadrature(atlas, 1)
    with pytest.raises(NotSupportedError, match="dimensions 1 to 3"):
        _ball(4, 3)
