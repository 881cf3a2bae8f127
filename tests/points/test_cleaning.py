"""`clean`: duplicates go, order stays, everything is told."""

import pytest
import torch

from topogen.points import Repairs, clean


def test_duplicates_are_counted_and_the_first_of_each_stays_in_order():
    points = torch.tensor([[3.0, 1.0], [0.0, 5.0], [3.0, 1.0], [2.0, 2.0], [0.0, 5.0], [3.0, 1.0]])
    kept, repairs = clean(points)
    assert kept.tolist() == [[3.0, 1.0], [0.0, 5.0], [2.0, 2.0]]
    assert repairs == Repairs(found=6, kept=3, duplicates=3, largest_multiplicity=3, constant_columns=())
    assert "removed 3 exact duplicates of 6 points" in repairs.to_text() and "3 times" in repairs.to_text()


def test_a_clean_cloud_comes_back_as_it_is():
    points = torch.randn(500, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept, repairs = clean(points)
    assert torch.equal(kept, points)
    assert (repairs.duplicates, repairs.largest_multiplicity, repairs.constant_columns) == (0, 1, ())
    assert repairs.to_text() == "nothing to repair in 500 points"


def test_negative_zero_equals_zero_and_neighbours_of_a_bit_do_not():
    assert clean(torch.tensor([[0.0, 1.0], [-0.0, 1.0]]))[1].duplicates == 1
    one = torch.tensor(1.0, dtype=torch.float64)
    above = torch.nextafter(one, one + 1)
    assert clean(torch.stack((one, above)).reshape(2, 1))[1].duplicates == 0


def test_constant_columns_are_kept_and_named():
    points = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    points[:, 1], points[:, 4] = 7.0, 0.0
    kept, repairs = clean(points)
    assert kept.shape == (20, 5) and repairs.constant_columns == (1, 4)
    assert "constant columns, kept: 1, 4" in repairs.to_text()


def test_agrees_with_torch_unique_and_is_idempotent():
    points = torch.randint(0, 4, (400, 3), generator=torch.Generator().manual_seed(2)).double()
    kept, repairs = clean(points)
    unique, counts = torch.unique(points, dim=0, return_counts=True)
    assert torch.equal(torch.unique(kept, dim=0), unique) and repairs.kept == len(unique)
    assert repairs.largest_multiplicity == int(counts.max())
    again, nothing = clean(kept)
    assert torch.equal(again, kept) and nothing.duplicates == 0


def test_one_point_and_copies_of_it():
    assert clean([[1.0, 2.0]])[1] == Repairs(1, 1, 0, 1, ())
    assert clean([[1.0, 2.0]] * 5)[1] == Repairs(5, 1, 4, 5, (0, 1))


def test_input_is_not_mutated_and_repairs_are_frozen():
    points = torch.tensor([[1.0, 2.0], [1.0, 2.0], [-0.0, 2.0]], dtype=torch.float64)
    before = points.clone()
    _, repairs = clean(points)
    assert torch.equal(points, before) and bool(torch.signbit(points[2, 0]))
    with pytest.raises(AttributeError):
        repairs.kept = 0
