"""The base of diffusions: a law with few modes, p_u = (1 + .9 e^-u z) / 4 pi on the sphere. Means are compared within 4.5 standard errors."""

import functools
import math

import pytest
import torch

from topogen.distributions.diffusion.fit_heat_kernel import fit_heat_kernel
from topogen.distributions.diffusion.heat_kernel import HeatKernelBase
from topogen.distributions.fields.components import SampledManifold
from topogen.errors import InvalidInputError
from topogen.geometry.clouds.neighbours import nearest
from topogen.manifolds import shapes

SPHERE = shapes.get("sphere")
SLOPE = 0.9


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@functools.cache
def ground() -> SampledManifold:
    return SampledManifold(SPHERE, SPHERE.sample(4000, seeded()), 4 * math.pi)


def leaning(n: int, up: float, seed: int) -> torch.Tensor:
    """n draws of (1 + up z) / 4 pi."""
    even = SPHERE.sample(4 * n, seeded(seed))
    return even[torch.rand(len(even), generator=seeded(seed + 100), dtype=torch.float64) < (1 + up * even[:, 2]) / 2][:n]


@functools.cache
def base() -> tuple[HeatKernelBase, float]:
    return fit_heat_kernel(ground(), leaning(10_000, SLOPE, 1), 0.3)


def test_the_density_is_that_of_the_heated_law():
    found, time = base()
    assert time == pytest.approx(0.3)
    x = SPHERE.sample(3000, seeded(3))
    expected = torch.log((1 + SLOPE * math.exp(-time) * x[:, 2]) / (4 * math.pi))
    assert float((found.log_density(x) - expected).abs().mean()) < 0.04
    assert float(found.log_density(x).exp().mean() * 4 * math.pi) == pytest.approx(1, abs=0.02)


def test_it_is_normalised_where_sums_of_modes_fall_below_zero():
    cap = SPHERE.sample(40_000, seeded(6))
    found, _ = fit_heat_kernel(ground(), cap[cap[:, 2] > 0.9], 1e-3)
    volume = 1 / found.heat.crowding / (1 / found.heat.crowding).sum()
    density = found.log_density(found.heat.nodes).exp() * 4 * math.pi
    assert float(density.min()) < 0.0031  # the floor, over the integral
    assert float((volume * density).sum()) == pytest.approx(1, abs=1e-4)


def test_draws_have_the_density_and_are_on_the_sphere():
    found, time = base()
    x = found.sample(20_000, seeded(4))
    assert float((x.norm(dim=1) - 1).abs().max()) < 1e-9
    assert float(x[:, 2].mean()) == pytest.approx(SLOPE / 3 * math.exp(-time), abs=4.5 * (1 / 3 / 20_000) ** 0.5 + 0.01)
    assert float(x[:, :2].mean(0).abs().max()) < 4.5 * (1 / 3 / 20_000) ** 0.5 + 0.01


def test_draws_lie_between_the_nodes_as_uniform_points_do():
    found, _ = base()
    drawn, even = (nearest(found.heat.nodes, 1, x)[0].mean() for x in (found.sample(4000, seeded(4)), SPHERE.sample(4000, seeded(5))))
    assert float(drawn / even) == pytest.approx(1, abs=0.1)


def test_it_begins_when_few_modes_are_left_and_later_for_few_data():
    many, few = (fit_heat_kernel(ground(), leaning(n, SLOPE, 1), 1e-4)[1] for n in (20_000, 100))
    assert 0.02 < many < 0.2
    # sum exp(-lambda u) = 2 n / 100: the modes of the sphere are 3 of lambda = 2, 5 of 6, ...
    left = sum((2 * k + 1) * math.exp(-k * (k + 1) * few) for k in range(1, 30))
    assert left == pytest.approx(2 * 100 * 0.01, rel=0.15)


def test_every_class_has_a_law_and_nothing_given_means_all():
    data = torch.cat([leaning(6000, 1.0, 1), leaning(2000, -1.0, 2)])
    groups, classes = (torch.arange(8000) >= 6000).long(), torch.eye(2)
    found, time = fit_heat_kernel(ground(), data, 0.3, groups, classes)
    means = [float(found.sample(8000, seeded(5), context)[:, 2].mean()) for context in (classes[:1].expand(8000, 2), classes[1:].expand(8000, 2), None)]
    expected = [up / 3 * math.exp(-time) for up in (1.0, -1.0, 0.5)]
    assert means == pytest.approx(expected, abs=4.5 * (1 / 3 / 8000) ** 0.5 + 0.015)
    x = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    told = [float(found.log_density(x, context)) for context in (classes[:1], torch.full((1, 2), torch.nan), classes[1:])]
    assert told[0] > told[1] > told[2] and told[1] == float(found.log_density(x))
    with pytest.raises(InvalidInputError, match="none of the 2 that were learned from"):
        found.sample(1, seeded(), torch.tensor([[0.5, 0.5]]))


def test_components_keep_their_weights_in_every_class():
    spheres = shapes.get("two_spheres")
    x = spheres.sample(6000, seeded(1))
    under = SampledManifold(spheres, x, spheres.volume)
    label = under.component(x)
    data = torch.cat([x[label == 0][:900], x[label == 1][:100], x[label == 1][100:1100]])
    groups = (torch.arange(2000) >= 1000).long()
    found, _ = fit_heat_kernel(under, data, 0.3, groups, torch.eye(2))
    for context, share in ((torch.eye(2)[:1], 0.9), (torch.eye(2)[1:], 0.0), (None, 0.45)):
        drawn = found.sample(2000, seeded(2), None if context is None else context.expand(2000, 2))
        assert float((under.component(drawn) == 0).double().mean()) == pytest.approx(share, abs=4.5 * (0.25 / 2000) ** 0.5)
    lone = x[label == 0][:5]
    assert bool(torch.isinf(found.log_density(lone, torch.eye(2)[1:].expand(5, 2))).all())
