"""Which components were visited, mixtures with given shares, and means with known weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from topogen.errors import InvalidInputError
from topogen.sampling.visits import mixture, visits, weighted_mean


def on_circles(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Positions on unit circles around (4 label, 0)."""
    angle = 2 * math.pi * torch.rand(labels.shape, generator=generator, dtype=torch.float64)
    return torch.stack([angle.cos() + 4 * labels, angle.sin()], -1)


def switching(steps: int, chains: int, leave: tuple[float, float], generator: torch.Generator, start: int = 0) -> Tensor:
    """Two-state Markov chains that leave state i with probability leave[i]."""
    state, rows = torch.full((chains,), start), []
    for _ in range(steps):
        rows.append(state)
        move = torch.rand(chains, generator=generator) < torch.tensor(leave)[state]
        state = torch.where(move, 1 - state, state)
    return torch.stack(rows)


def right(x: Tensor) -> Tensor:
    return (x[:, 0] > 2).long()


def test_shares_and_errors_of_switching_chains() -> None:
    """Share of state 1 is .1 / (.1 + .2) = 1/3 within 4 s.e. (false alarm 6e-5); the error is that of the 40 chains within 40 %."""
    generator = torch.Generator().manual_seed(0)
    labels = switching(600, 40, (0.1, 0.2), generator)
    found = visits(on_circles(labels, generator))
    assert torch.equal(found.labels, labels)
    assert float(found.shares.sum()) == pytest.approx(1)
    assert abs(float(found.shares[1]) - 1 / 3) < 4 * float(found.standard_errors[1])
    spread = float((labels == 1).double().mean(0).std()) / 40**0.5
    assert float(found.standard_errors[1]) == pytest.approx(spread, rel=0.4)
    assert found.transitions == int((labels[1:] != labels[:-1]).sum())
    assert found.chains.tolist() == [40, 40]
    assert found.warning == ""


def test_the_most_visited_component_comes_first() -> None:
    generator = torch.Generator().manual_seed(1)
    found = visits(on_circles(switching(400, 20, (0.3, 0.1), generator), generator))
    assert found.shares.tolist() == sorted(found.shares.tolist(), reverse=True)


def test_known_components_that_were_not_visited_are_said() -> None:
    generator = torch.Generator().manual_seed(2)
    points = on_circles(torch.zeros(100, 10, dtype=torch.int64), generator)
    assert visits(points).warning == ""
    assert visits(points).standard_errors.tolist() == [0.0]
    reference = on_circles(torch.tensor([0] * 20 + [1] * 200), generator)
    for found in (visits(points, reference=reference), visits(points, right, reference=reference)):
        assert found.shares.tolist() == [1.0, 0.0]
        assert found.visited.tolist() == [True, False]
        assert found.warning == "2 components known, 1 visited (never: 1)"
        assert found.chains.tolist() == [10, 0]
        assert bool(found.standard_errors.isnan().all())
        assert "warning: 2 components known" in found.to_text()


def test_shares_of_chains_that_never_move_are_those_of_the_starts() -> None:
    generator = torch.Generator().manual_seed(3)
    labels = (torch.arange(10) < 3).long().expand(100, 10)
    found = visits(on_circles(labels, generator), right)
    assert found.shares.tolist() == pytest.approx([0.7, 0.3])
    assert found.transitions == 0
    assert "starts" in found.warning
    assert float(found.standard_errors[0]) > 0.08


def test_few_moves_are_said() -> None:
    generator = torch.Generator().manual_seed(4)
    labels = torch.zeros(50, 10, dtype=torch.int64)
    labels[25:, 0] = 1
    assert "only 1 moves" in visits(on_circles(labels, generator), right).warning


def test_bad_visits_are_named() -> None:
    points = torch.zeros(4, 3, 2, dtype=torch.float64)
    with pytest.raises(InvalidInputError, match="points"):
        visits(points[0])
    with pytest.raises(InvalidInputError, match="not finite"):
        visits(points + torch.nan)
    with pytest.raises(InvalidInputError, match="labelling"):
        visits(points, lambda x: x[:, 0])
    with pytest.raises(InvalidInputError, match="reference"):
        visits(points, reference=torch.zeros(3, 3))


def test_mixture_has_the_given_shares() -> None:
    """n w_c up to rounding, without bias: mean count of 400 draws of 7 points within 4 s.e. of 7 * .3."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.tensor([0] * 90 + [1] * 10)
    positions = on_circles(labels, generator)
    drawn = mixture(positions, labels, {0: 0.6, 1: 1.4}, 1000, generator)
    assert drawn.shape == (1000, 2)
    assert int(right(drawn).sum()) == 700
    assert 600 < int(right(drawn)[: 1000 - 100].sum()) < 660  # shuffled
    counts = torch.tensor([float(right(mixture(positions, labels, torch.tensor([0.7, 0.3]), 7, generator)).sum()) for _ in range(400)])
    assert set(counts.tolist()) == {2.0, 3.0}
    assert abs(float(counts.mean()) - 2.1) < 4 * 0.3 / 20
    one, two = (mixture(positions, labels, {0: 1.0, 1: 1.0}, 50, torch.Generator().manual_seed(6)) for _ in range(2))
    assert torch.equal(one, two)


def test_weighted_mean_and_its_error() -> None:
    """Chains fixed in components of means 0 and 3, wrong shares: 400 repetitions have mean 1.5 within 4 s.e. and the claimed spread within 20 %."""
    generator = torch.Generator().manual_seed(7)
    labels = (torch.arange(8) < 2).long().expand(60, 8)
    results = [weighted_mean(3.0 * labels + torch.randn(60, 8, generator=generator), labels, {0: 1, 1: 1}) for _ in range(400)]
    values = torch.tensor([r.value for r in results])
    assert abs(float(values.mean()) - 1.5) < 4 * float(values.std()) / 20
    assert float(torch.tensor([r.standard_error for r in results]).mean()) == pytest.approx(float(values.std()), rel=0.2)
    assert weighted_mean(3.0 * labels, labels, {0: 1, 1: 3}) == (2.25, 0.0)


def test_bad_weights_are_named() -> None:
    labels = torch.zeros(10, 2, dtype=torch.int64)
    values = torch.zeros(10, 2)
    with pytest.raises(InvalidInputError, match="no positions"):
        weighted_mean(values, labels, {0: 0.5, 1: 0.5})
    with pytest.raises(InvalidInputError, match="weights"):
        weighted_mean(values, labels, {0: -1.0})
    with pytest.raises(InvalidInputError, match="values, labels"):
        weighted_mean(values[0], labels, {0: 1.0})
    with pytest.raises(InvalidInputError, match="n, labels"):
        mixture(torch.zeros(4, 2), labels, {0: 1.0}, 3)
