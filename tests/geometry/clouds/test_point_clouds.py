"""Distinct rows in both orders, and rows evenly chosen."""

import pytest
import torch

from topogen.geometry.clouds.point_clouds import distinct_rows, even_rows, first_occurrences


@pytest.mark.parametrize("ties", [False, True])
def test_distinct_rows_are_those_of_unique(ties):
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.cat([x.round(decimals=1), x[:50].round(decimals=1)]) if ties else x
    assert torch.equal(distinct_rows(x), torch.unique(x, dim=0))
    assert torch.equal(distinct_rows(x[:1]), x[:1])


def test_first_occurrences_keep_the_order_and_count():
    x = torch.tensor([[3.0, 0.0], [1.0, 2.0], [3.0, -0.0], [0.0, 0.0], [1.0, 2.0], [3.0, 0.0]])
    rows, counts = first_occurrences(x)
    assert rows.tolist() == [0, 1, 3]
    assert counts.tolist() == [3, 2, 1]


def test_even_rows_begin_and_end_with_the_cloud():
    assert even_rows(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert even_rows(101, 3).tolist() == [0, 50, 100]
    assert even_rows(0, 3).tolist() == []
