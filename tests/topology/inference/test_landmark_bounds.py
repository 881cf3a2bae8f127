"""Counting bounds: theorems about the whole cloud from few landmarks, checked against the whole cloud itself."""

import numpy as np
import pytest
import torch

from topogen.manifolds import shapes
from topogen.topology import farthest_points, persistence
from topogen.topology.inference.landmark_bounds import excess, rank_bounds, windows


def draw(name, n, seed=0):
    return shapes.get(name).sample(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(4))
def test_bounds_hold_for_the_whole_cloud_at_every_pair_of_scales(seed):
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    few = farthest_points(x, 150)
    whole, some = (persistence(p, max_degree=2, fields=(2,))[2] for p in (x, few.points))
    grid = np.linspace(0, 3, 60)
    low, high = rank_bounds(some, grid, 0.0, few.radius)
    truth = np.array([[[whole.spanning(k, s, t) for t in grid] for s in grid] for k in range(3)])
    later = np.broadcast_to(grid[None, :] > grid[:, None], truth.shape)
    assert (low <= truth)[later].all() and (truth <= high)[later].all()
    assert (low == high)[later].mean() > 0.3


def test_a_bound_without_the_covering_radius_would_be_caught():
    """Planted defect: landmarks taken for the cloud itself."""
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    few = farthest_points(x, 150)
    whole, some = (persistence(p, max_degree=2, fields=(2,))[2] for p in (x, few.points))
    grid = np.linspace(0, 3, 60)
    low, _ = rank_bounds(some, grid, 0.0, 0.0)
    truth = np.array([[[whole.spanning(k, s, t) for t in grid] for s in grid] for k in range(3)])
    assert (low > truth)[:, grid[None, :] > grid[:, None]].any()


@pytest.mark.parametrize(("name", "n", "count", "betti"), [("circle", 5000, 100, (1, 1)), ("torus", 20_000, 1000, (1, 2, 1)), ("sphere", 3000, 300, (1, 0, 1))])
def test_landmarks_certify_the_whole_cloud(name, n, count, betti):
    x = draw(name, n)
    few = farthest_points(x, count)
    found = windows(persistence(few.points, max_degree=len(betti) - 1), 0.0, few.radius)
    assert found[0].betti == {2: betti, 3: betti}
    assert found[0].stop > 1.5 * found[0].start
    assert str(betti).replace(" ", "") in found[0].to_text() and found[0].to_dict()["betti"]["3"] == list(betti)


def test_the_end_of_the_filtration_is_respected():
    few = farthest_points(draw("circle", 500), 60)
    assert all(w.stop + few.radius <= 0.4 for w in windows(persistence(few.points, max_degree=1, threshold=0.4), 0.0, few.radius))


def test_excess_of_a_circle_over_an_arc():
    x = draw("circle", 800)
    arc = x[x[:, 0] < 0.5]
    diagrams = [persistence(cloud, max_degree=1) for cloud in (x, arc)]
    surplus = [e for e in excess(*diagrams, (0.0, 0.0), tolerance=0.05) if e.degree == 1]
    assert [(e.field, e.count) for e in surplus] == [(2, 1), (3, 1)]
    assert surplus[0].start < 0.2 and surplus[0].stop > 0.7
    assert not [e for e in excess(*diagrams[::-1], (0.0, 0.0), tolerance=0.05) if e.degree == 1]


def test_a_single_point_has_no_windows_that_fail():
    found = windows(persistence(torch.zeros(1, 2, dtype=torch.float64), max_degree=1), 0.0, 0.0)
    assert all(w.betti[2] == (1, 0) for w in found)
