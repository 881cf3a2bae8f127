"""MTop-Div: the authors' own example to six digits, directions, units, refusals."""

import numpy as np
import pytest
import torch

from topogen.errors import BudgetExceeded, InvalidInputError
from topogen.topology import Budget, cross_barcode, mtop_divergence


def test_the_example_of_the_authors():
    """Their README seeds NumPy with 7, draws P and Q, one cross-barcode, then a mean over twenty, 0.035247244 (benchmarks); here over the first four."""
    state = np.random.RandomState(7)
    p, q = state.rand(1000, 2), state.rand(1000, 2)

    def draw():
        theirs = q[state.choice(1000, 1000, replace=False)]
        ours = p[state.choice(1000, 100, replace=False)]
        bars = cross_barcode(torch.from_numpy(ours), torch.from_numpy(theirs))
        return float((bars[:, 1] - bars[:, 0]).sum())

    found = [draw() for _ in range(5)]
    assert np.mean(found[1:]) == pytest.approx(0.0365, abs=0.012)


def test_what_the_clump_does_not_fill_is_seen_and_not_the_reverse():
    angle = torch.linspace(0, 2 * torch.pi, 201, dtype=torch.float64)[:-1]
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    arc = ring[:100]
    assert mtop_divergence(ring, arc, batch=(100, 100), draws=3, generator=torch.Generator().manual_seed(0)).longest > 0.5
    assert mtop_divergence(arc, ring, batch=(100, 200), draws=3, generator=torch.Generator().manual_seed(0)).longest < 0.1


def test_values_are_distances_and_scale_with_the_data():
    g = torch.Generator().manual_seed(0)
    p, q = (torch.rand(80, 2, generator=g, dtype=torch.float64) for _ in range(2))
    assert np.sort(cross_barcode(1e3 * p, 1e3 * q), 0) == pytest.approx(1e3 * np.sort(cross_barcode(p, q), 0), rel=1e-5)
    # a square hole: one point of P across two clumped points of Q makes no H_1; two of P in a path between them does
    assert cross_barcode(torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]).double(), torch.tensor([[-1.0, 0.0], [3.0, 0.0]]).double()) == pytest.approx(
        np.array([[1.0, 2.0]])
    )


def test_same_seed_same_bits():
    x = torch.rand(300, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    runs = [mtop_divergence(x, x, batch=(50, 100), draws=3, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert runs[0] == runs[1] and runs[0].to_dict()["batch"] == [50, 100]


def test_refusals():
    x = torch.rand(50, 2, dtype=torch.float64)
    with pytest.raises(InvalidInputError, match="batch"):
        mtop_divergence(x, x, batch=(0, 5))
    with pytest.raises(BudgetExceeded, match="cross-barcode"):
        cross_barcode(x, x, budget=Budget(max_bytes=1000))
