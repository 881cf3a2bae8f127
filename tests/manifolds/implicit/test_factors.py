"""What a constraint means does not depend on a factor: convergence is a distance, |F| over its slope."""

import pytest
import torch

from topogen.distributions import Uniform
from topogen.manifolds import ImplicitManifold
from topogen.sampling import sample

FACTORS = [1e-12, 1e-8, 1e-3, 1e3, 1e8, 1e12]


def normals(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ellipsoid(x):
    return (x * x.new_tensor([1.0, 0.8, 0.5])).square().sum(-1, keepdim=True) - 1


def circle_in_space(x):
    return torch.stack([x[:, :2].square().sum(-1) - 1, x[:, 2] + 0.3 * x[:, 0]], -1)


def overcomplete_sphere(x):
    return x * (x.square().sum(-1, keepdim=True) - 1) / 2


GIVEN = {"ellipsoid": (ellipsoid, 2), "circle": (circle_in_space, 1), "overcomplete": (overcomplete_sphere, 2)}


def times(factor, name):
    field, dim = GIVEN[name]
    return ImplicitManifold(lambda x: factor * field(x), dim, 3)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", GIVEN)
def test_projections_do_not_depend_on_a_factor(name, factor):
    x = times(1.0, name).project(normals(20, 3)).points + 0.1 * normals(20, 3, seed=1)
    expected, found = times(1.0, name).project(x), times(factor, name).project(x)
    assert bool(found.converged.all()) and bool(expected.converged.all())
    assert float((found.points - expected.points).abs().max()) < 1e-8
    assert float(found.residual.max()) <= 1e-9
    # The residual is a distance: what is 1e-3 off is told as 1e-3.
    off = found.points + 1e-3 * times(1.0, name).normal_basis(found.points)[..., 0]
    assert torch.allclose(times(factor, name).kept_residual(off), torch.full((20,), 1e-3, dtype=torch.float64), rtol=0.02)


@pytest.mark.parametrize("factor", [1e-8, 1e8])
@pytest.mark.parametrize("name", GIVEN)
def test_samplers_do_not_depend_on_a_factor(name, factor):
    start = times(1.0, name).project(normals(10, 3)).points
    one, two = (
        sample(times(f, name), None, start=start, n_steps=10, step=0.3, n_warm_up=0, kernel="random_walk", generator=torch.Generator().manual_seed(0)).points
        for f in (1.0, factor)
    )
    assert float((one - two).abs().max()) < 1e-6


@pytest.mark.parametrize("factor", [1e-8, 1e8])
def test_volumes_do_not_depend_on_a_factor(factor):
    one, two = (Uniform(times(f, "ellipsoid"), seed=0).volume.value for f in (1.0, factor))
    assert abs(one / two - 1) < 1e-6


def test_a_place_without_slope_is_no_zero():
    """|x|^2 + 1 has no zeros; at 0, where iterations end, its gradient vanishes and so does the step."""
    empty = ImplicitManifold(lambda x: x.square().sum(1, keepdim=True) + 1, 2, 3)
    starts = torch.cat([torch.zeros(1, 3, dtype=torch.float64), torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)])
    assert not empty.project(starts).converged.any()
