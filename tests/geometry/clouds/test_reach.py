"""The reach of a torus of revolution is its tube's radius; a plane has none, and its extent stands in for it."""

import pytest
import torch

from topogen.geometry.clouds.reach import low_reach, reach_at
from topogen.manifolds.shapes import Torus


def test_reach_of_a_torus():
    x = Torus(1.0, 0.5).sample(600, torch.Generator().manual_seed(0))
    tangent = Torus(1.0, 0.5).tangent_basis(x)
    reach = reach_at(x, tangent)
    assert float(reach.min()) == pytest.approx(0.5, rel=0.02)
    assert low_reach(x, tangent) == float(reach.quantile(0.02))
    assert low_reach(x, tangent, 0.1) == 0.1


def test_a_flat_piece_has_no_reach_and_the_low_reach_is_its_extent():
    x = torch.tensor([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    tangent = torch.tensor([[1.0], [0.0]], dtype=torch.float64).expand(3, 2, 1)
    assert low_reach(x, tangent) == 1.0
    assert low_reach(x, tangent, 3.0) == 3.0
    assert low_reach(x[:1], tangent[:1]) == torch.inf
