"""Farthest points: exact covering radius, greedy law, determinism, refusals."""

from __future__ import annotations

import pytest
import torch

from topogen.errors import InvalidInputError
from topogen.geometry.clouds.farthest_points import TREE_DIMENSION, covering_radius, farthest_points, farthest_rows, spread_out


def cloud(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dim", [1, 2, 3, 7, TREE_DIMENSION + 5])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_radius_is_exact(dim: int, count: int) -> None:
    x = cloud(400, dim)
    landmarks = farthest_points(x, count)
    brute = max(min(float((p - q).norm()) for q in landmarks.points) for p in x)
    assert landmarks.radius == pytest.approx(brute, rel=1e-12)
    assert torch.equal(landmarks.points, x[landmarks.indices])


@pytest.mark.parametrize("dim", [2, TREE_DIMENSION + 1])
def test_each_landmark_is_the_farthest_from_those_before(dim: int) -> None:
    x = cloud(200, dim, seed=3)
    landmarks = farthest_points(x, 20, start=7)
    assert int(landmarks.indices[0]) == 7
    for m in range(1, 20):
        distances = torch.cdist(x, landmarks.points[:m]).amin(1)
        assert float(distances[landmarks.indices[m]]) == pytest.approx(float(distances.max()), rel=1e-9)


def test_radius_is_within_twice_the_separation() -> None:
    landmarks = farthest_points(cloud(500, 3), 50)
    separation = torch.cdist(landmarks.points, landmarks.points).fill_diagonal_(torch.inf).min()
    assert landmarks.radius <= float(separation)


def test_duplicates_end_the_search() -> None:
    x = cloud(5, 3).repeat(4, 1)
    for points in (x, cloud(5, TREE_DIMENSION + 2).repeat(4, 1)):
        landmarks = farthest_points(points, 12)
        assert len(landmarks.indices) == 5
        assert landmarks.radius == 0


def test_deterministic_and_input_untouched() -> None:
    x = cloud(300, 3)
    before = x.clone()
    assert torch.equal(farthest_points(x, 30).indices, farthest_points(x, 30).indices)
    assert torch.equal(x, before)


def test_keeps_dtype_of_points() -> None:
    assert farthest_points(cloud(50, 3).float(), 5).points.dtype == torch.float32


@pytest.mark.parametrize("dim", [1, 3, TREE_DIMENSION])
def test_the_fast_way_takes_the_same_points(dim: int) -> None:
    x = cloud(500, dim)
    assert torch.equal(farthest_points(x, 60, start=3).indices, farthest_rows(x, 60, start=3))


def test_spread_out_keeps_points_apart() -> None:
    x = cloud(400, 3)
    kept = spread_out(x, 30)
    assert kept.shape == (30, 3)
    separation = torch.cdist(kept, kept).fill_diagonal_(torch.inf).min()
    assert float(separation) >= covering_radius(x, kept) - 1e-12
    assert spread_out(x, 500) is x


@pytest.mark.parametrize(
    ("points", "count", "start"), [(cloud(5, 2), 0, 0), (cloud(5, 2), 2, 5), (cloud(5, 2)[0], 2, 0), (torch.ones(3, 2, dtype=torch.int64), 1, 0)]
)
def test_refuses(points: torch.Tensor, count: int, start: int) -> None:
    with pytest.raises(InvalidInputError, match=r"points|count|start"):
        farthest_points(points, count, start)


def test_refuses_nan() -> None:
    x = cloud(5, 2)
    x[3, 1] = torch.nan
    with pytest.raises(InvalidInputError, match="row 3"):
        farthest_points(x, 2)
