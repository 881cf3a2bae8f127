"""Hausdorff distances: closed forms, both sides, refusals."""

import math

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.topology import hausdorff


def test_a_point_far_from_a_segment_is_seen_on_its_own_side_only():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    y = torch.cat([x, torch.tensor([[1.0, 3.0]], dtype=torch.float64)])
    found = hausdorff(x, y)
    assert (found.there, found.back, found.distance) == (0.0, 3.0, 3.0)
    assert (found.mean_back, found.farthest_y) == (1.0, 2)


def test_concentric_polygons():
    angle = torch.arange(12, dtype=torch.float64) * math.pi / 6
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    assert hausdorff(ring, 1.5 * ring).distance == pytest.approx(0.5)


def test_refusals():
    x = torch.zeros(3, 2, dtype=torch.float64)
    with pytest.raises(InvalidInputError, match=r"R\^2 and R\^3"):
        hausdorff(x, torch.zeros(3, 3, dtype=torch.float64))
    with pytest.raises(InvalidInputError, match="y: 1 of 3 rows"):
        hausdorff(x, torch.tensor([[0.0, 0.0], [1.0, math.nan], [0.0, 1.0]]))
    with pytest.raises(InvalidInputError, match="x: found 0 points"):
        hausdorff(x[:0], x)
