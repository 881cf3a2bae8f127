"""Pieces of visited points: neither splits nor joins, and a manifold tells a hole in the sampling from a gap."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from topogen.manifolds import ImplicitManifold
from topogen.manifolds.shapes import KleinBottle, LinkedCircles, SpecialOrthogonal, Torus, TwoSpheres
from topogen.sampling.connected_components import connected_components

GAP = 4 / 9  # a tenth of the diameter of both unit circles together
ARCS = (0.0, 1.5, 3.0, 4.5)


def circle(n: int, generator: torch.Generator, centre: float = 0.0, begin: float = 0.0, length: float = 2 * math.pi) -> Tensor:
    angle = begin + length * torch.rand(n, generator=generator, dtype=torch.float64)
    return torch.stack([angle.cos() + centre, angle.sin()], 1)


def two_circles(x: Tensor) -> Tensor:
    return ((x.norm(dim=1) - 1) * ((x - torch.tensor([2 + GAP, 0.0], dtype=x.dtype)).norm(dim=1) - 1)).unsqueeze(1)


@pytest.mark.parametrize("n", [1000, 20000])
def test_one_circle_stays_whole_and_two_apart(n: int) -> None:
    """Twenty draws each; a circle of 1000 points has a gap of 5 % of its diameter once in 10^4 draws."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert int(connected_components(circle(n, generator)).max()) == 0
        both = torch.cat([circle(n, generator), circle(n // 3, generator, 2 + GAP)])
        labels = connected_components(both)
        assert bool((labels[:n] == labels[0]).all())
        assert bool((labels[n:] == 1 - labels[0]).all())


@pytest.mark.parametrize(("shape", "number"), [(Torus(), 1), (KleinBottle(), 1), (SpecialOrthogonal(), 1), (LinkedCircles(), 2), (TwoSpheres(), 2)], ids=str)
def test_shapes(shape: Torus, number: int) -> None:
    for n in (500, 8000):
        assert int(connected_components(shape.sample(n, torch.Generator().manual_seed(1))).max()) == number - 1


def test_a_place_that_thinning_misses_is_found() -> None:
    generator = torch.Generator().manual_seed(2)
    cloud = torch.cat([circle(30000, generator), circle(3, generator, 5.0, 0.0, 1e-3)])
    labels = connected_components(cloud)
    assert int(labels.max()) == 1
    assert labels[-3:].tolist() == [int(labels[-1])] * 3
    assert int((labels == labels[-1]).sum()) == 3


def test_the_manifold_joins_arcs_and_keeps_circles_apart() -> None:
    generator = torch.Generator().manual_seed(3)
    arcs = torch.cat([circle(200, generator, 0.0, a, 0.4) for a in ARCS])
    assert int(connected_components(arcs).max()) == 3
    assert int(connected_components(arcs, ImplicitManifold(lambda x: x.norm(dim=1, keepdim=True) - 1, 1, 2)).max()) == 0
    both = torch.cat([arcs, arcs + torch.tensor([2 + GAP, 0.0])])
    labels = connected_components(both, ImplicitManifold(two_circles, 1, 2))
    assert labels.unique().tolist() == [0, 1]
    assert bool((labels[: len(arcs)] == labels[0]).all())


def test_few_and_repeated_points() -> None:
    assert connected_components(torch.zeros(5, 2, dtype=torch.float64)).tolist() == [0] * 5
    far = torch.tensor([[0.0, 0.0]] * 3 + [[1.0, 0.0]] * 2, dtype=torch.float64)
    assert len(connected_components(far)) == 5
