"""The bound on the Jacobian of a network holds at random points of the ball, is star-shaped in the radius, and not vacuous."""

import pytest
import torch

from topogen.learning.implicit.constraint_network import ConstraintNetwork
from topogen.learning.implicit.jacobian_bounds import largest_bend


def network(outputs=1, hull=3, ambient=3, spread=1.5):
    generator = torch.Generator().manual_seed(7)
    basis = torch.linalg.qr(torch.randn(ambient, hull, generator=generator, dtype=torch.float64)).Q
    made = ConstraintNetwork(0.1 * torch.ones(ambient), 1.3, basis, outputs, width=24, depth=3, skip=0.2, generator=generator).double()
    with torch.no_grad():
        for layer in made.layers:
            layer.weight.mul_(spread)
    return made.requires_grad_(False)


@pytest.mark.parametrize(("outputs", "hull", "ambient"), [(1, 3, 3), (4, 3, 3), (2, 2, 4)])
@pytest.mark.parametrize("radius", [1e-3, 0.05, 0.5])
def test_value_jacobian_and_bound(outputs, hull, ambient, radius):
    made = network(outputs, hull, ambient)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, ambient, generator=generator, dtype=torch.float64)
    value, jacobian, moved = made.enclosure(x, torch.full((40,), radius, dtype=torch.float64))
    exact = torch.func.vmap(torch.func.jacrev(made))(x)
    assert torch.allclose(value, made(x), atol=1e-12)
    assert torch.allclose(jacobian, exact, atol=1e-12)
    steps = torch.randn(40, 50, ambient, generator=generator, dtype=torch.float64)
    y = x.unsqueeze(1) + radius * steps / steps.norm(dim=-1, keepdim=True)
    there = torch.func.vmap(torch.func.jacrev(made))(y.reshape(-1, ambient)).reshape(40, 50, *exact.shape[1:])
    change = torch.linalg.matrix_norm(there - exact.unsqueeze(1), 2).amax(1)
    assert bool((change <= moved).all())
    assert float((change / moved).max()) > 0.005, "a bound two hundred times too wide proves nothing"
    rest = made(y.reshape(-1, ambient)).reshape(40, 50, -1) - value.unsqueeze(1) - (jacobian.unsqueeze(1) @ (y - x.unsqueeze(1)).unsqueeze(-1)).squeeze(-1)
    assert bool((rest.norm(dim=-1) <= radius * moved.unsqueeze(1) / 2 + 1e-12).all())


def test_the_bound_is_star_shaped():
    made, x = network(), torch.randn(30, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    whole = made.enclosure(x, torch.full((30,), 0.4, dtype=torch.float64))[2]
    for share in (0.75, 0.5, 0.1):
        assert bool((made.enclosure(x, torch.full((30,), 0.4 * share, dtype=torch.float64))[2] <= share * whole).all())


def test_largest_bend_bounds_the_second_derivative_beyond_and_falls():
    t = torch.linspace(0, 30, 300_001, dtype=torch.float64)
    gate = torch.sigmoid(t)
    bend = (gate * (1 - gate) * (2 + t * (1 - 2 * gate))).abs()
    beyond = bend.flip(0).cummax(0).values.flip(0)
    bound = largest_bend(t)
    assert bool((bound >= beyond).all())
    assert bool((bound <= beyond + 1e-3).all())
