"""p-values: level on noise, power on voids and curves, the traps."""

import math

import numpy as np
import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.manifolds import shapes
from topogen.topology import Diagram, persistence, significance


def noise(kind, seed, n=250):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 2, generator=g, dtype=torch.float64) if kind == "box" else torch.randn(n, 3, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("engine", ["alpha", "rips"])
@pytest.mark.parametrize("kind", ["box", "gaussian"])
def test_noise_is_not_significant(kind, engine):
    """Family-wise at 5 %: more than 5 of 30 clouds with a find has chance .003."""
    runs = [significance(persistence(noise(kind, s, 300), max_degree=1, fields=(2,), engine=engine)[2], 1) for s in range(30)]
    assert all(run.testable for run in runs)
    assert sum(run.count > 0 for run in runs) <= 5
    pooled = np.concatenate([run.p_values for run in runs])
    assert 0.005 <= (pooled < 0.05).mean() <= 0.07


def test_a_wrong_constant_would_be_caught():
    """Planted defect: the ratio exponent of Rips used for the alpha complex doubles the spread, and noise becomes significant."""
    diagrams = [persistence(noise("box", s), max_degree=1, fields=(2,))[2] for s in range(30)]
    wrong = [significance(Diagram(2, "rips", None, d.bars), 1) for d in diagrams]
    pooled = np.concatenate([run.p_values for run in wrong])
    assert (pooled < 0.05).mean() > 0.07 or sum(run.count > 0 for run in wrong) > 5


def test_the_void_of_a_torus_and_the_loop_of_a_noisy_circle_are_found():
    g = torch.Generator().manual_seed(0)
    torus = persistence(shapes.get("torus").sample(2000, generator=g), max_degree=2, fields=(2,))[2]
    assert significance(torus, 2).count == 1
    ring = shapes.get("circle").sample(300, generator=g) + 0.1 * torch.randn(300, 2, generator=g, dtype=torch.float64)
    found = significance(persistence(ring, max_degree=1, fields=(2,), engine="rips")[2], 1)
    assert found.count == 1 and found.p_values[0] < 1e-4
    assert "1 of" in found.to_text() and found.to_dict()["count"] == 1


def test_too_few_bars_are_not_testable():
    found = significance(persistence(shapes.get("circle").sample(100, generator=torch.Generator().manual_seed(0)), max_degree=1)[2], 1)
    assert not found.testable and found.count is None and "not testable" in found.to_text()


def test_trivial_bars_are_dropped_and_counted():
    g = np.random.RandomState(0)
    births = g.rand(50) + 1
    bars = np.stack([births, births * (1 + 0.1 * g.rand(50) + 1e-3)], 1)
    trivial = np.stack([births, births * (1 + 1e-9)], 1)
    clean, mixed = (significance(Diagram(2, "cech", None, (np.empty((0, 2)), b)), 1) for b in (bars, np.concatenate([bars, trivial])))
    assert mixed.dropped == 50 and np.allclose(clean.p_values, mixed.p_values)


def test_an_open_bar_says_how_far_to_go():
    g = torch.Generator().manual_seed(0)
    ring = shapes.get("circle").sample(300, generator=g) + 0.1 * torch.randn(300, 2, generator=g, dtype=torch.float64)
    whole = significance(persistence(ring, max_degree=1, fields=(2,), engine="rips")[2], 1)
    birth = float(whole.bars[0, 0])
    cut = significance(persistence(ring, max_degree=1, fields=(2,), engine="rips", threshold=1.5 * birth)[2], 1)
    assert cut.count == 0 and cut.needed is not None and 1.5 * birth < cut.needed < math.inf
    assert significance(persistence(ring, max_degree=1, fields=(2,), engine="rips", threshold=1.05 * cut.needed)[2], 1).count == 1


def test_refusals():
    diagram = persistence(noise("box", 0, 50), max_degree=1)[2]
    with pytest.raises(InvalidInputError, match="degree"):
        significance(diagram, 0)
    with pytest.raises(InvalidInputError, match="alpha"):
        significance(diagram, 1, alpha=2)
