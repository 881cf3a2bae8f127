"""Bounds on cells hold at random points of the cells, proved and sampled; a bound that is too small is caught by the same test."""

import pytest
import torch

from topogen.manifolds import ImplicitManifold
from topogen.topology.level_sets.cell_bounds import bounds, enclosure_of


def quadric(x):
    """|D^2 F| <= 4: the Hessian is diagonal (2, 4)."""
    return (x**2 * torch.tensor([1.0, 2.0], dtype=x.dtype)).sum(-1, keepdim=True) - 1


def pair(x):
    """Two outputs in R^3, |D^2 F| <= 2 sqrt 2."""
    return torch.stack([x[:, 0] ** 2 + x[:, 1] ** 2 - 1, x[:, 2] ** 2 + x[:, 0]], 1)


def broken(manifold, enclosure, side=0.3, cells=200):
    """Share of random points of cells at which one of the four bounds fails."""
    generator = torch.Generator().manual_seed(0)
    dim = manifold.ambient_dim
    centres = 2 * torch.rand(cells, dim, generator=generator, dtype=torch.float64) - 1
    found = bounds(enclosure, centres, side)
    x = centres.unsqueeze(1) + side * (torch.rand(cells, 64, dim, generator=generator, dtype=torch.float64) - 0.5)
    frame = manifold.frame(x.reshape(-1, dim))
    norm = frame.value.norm(dim=-1).reshape(cells, 64)
    push = (frame.right * frame.values.unsqueeze(1) @ (frame.left.mT @ frame.value.unsqueeze(-1))).norm(dim=(-2, -1)).reshape(cells, 64)
    slope = frame.values[:, -1].reshape(cells, 64)
    low, high, least, pushed = (part.unsqueeze(1) for part in found)
    bad = (norm < low - 1e-12) | (norm > high + 1e-12) | (slope < least - 1e-12) | (push < pushed - 1e-12)
    assert bool((found.low > 0).any()), "no cell is told from the zero set"
    assert bool((found.slope > 0).any())
    return float(bad.double().mean())


@pytest.mark.parametrize(("field", "dim", "ambient", "bend"), [(quadric, 1, 2, 4.0), (pair, 1, 3, 8**0.5)])
def test_bounds_hold(field, dim, ambient, bend):
    manifold = ImplicitManifold(field, dim, ambient)
    given, sampled = enclosure_of(manifold, bend), enclosure_of(manifold, None)
    assert (given.label, sampled.label) == ("proved", "heuristic")
    assert broken(manifold, given) == 0
    assert broken(manifold, sampled) == 0
    assert broken(manifold, enclosure_of(manifold, 0.1 * bend)) > 0, "a bound on the second derivative that is too small must show"


def test_what_is_not_finite_is_unknown():
    manifold = ImplicitManifold(lambda x: x.sum(-1, keepdim=True).log(), 1, 2)
    found = bounds(enclosure_of(manifold, None), torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64), 0.1)
    assert found.low[0] == 0
    assert found.high[0] == torch.inf
    assert found.slope[0] == -torch.inf
    assert torch.isfinite(found.high[1])
