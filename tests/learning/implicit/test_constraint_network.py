"""The constraint network: units, hull, dtype, determinism."""

import pytest
import torch

from topogen.geometry import constant_rank
from topogen.learning.implicit.constraint_network import ConstraintNetwork


def make(seed: int = 0, outputs: int = 4) -> ConstraintNetwork:
    hull = torch.linalg.qr(torch.randn(5, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)).Q
    return ConstraintNetwork(torch.arange(5.0), 10.0, hull, outputs, 16, 2, skip=0.3, generator=torch.Generator().manual_seed(seed))


def test_outputs_are_those_of_the_network_and_the_linear_constraints():
    network = make()
    x = torch.randn(7, 5)
    value = network(x)
    assert value.shape == (7, 6)
    outside = network.get_buffer("outside")
    assert torch.allclose(value[:, 4:], ((x.double() - network.get_buffer("centre")) @ outside).float(), atol=1e-5)
    assert torch.allclose(value[:, :4], 10 * network.inner(network.coordinates(x)), atol=1e-4)


def test_points_of_the_hull_have_no_linear_residual():
    network = make()
    x = network.get_buffer("centre") + torch.randn(6, 3, dtype=torch.float64) @ network.get_buffer("hull").T
    assert network.double()(x)[:, 4:].abs().max() < 1e-12


def test_leading_shapes_and_dtype_follow_the_input():
    network = make().double()
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    assert network(x).shape == (2, 3, 6) and network(x).dtype == torch.float64
    assert torch.allclose(network(x)[1, 2], network(x[1, 2]), atol=1e-12)


def test_weights_are_drawn_from_the_generator_alone():
    assert all(torch.equal(a, b) for a, b in zip(make(1).parameters(), make(1).parameters(), strict=True))
    assert not torch.equal(make(1).layers[0].weight, make(2).layers[0].weight)


def test_the_gradient_is_that_of_half_the_squared_norm():
    network = make().double()
    x = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(0.5 * (network(x) ** 2).sum(), x)
    assert torch.allclose(network.gradient(x), expected, atol=1e-10)


@pytest.mark.parametrize("outputs", [1, 4])
def test_derivatives_are_those_of_autograd(outputs):
    network = make(outputs=outputs).double().requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    x, direction = torch.randn(9, 5, generator=generator, dtype=torch.float64), torch.randn(9, 3, 5, generator=generator, dtype=torch.float64)
    output = torch.randn(9, 3, outputs + 2, generator=generator, dtype=torch.float64)
    plain = constant_rank.jet(lambda y: network(y), x)
    for value, rows in (network.value_and_jacobian(x), network.jet(x)[:2]):
        assert torch.allclose(value, plain.value, atol=1e-10) and torch.allclose(rows, plain.rows, atol=1e-12)
    for weights in (output, output[:, :1]):
        assert torch.allclose(network.second_derivative(x, direction, weights), plain.second_derivative(direction, weights), atol=1e-12)


def test_derivatives_of_a_network_without_hidden_layers():
    network = ConstraintNetwork(torch.zeros(3), 2.0, torch.eye(3), 4, depth=0, skip=0.5).double()
    x = torch.randn(6, 3, dtype=torch.float64)
    expected = network.linear + network.layers[0].weight
    assert all(torch.allclose(rows, expected.expand(6, -1, -1)) for rows in (network.jet(x).rows, network.value_and_jacobian(x)[1]))
    assert network.second_derivative(x, torch.ones(6, 2, 3, dtype=torch.float64), torch.ones(6, 2, 4, dtype=torch.float64)).eq(0).all()


def test_derivatives_come_in_the_dtype_of_the_points():
    network = make().double()
    x, direction, output = torch.randn(9, 5), torch.randn(9, 2, 5), torch.randn(9, 2, 6)
    at, exact = network.jet(x), network.jet(x.double())
    assert at.value.dtype == at.rows.dtype == at.second_derivative(direction, output).dtype == network.gradient(x).dtype == torch.float32
    assert torch.allclose(at.rows.double(), exact.rows, atol=1e-5)
    assert torch.allclose(at.second_derivative(direction, output).double(), exact.second_derivative(direction.double(), output.double()), atol=1e-5)
    assert torch.allclose(network.gradient(x).double(), network.gradient(x.double()), atol=1e-4)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    make(3)
    assert torch.equal(before, torch.get_rng_state())


def test_placed_units_bend_at_the_rows_over_their_lengths():
    """Every unit of the first layer is zero at a row; the weights have the standard deviation 1 / length."""
    network = ConstraintNetwork(torch.zeros(3), 1.0, torch.eye(3), 4, 2000)
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    network.place(rows, torch.full((50,), 0.2), torch.Generator().manual_seed(2))
    assert network.layers[0](rows).abs().amin(0).max() < 1e-5
    assert abs(float(network.layers[0].weight.detach().std()) * 0.2 - 1) < 0.05
