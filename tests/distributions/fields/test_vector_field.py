"""The network that fields on manifolds are learned with."""

import pytest
import torch

from topogen.distributions.fields.vector_field import FieldNetwork
from topogen.errors import InvalidInputError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(**settings) -> FieldNetwork:
    """A network whose last layers are not zero."""
    field = FieldNetwork(torch.zeros(3), 1.3, width=32, depth=2, features=8, generator=seeded(), **settings)
    with torch.no_grad():
        for weight in field.parameters():
            weight.copy_(0.2 * torch.randn(weight.shape, generator=seeded(1)))
    return field


X, S = torch.randn(6, 3, generator=seeded(2)), torch.rand(6, generator=seeded(3))


@pytest.mark.parametrize("settings", [{}, {"times": (1e-3, 2.0)}, {"context": 2}])
def test_slopes_are_those_of_autograd(settings):
    field, directions = shaken(**settings), torch.randn(6, 3, 2, generator=seeded(4))
    context = torch.randn(6, 2, generator=seeded(5)) if settings.get("context") else None
    value, slope = field.with_slopes(X, S, directions, context)
    assert torch.allclose(value, field(X, S, context), atol=1e-5)
    for i in range(2):
        expected = torch.func.jvp(lambda y: field(y, S, context), (X,), (directions[..., i],))[1]
        assert torch.allclose(slope[..., i], expected, atol=1e-4)


def test_it_begins_at_zero():
    assert float(FieldNetwork(torch.zeros(3), 1.0, generator=seeded())(X, S).detach().abs().max()) == 0


def test_waves_fade_with_time():
    field = shaken(times=(1e-4, 10.0))
    early, late = (field._strength(torch.tensor([s])) for s in (0.0, 1.0))
    assert float(early.min()) > 0.99 and float(late.max()) < 0.1


def test_a_context_that_is_not_given_is_none():
    field = shaken(context=2)
    assert torch.equal(field(X, S), field(X, S, torch.full((6, 2), torch.nan)))
    assert not torch.allclose(field(X, S), field(X, S, torch.zeros(6, 2)))


def test_the_start_is_the_generators():
    first, second = (FieldNetwork(torch.zeros(3), 1.0, generator=seeded(7)).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("wrong", "match"), [({"width": 0}, "width"), ({"finest": 0.0}, "finest"), ({"context": -1}, "at least 1")])
def test_sizes_are_checked(wrong, match):
    with pytest.raises(InvalidInputError, match=match):
        FieldNetwork(torch.zeros(3), 1.0, **wrong)
