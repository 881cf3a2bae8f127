"""Uniform on every component, with weights. Shares and means of n draws are compared within 4.5 standard errors."""

import math

import pytest
import torch

from topogen.distributions.fields.components import SampledManifold, UniformComponents, data_weights, sampled_manifold
from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold, shapes
from topogen.manifolds.local_polynomial import LocalPolynomialManifold


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_circles() -> SampledManifold:
    """Circles of radius 1 and 1/2 around (0, 0) and (3, 0)."""
    circle = shapes.get("circle")
    pool = torch.cat([circle.sample(4000, seeded()), 0.5 * circle.sample(2000, seeded(1)) + torch.tensor([3.0, 0.0], dtype=torch.float64)])

    def constraint(x):
        near = (x.square().sum(1) - 1) / 2
        other = ((x[:, 0] - 3) ** 2 + x[:, 1] ** 2 - 0.25) / 2
        return (near * other).unsqueeze(1)

    return SampledManifold(ImplicitManifold(constraint, 1, 2), pool, 3 * math.pi)


def test_components_are_found_and_have_their_volumes():
    ground = two_circles()
    assert ground.count == 2 and isinstance(ground.fast, LocalPolynomialManifold)
    assert sorted(ground.volumes().tolist()) == pytest.approx([math.pi, 2 * math.pi], rel=1e-12)
    labels = ground.component(torch.tensor([[0.0, 1.0], [3.5, 0.0]], dtype=torch.float64))
    assert labels[0] != labels[1]


def test_weights_are_kept_by_samples_and_densities():
    ground = two_circles()
    weights = data_weights(ground, torch.tensor([[3.5, 0.0]] * 3 + [[1.0, 0.0]], dtype=torch.float64))
    base = UniformComponents(ground, weights)
    x = base.sample(4000, seeded(3))
    far = x[:, 0] > 2
    assert abs(float(far.double().mean()) - 0.75) < 4.5 * (0.75 * 0.25 / 4000) ** 0.5
    assert torch.allclose(base.log_density(x).exp(), torch.where(far, 0.75 / math.pi, 0.25 / (2 * math.pi)).double())
    centred = x[far] - torch.tensor([3.0, 0.0], dtype=torch.float64)
    assert float((centred.norm(dim=1) - 0.5).abs().max()) < 1e-4
    assert float(centred.mean(0).norm()) < 4.5 * 0.5 / len(centred) ** 0.5


def test_a_shape_is_its_own_ground_with_fresh_draws():
    ground = sampled_manifold(shapes.get("sphere"), torch.empty(0, 3), generator=seeded())
    assert ground.fast is ground.manifold and ground.count == 1
    x = ground.uniform(torch.zeros(20, dtype=torch.int64), seeded(1))
    assert float(torch.cdist(x, ground.pool).min()) > 0


@pytest.mark.parametrize("wrong", [torch.ones(3), torch.tensor([1.0, -1.0]), torch.zeros(2)])
def test_weights_are_checked(wrong):
    with pytest.raises(InvalidInputError, match="weights: expected 2 numbers"):
        UniformComponents(two_circles(), wrong)
