"""Mixtures on pieces, of the same dimension and of different ones: weights, densities, samples, and what is refused."""

import math

import pytest
import torch

from topogen.distributions import Mixture, Uniform
from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Circle, Sphere, Torus

RING = ImplicitManifold(lambda x: torch.stack([x[:, 2], (x[:, :2] - torch.tensor([4.0, 0.0])).norm(dim=1) - 1], 1), 1, 3)


def sphere_and_ring() -> Mixture:
    ring = Uniform(RING, points=torch.tensor([[5.0, 0, 0]], dtype=torch.float64), generator=torch.Generator().manual_seed(0))
    return Mixture([Uniform(Sphere(2)), ring], [3, 1])


def test_each_point_gets_the_density_of_its_piece():
    mixture = sphere_and_ring()
    x = torch.tensor([[0, 0, 1.0], [0, 1.1, 0], [5.0, 0, 0]], dtype=torch.float64)
    truth = torch.tensor([math.log(0.75 / (4 * math.pi))] * 2 + [math.log(0.25 / (2 * math.pi))], dtype=torch.float64)
    assert torch.allclose(mixture.log_prob(x), truth, atol=0.02)
    assert mixture.component(x).tolist() == [0, 0, 1]


def test_samples_keep_the_weights_and_lie_on_the_pieces():
    """Share .75 of 4000 within 4 standard errors (false alarm 6e-5)."""
    x = sphere_and_ring().sample((4000,), generator=torch.Generator().manual_seed(1))
    index = sphere_and_ring().component(x)
    assert abs(float((index == 0).double().mean()) - 0.75) < 4 * (0.75 * 0.25 / 4000) ** 0.5
    assert float((x[index == 0].norm(dim=1) - 1).abs().max()) < 1e-8
    assert x.shape == (4000, 3) and sphere_and_ring().sample(()).shape == (3,) and sphere_and_ring().sample((0,)).shape == (0, 3)


def test_what_does_not_fit_is_named():
    with pytest.raises(InvalidInputError, match="weights"):
        Mixture([Uniform(Sphere(2))], [0.0])
    with pytest.raises(InvalidInputError, match="weights"):
        Mixture([Uniform(Sphere(2))], [1.0, 2.0])
    with pytest.raises(InvalidInputError, match="different dimension"):
        Mixture([Uniform(Sphere(2)), Uniform(Circle())])
    with pytest.raises(InvalidInputError, match="distributions"):
        Mixture([Torus()])
