"""Evenness: a lattice is even, a funnel is not, outliers stand apart."""

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.topology import homology, sampling_density


def test_a_ring_of_equal_steps_is_perfectly_even():
    angle = torch.arange(100, dtype=torch.float64) * torch.pi / 50
    found = sampling_density(torch.stack([angle.cos(), angle.sin()], 1))
    assert found.ratio == pytest.approx(1) and found.outliers == 0 and found.to_text() == ""
    # the fifth neighbour is three steps away
    assert found.median == pytest.approx(2 * torch.sin(torch.tensor(3 * torch.pi / 100, dtype=torch.float64)).item())


def test_a_funnel_is_uneven_and_homology_says_so():
    t = torch.linspace(0, 1, 400, dtype=torch.float64) ** 3 * 6
    arc = torch.stack([t.cos(), t.sin()], 1)
    assert sampling_density(arc).ratio > 2
    steep = torch.stack([(t**2).cos(), (t**2).sin(), t], 1)
    found = sampling_density(steep)
    assert found.ratio > 5 and "uneven density" in found.to_text()
    assert any("uneven density" in note for note in homology(steep, dim=1, generator=torch.Generator().manual_seed(0)).notes)


def test_outliers_are_counted_and_left_out():
    g = torch.Generator().manual_seed(0)
    x = torch.cat([torch.rand(500, 2, generator=g, dtype=torch.float64), torch.tensor([[5.0, 5.0], [-4.0, 7.0]], dtype=torch.float64)])
    assert sampling_density(x).outliers == 2 and sampling_density(x).most < 1


def test_few_points():
    assert sampling_density(torch.tensor([[0.0], [1.0]])).most == 1
    with pytest.raises(InvalidInputError, match="at least 2"):
        sampling_density(torch.zeros(1, 2))
