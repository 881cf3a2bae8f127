"""Costs are predicted before they are paid, and refused in under a second with three ways out."""

from __future__ import annotations

import math
import time

import pytest
import torch

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.topology.persistence.budget import GIB, Budget, Cost, available_bytes, estimate_cost
from topogen.topology.persistence.persistence import persistence


def normal(n: int, dim: int) -> torch.Tensor:
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_full_rips_is_counted_exactly() -> None:
    assert estimate_cost(200, 5, 2, engine="rips").simplices == sum(math.comb(200, j) for j in range(1, 5))


def test_threshold_count_is_near_the_truth() -> None:
    import gudhi

    x = normal(300, 4)
    for threshold in (0.4, 0.7):
        tree = gudhi.RipsComplex(points=x.numpy(), max_edge_length=2 * threshold).create_simplex_tree(max_dimension=2)
        predicted = estimate_cost(300, 4, 1, threshold, x, "rips").simplices
        assert 1 / 3 < predicted / tree.num_simplices() < 3


def test_alpha_count_is_near_the_truth() -> None:
    import gudhi

    x = torch.nn.functional.normalize(normal(2000, 3), dim=1) * (1 + 0.01 * normal(2000, 1))
    tree = gudhi.AlphaComplex(points=x.numpy()).create_simplex_tree()
    assert 1 / 3 < estimate_cost(2000, 3, 2).simplices / tree.num_simplices() < 3


@pytest.mark.parametrize(
    ("n", "dim", "options"), [(5000, 5, {"max_degree": 2}), (1000, 4, {"max_degree": 3}), (100_000, 3, {"max_degree": 2, "budget": Budget(max_bytes=GIB)})]
)
def test_refuses_in_a_second_with_three_ways_out(n: int, dim: int, options: dict[str, object]) -> None:
    x = normal(n, dim)
    began = time.process_time()
    with pytest.raises(BudgetExceeded) as raised:
        persistence(x, **options)  # type: ignore[arg-type]
    assert time.process_time() - began < 1.5
    for words in ("smaller landmarks=", "threshold", "larger budget=", "GiB", "predicted"):
        assert words in str(raised.value)
    assert isinstance(raised.value, MemoryError)


def test_seconds_are_a_limit_too() -> None:
    Budget(max_bytes=100).check(Cost(1, 100, 1e9), "work")
    with pytest.raises(BudgetExceeded, match="2 s"):
        Budget(max_bytes=100, max_seconds=2).check(Cost(1, 100, 3), "work")


def test_within_budget_runs() -> None:
    assert persistence(normal(50, 5), max_degree=1, threshold=1.0)[2].filtration == "rips"


def test_default_budget() -> None:
    assert 0 < Budget().max_bytes <= 2 * GIB
    assert available_bytes() <= 2 * GIB


def test_unknown_engine() -> None:
    with pytest.raises(InvalidInputError, match="engine"):
        estimate_cost(10, 3, 1, engine="cech")
