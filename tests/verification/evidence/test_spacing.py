"""The spacing around a point is that of the set that was sampled: near-duplicates and the steps of a trajectory do not shrink it."""

import math

import pytest
import torch

from topogen.geometry.clouds.neighbours import nearest
from topogen.manifolds.shapes import Circle, Sphere
from topogen.verification.evidence.spacing import separate_rows, spacing


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def plain(points):
    return nearest(points, math.ceil(math.log(len(points))) + 1, points)[0][:, -1]


@pytest.mark.parametrize("shape", [Circle(), Sphere()], ids=["circle", "sphere"])
@pytest.mark.parametrize("n", [100, 2000])
def test_independent_points_keep_theirs(shape, n):
    points = shape.sample(n, seeded())
    found = spacing(points, shape.dim, ordered=False)
    assert len(separate_rows(points, shape.dim)) > 0.85 * n
    assert 1.0 <= float((found / plain(points)).median()) < 1.2


@pytest.mark.parametrize("copies", [3, 12])
def test_near_duplicates_count_once(copies):
    once = Sphere().sample(400, seeded())
    again = once.repeat(copies, 1)
    again = (again + 1e-5 * torch.randn(again.shape, generator=seeded(1), dtype=again.dtype))[torch.randperm(len(again), generator=seeded(2))]
    assert len(separate_rows(again, 2)) < 1.2 * 400
    assert float(spacing(again, 2, ordered=False).median()) > 0.9 * float(spacing(once, 2, ordered=False).median())
    assert float(plain(again).median()) < 0.9 * float(spacing(once, 2, ordered=False).median())


@pytest.mark.parametrize("step", [0.02, 0.1])
def test_a_trajectory_counts_passes(step):
    """Strands of an irrational winding of a flat torus are w = 2 pi / sqrt(1 + g^2) T apart after T turns: k passes are within some k w / 2."""
    n, golden = 4000, (1 + 5**0.5) / 2
    t = step * torch.arange(n, dtype=torch.float64)
    points = torch.stack([t.cos(), t.sin(), (golden * t).cos(), (golden * t).sin()], 1)
    length = n * step * (1 + golden**2) ** 0.5
    apart, k = (2 * math.pi) ** 2 / length, math.ceil(math.log(n))
    found = float(spacing(points, 2, ordered=True).median())
    assert 0.3 * k * apart < found < k * apart
    assert float(plain(points).median()) < 0.9 * found


def test_order_does_not_matter_where_none_is_seen():
    points = Sphere().sample(500, seeded())
    turned = torch.randperm(500, generator=seeded(1))
    assert torch.allclose(spacing(points, 2, ordered=False)[turned], spacing(points[turned], 2, ordered=False), rtol=0.05)


def test_independent_points_pass_one_by_one():
    """Taken for a trajectory they keep their spacing, up to the few that follow each other by chance."""
    points = Sphere().sample(1000, seeded())
    assert float((spacing(points, 2, ordered=True) / spacing(points, 2, ordered=False)).median()) < 1.1
