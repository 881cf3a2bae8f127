"""Counting bounds: theorems about the whole cloud from few landmarks, checked against the whole cloud itself."""

import math

import numpy as np
import pytest
import torch
import trimesh

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


def icospheres(level, apart):
    """Two unit spheres of 12 or 42 points each in R^4."""
    mesh = trimesh.creation.icosphere(subdivisions=level)
    one = torch.nn.functional.pad(torch.as_tensor(np.array(mesh.vertices), dtype=torch.float64), (0, 1))
    return torch.cat([one, one + torch.tensor([0.0, 0.0, 0.0, apart])])


@pytest.mark.parametrize(("level", "apart"), [(0, 4.0), (1, 4.0), (1, 6.0)])
def test_rips_complexes_say_nothing_exact_of_balls(level, apart):
    """Balls have their homology later than Rips complexes: (2,0,2) of 42 points each from .357, not from .310. What is said of balls is checked in R^3."""
    x = icospheres(level, apart)
    rips = persistence(x, max_degree=2, fields=(2,), engine="rips")
    found = next(w for w in windows(rips, 0.0, 0.0) if w.betti[2] == (2, 0, 2))
    text = found.to_text()
    assert "in the Rips complexes of all points exactly (2,0,2)" in text and "balls round all points" not in text
    assert found.to_dict()["filtration"] == "rips"
    one = persistence(x[: len(x) // 2, :3], max_degree=2, fields=(2,), engine="alpha")[2]
    assert one.spanning(2, found.start, found.start) == 0, "the balls have the sphere's homology as early: the case shows nothing"
    later = math.sqrt(2) * found.start
    assert f"in balls at least as many from {later:.4g} on" in text
    assert one.spanning(2, later, min(found.stop, 0.95 * float(one.bars[2][:, 1].max()))) == 1


def test_alpha_complexes_do_speak_of_balls():
    found = windows(persistence(icospheres(1, 4.0)[:42, :3], max_degree=2, fields=(2,)), 0.0, 0.0)
    assert any("in the balls round all points exactly (1,0,1)" in w.to_text() for w in found)
