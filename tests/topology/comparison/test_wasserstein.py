"""Wasserstein distances: closed forms, the floor, the sliced one below the exact."""

import pytest
import torch

from topogen.topology import wasserstein


def blob(n, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_shift_is_its_length():
    x = blob(400)
    shift = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)
    found = wasserstein(x, x + shift, generator=torch.Generator().manual_seed(0))
    assert found.exact == pytest.approx(5.0, abs=0.2)
    # the mean of <u, shift>^2 over the sphere in R^3 is |shift|^2 / 3
    assert found.sliced == pytest.approx(5 / 3**0.5, rel=0.15)
    assert found.within < 1


@pytest.mark.parametrize("factor", [1e-140, 1e140])
def test_units(factor):
    plain, scaled = (wasserstein(f * blob(100), f * blob(100, 1), generator=torch.Generator().manual_seed(0)) for f in (1.0, factor))
    assert (scaled.exact / factor, scaled.sliced / factor) == pytest.approx((plain.exact, plain.sliced), rel=1e-9)


def test_one_distribution_is_at_the_floor():
    found = wasserstein(blob(2000), blob(2000, 1), generator=torch.Generator().manual_seed(0))
    assert found.exact == pytest.approx(found.within, rel=0.15)
