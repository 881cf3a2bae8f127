"""`Uniform` as a torch distribution: shapes, log_prob, choice of method, seeds, no global state."""

from __future__ import annotations

import math

import pytest
import torch

from topogen.distributions import Estimate, Uniform
from topogen.errors import InvalidInputError
from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import Sphere, Torus

CIRCLE = ImplicitManifold(lambda x: x.norm(dim=1, keepdim=True) - 1, 1, 2)


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("manifold", [Torus(1.0, 0.5), CIRCLE], ids=["closed form", "patches"])
def test_contract_of_a_torch_distribution(manifold: Torus) -> None:
    uniform = Uniform(manifold, generator=seed(0))
    dim = manifold.ambient_dim
    assert isinstance(uniform, torch.distributions.Distribution)
    assert (uniform.batch_shape, uniform.event_shape) == ((), (dim,))
    x = uniform.sample((2, 3), generator=seed(1))
    assert x.shape == (2, 3, dim)
    assert x.dtype == torch.float64
    assert uniform.sample().shape == (dim,)
    assert uniform.sample((0,)).shape == (0, dim)
    assert torch.equal(x, uniform.sample((2, 3), generator=seed(1)))
    density = uniform.log_prob(x)
    assert density.shape == (2, 3)
    assert torch.allclose(density, -torch.tensor(math.log(uniform.volume.value), dtype=torch.float64).expand(2, 3))
    assert torch.allclose(uniform.log_prob(1.1 * x), density)
    assert torch.allclose(uniform.entropy(), -density[0, 0])
    assert uniform.log_prob(x.float()).dtype == torch.float32


def test_shapes_are_exact() -> None:
    volume = Uniform(Sphere(2)).volume
    assert volume == Estimate(Sphere(2).volume, 0.0, "closed form")


def test_volume_does_not_depend_on_the_order_of_calls() -> None:
    first, second = Uniform(CIRCLE, generator=seed(0)), Uniform(CIRCLE, generator=seed(0))
    second.sample((10,))
    assert first.volume == second.volume
    assert abs(first.volume.value - 2 * math.pi) < 3.5 * first.volume.standard_error


def test_without_points_the_zero_set_is_found() -> None:
    """A sphere away from the origin, from random starts: 3.5 s.e. (false alarm .05 %)."""
    centre = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    manifold = ImplicitManifold(lambda x: (x - centre.to(x.dtype)).norm(dim=1, keepdim=True) - 0.7, 2, 3)
    volume = Uniform(manifold, generator=seed(0)).volume
    assert abs(volume.value - 4 * math.pi * 0.49) < 3.5 * volume.standard_error


def test_validation_is_the_objects_own_and_global_state_is_left_alone() -> None:
    before = (torch.distributions.Distribution._validate_args, torch.get_default_dtype(), torch.random.get_rng_state())
    strict = Uniform(CIRCLE, validate_args=True, generator=seed(0))
    with pytest.raises(ValueError, match="value"):
        strict.log_prob(torch.tensor([torch.nan, 0.0]))
    lax = Uniform(CIRCLE, validate_args=False, generator=seed(0))
    assert float(lax.log_prob(torch.tensor([torch.nan, 0.0]))) == -math.inf
    strict.sample((5,), generator=seed(0))
    assert before[:2] == (torch.distributions.Distribution._validate_args, torch.get_default_dtype())
    assert torch.equal(before[2], torch.random.get_rng_state())


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InvalidInputError, match="method"):
        Uniform(CIRCLE, method="rejection")
    with pytest.raises(InvalidInputError, match="closed form"):
        Uniform(CIRCLE, method="closed form")
    with pytest.raises(InvalidInputError, match="ImplicitManifold"):
        Uniform(Torus(), method="patches")
    with pytest.raises(InvalidInputError, match="points"):
        Uniform(CIRCLE, points=torch.zeros(3))
    with pytest.raises(InvalidInputError, match="batch_shape"):
        Uniform(CIRCLE).expand(torch.Size([2]))
    assert Uniform(CIRCLE).expand(torch.Size()).event_shape == (2,)


def test_constraints_are_not_changed() -> None:
    points = torch.nn.functional.normalize(torch.randn(20, 2, generator=seed(0), dtype=torch.float64), dim=1)
    before = points.clone()
    _ = Uniform(CIRCLE, points=points, generator=seed(1)).sample((5,), generator=seed(2))
    assert torch.equal(points, before)
    assert CIRCLE.closest
