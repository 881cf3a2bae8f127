"""Tangent kernels: they integrate to one, are sampled as they say, follow every scale, and leave themselves out of their own likelihood."""

import math

import pytest
import torch

from topogen.distributions import Uniform
from topogen.distributions.energy.tangent_kernels import TangentKernels, fit_kernels
from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Circle, KleinBottle, SpecialOrthogonal, Sphere

SPHERE = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) - 1, 2, 3)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [Circle(), Sphere(), KleinBottle(), SpecialOrthogonal()], ids=str)
def test_the_density_integrates_to_one(shape):
    """By uniform samples, within 4 standard errors and 3 % (false alarm 6e-5)."""
    kernels = fit_kernels(shape, shape.sample(60, seeded(0)), uniform=Uniform(shape), generator=seeded(1))
    value = kernels.log_density(shape.sample(8000, seeded(2))).exp() * shape.volume
    error = float(value.std() / len(value) ** 0.5)
    assert abs(float(value.mean()) - 1) < min(4 * error, 0.2)
    assert 0.98 < kernels.kept <= 1


def test_samples_have_the_density():
    """E_q[1 / q] is the volume, 4 pi, within 4 standard errors (false alarm 6e-5); a density without its determinant is caught."""
    centres = SPHERE.projx(torch.randn(20, 3, generator=seeded(3), dtype=torch.float64))
    widths, weights = torch.tensor([0.25], dtype=torch.float64), torch.tensor([0.7, 0.3], dtype=torch.float64)
    kernels = TangentKernels(SPHERE, centres, widths, weights, 0.6, uniform=Uniform(Sphere()))
    drawn = kernels.sample((20_000,), generator=seeded(4))
    inverse = (-kernels.log_density(drawn)).exp()
    error = float(inverse.std() / len(inverse) ** 0.5)
    assert abs(float(inverse.mean()) - 4 * math.pi) < 4 * error and error < 0.1
    assert float((drawn.norm(dim=1) - 1).abs().max()) < 1e-8


def test_many_widths_beat_one_on_clustered_data_and_the_rest_stays_honest():
    """Half of the points in a spot of .01, half uniform; weights are per width and not per centre, so some is lost in between."""
    generator = seeded(5)
    spot = torch.tensor([0, 0, 1.0]) + 0.01 * torch.randn(1000, 3, generator=generator, dtype=torch.float64)
    cloud = torch.cat([spot / spot.norm(dim=1, keepdim=True), Sphere().sample(1000, generator)])[torch.randperm(2000, generator=generator)]
    kernels = fit_kernels(Sphere(), cloud[:1600], uniform=Uniform(Sphere()), generator=generator)
    held_out = cloud[1600:]
    angle = held_out[:, 2].clamp(-1, 1).acos()
    truth = (0.5 * (-(angle**2) / 2e-4).exp() / (2 * math.pi * 1e-4) + 0.5 / (4 * math.pi)).log()
    assert float(truth.mean() - kernels.log_density(held_out).mean()) < 0.4
    one = TangentKernels(Sphere(), cloud[:1600], kernels.widths[5:6], torch.ones(1, dtype=torch.float64), kernels.radius)
    assert float(kernels.log_density(held_out).mean() - one.log_density(held_out).clamp_min(-20).mean()) > 0.5


def test_a_point_does_not_vouch_for_itself():
    """With the own kernel left in, the narrowest width would take all the weight."""
    kernels = fit_kernels(Circle(), Circle().sample(300, seeded(6)), uniform=Uniform(Circle()), generator=seeded(7))
    assert float(kernels.weights[0]) < 0.05
    assert float(kernels.weights.sum()) == pytest.approx(1)


def test_points_off_the_manifold_are_judged_at_their_projection():
    kernels = fit_kernels(Sphere(), Sphere().sample(50, seeded(8)), generator=seeded(9))
    x = Sphere().sample(5, seeded(10))
    assert torch.allclose(kernels.log_prob(1.2 * x), kernels.log_density(x))
    assert float(kernels.log_prob(torch.zeros(1, 3, dtype=torch.float64))) == -math.inf


def test_too_few_points_are_named():
    with pytest.raises(InvalidInputError, match="too few"):
        fit_kernels(Sphere(), Sphere().sample(3))
