"""The permutation test on diagrams: level, power, exact distances."""

import numpy as np
import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import shapes
from topogen.topology import Diagram, bottleneck, permutation_test


def ring(n, seed, factor=1.0):
    return factor * shapes.get("circle").sample(n, generator=torch.Generator().manual_seed(seed))


def diagram(*bars):
    return Diagram(2, "cech", None, (np.array(bars, dtype=np.float64).reshape(-1, 2),))


def test_bottleneck_by_hand():
    assert bottleneck(diagram((0, 1)), diagram((0, 1.25), (0.5, 0.6)), 0) == pytest.approx(0.25)
    assert bottleneck(diagram((0, np.inf)), diagram((0.5, np.inf)), 0) == pytest.approx(0.5)
    assert bottleneck(diagram((0, np.inf)), diagram(), 0) == np.inf
    assert bottleneck(diagram((0.3, 0.3)), diagram(), 0) == 0


def test_level_is_kept():
    """p is exact in each degree: of 60 equal pairs more than 9 fall to .05 with chance .001 (binomial)."""
    runs = [permutation_test(ring(30, 2 * i), ring(30, 2 * i + 1), permutations=19, generator=torch.Generator().manual_seed(i)) for i in range(60)]
    for degree in range(2):
        assert sum(run.p_values[degree] <= 0.05 for run in runs) <= 9


def test_a_circle_and_a_disc_are_told_apart():
    disc = ring(200, 1) * torch.rand(200, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64).sqrt()
    found = permutation_test(ring(200, 0), disc, generator=torch.Generator().manual_seed(0))
    assert found.p_values[1] == pytest.approx(0.01) and found.distances[1] > 2 * found.by_chance[1]
    assert found.p_value == pytest.approx(0.02) and found.to_dict()["p_values"] == list(found.p_values)


def test_rips_and_refusals():
    assert permutation_test(ring(60, 0), ring(60, 1), engine="rips", permutations=9, generator=torch.Generator().manual_seed(0)).size == 60
    with pytest.raises(InvalidInputError, match="permutations"):
        permutation_test(ring(60, 0), ring(60, 1), permutations=0)
    with pytest.raises(InvalidInputError, match="at least 4"):
        permutation_test(ring(3, 0), ring(60, 1))
