"""Precision, recall, density, coverage: by hand, in the right order of arguments, and against outliers."""

import sys

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.topology import precision_recall


def blob(n, shift=0.0, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def test_by_hand():
    """x at 0, 1, 2, 3 with k = 1: balls of radius 1; y at .5 and 10, whose balls reach 9.5."""
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]], dtype=torch.float64)
    y = torch.tensor([[0.5], [10.0]], dtype=torch.float64)
    found = precision_recall(x, y, k=1)
    assert (found.precision, found.recall, found.coverage) == (0.5, 1.0, 0.5)
    assert found.density == pytest.approx((2 + 0) / 2)


def test_a_lost_mode_lowers_recall_and_an_invented_one_precision():
    two, one = torch.cat([blob(500), blob(500, 20.0, 1)]), blob(1000, seed=2)
    lost, invented = precision_recall(two, one), precision_recall(one, two)
    assert lost.precision > 0.95 and lost.recall < 0.6 and lost.coverage < 0.6
    assert invented.recall > 0.95 and invented.precision < 0.6 and invented.coverage > 0.8


def test_swapped_arguments_would_be_caught():
    two, one = torch.cat([blob(500), blob(500, 20.0, 1)]), blob(1000, seed=2)
    assert abs(precision_recall(two, one).precision - precision_recall(one, two).precision) > 0.3


def test_one_distribution_gives_the_expected_coverage():
    """For n = m draws of one distribution coverage is 1 - 2^-k nearly (Naeem et al.), density one."""
    found = precision_recall(blob(3000), blob(3000, seed=1))
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.015)
    assert found.density == pytest.approx(1, abs=0.05)


def test_chunks_change_nothing(monkeypatch):
    x, y = blob(200), blob(150, 0.5, 1)
    whole = precision_recall(x, y, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(sys.modules["topogen.topology.comparison.precision_recall"], "CHUNK", 1000)
    assert precision_recall(x, y, generator=torch.Generator().manual_seed(0)) == whole


def test_too_few_points():
    with pytest.raises(InvalidInputError, match="k: expected 1 to 3"):
        precision_recall(blob(4), blob(10))
