"""MMD: the level of the test, its power, what it is by hand."""

import pytest
import torch

from topogen.topology import mmd


def blob(n, seed, shift=0.0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def test_by_hand():
    """Two points each: unbiased means of the off-diagonal kernel values."""
    x, y = torch.tensor([[0.0], [1.0]], dtype=torch.float64), torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    found = mmd(x, y, permutations=9, generator=torch.Generator().manual_seed(0))
    k = lambda a: float(torch.exp(torch.tensor(-0.5 * (a / found.bandwidth) ** 2, dtype=torch.float64)))  # noqa: E731
    assert found.squared == pytest.approx(k(1) + k(2) - (k(0) + k(2) + k(1) + k(1)) / 2)


def test_level_is_kept_and_a_shift_is_found():
    """p is exact: of 100 equal pairs more than 12 fall below .05 with chance .0005 (binomial)."""
    g = torch.Generator().manual_seed(0)
    equal = [mmd(blob(60, 2 * i), blob(60, 2 * i + 1), permutations=99, generator=g).p_value for i in range(100)]
    assert sum(p <= 0.05 for p in equal) <= 12
    assert mmd(blob(100, 1), blob(100, 2, 0.7), generator=g).p_value == pytest.approx(1 / 200)
