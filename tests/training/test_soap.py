"""SOAP: it descends where Adam crawls, goes on from its state, and leaves alone what has no gradient."""

import copy

import torch
from torch import Tensor, nn

from topogen.training.soap import Soap


def ill_conditioned(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Curvatures from 1 to 1e-3 along axes that are not those of the coordinates, and the minimum."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q for _ in range(2))
    scales = torch.logspace(0, -3, 8)
    return left * scales @ left.T, right * scales @ right.T, torch.randn(8, 8, generator=generator)


def descended(optimiser_of, steps: int = 400) -> float:
    left, right, minimum = ill_conditioned()
    weight = nn.Parameter(torch.zeros(8, 8))
    optimiser = optimiser_of([weight], 0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = (left @ (weight - minimum) @ right).square().sum()
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def test_it_is_closer_than_adam_after_the_same_steps():
    assert descended(Soap) < 0.5 * descended(torch.optim.Adam)


def test_a_copy_of_its_state_goes_on_with_the_same_bits():
    def step(model: nn.Module, optimiser: Soap, seed: int) -> None:
        x = torch.randn(16, 3, generator=torch.Generator().manual_seed(seed))
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()

    model = nn.Linear(3, 5)
    optimiser = Soap(model.parameters(), 0.01)
    for seed in range(12):
        step(model, optimiser, seed)
    other = copy.deepcopy(model)
    again = Soap(other.parameters(), 0.01)
    again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for seed in range(12, 30):
        step(model, optimiser, seed)
        step(other, again, seed)
    assert torch.equal(model.weight, other.weight) and torch.equal(model.bias, other.bias)


def test_zero_and_missing_gradients_keep_the_weights_finite():
    weight, spare = nn.Parameter(torch.ones(4, 3)), nn.Parameter(torch.ones(2))
    optimiser = Soap([weight, spare], 0.1)
    for _ in range(25):
        weight.grad = torch.zeros(4, 3)
        optimiser.step()
    assert torch.equal(weight, torch.ones(4, 3)) and torch.equal(spare, torch.ones(2))


def test_long_sides_keep_the_coordinate_basis(monkeypatch):
    monkeypatch.setattr("topogen.training.soap.LARGEST", 4)
    weight = nn.Parameter(torch.ones(6, 3))
    optimiser = Soap([weight], 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        weight.square().sum().backward()
        optimiser.step()
    assert "left" not in optimiser.state[weight] and weight.abs().max() < 0.2
