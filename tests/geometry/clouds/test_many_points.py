"""Local statistics of many points are asked at some of them: the work does not grow with the cloud, the answers stay those of all points."""

import pytest
import torch

from topogen.geometry.clouds import dimension, scales
from topogen.geometry.clouds.dimension import affine_hull, estimate_dimension, two_nn
from topogen.geometry.clouds.point_clouds import random_rows
from topogen.geometry.clouds.scales import estimate_scales, noise_level
from topogen.manifolds.shapes import Torus

FEW = 1000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def torus(n, sigma=0.0, seed=0):
    g = seeded(seed)
    points = Torus().sample(n, generator=g)
    return points + sigma * torch.randn(points.shape, generator=g, dtype=torch.float64)


@pytest.fixture
def few_rows(monkeypatch):
    for module in (dimension, scales):
        monkeypatch.setattr(module, "LOCAL_ROWS", FEW)


@pytest.fixture
def asked(monkeypatch):
    """Counts of what the sheets and the neighbour searches of `scales` are asked for: rows, and rows times neighbours."""
    counts = {"rows": 0, "neighbours": 0}
    fit, search = scales.local_fit, scales.nearest

    def counted_fit(points, queries, indices, dim):
        counts["rows"] += len(queries)
        return fit(points, queries, indices, dim)

    def counted_search(points, k, queries=None):
        counts["neighbours"] += k * len(points if queries is None else queries)
        return search(points, k, queries)

    monkeypatch.setattr(scales, "local_fit", counted_fit)
    monkeypatch.setattr(scales, "nearest", counted_search)
    return counts


def test_random_rows():
    assert random_rows(5, 5, None).tolist() == [0, 1, 2, 3, 4]
    generator = seeded()
    random_rows(10, 10, generator)
    assert torch.equal(generator.get_state(), seeded().get_state())
    rows = random_rows(1000, 100, generator)
    assert len(rows.unique()) == 100 and (rows.diff() > 0).all() and torch.equal(rows, random_rows(1000, 100, seeded()))


def work(n, counts):
    counts.update(rows=0, neighbours=0)
    estimate_scales(torus(n), 2, generator=seeded())
    # one search, for the row that stands for each point, is of all points
    return counts["rows"], counts["neighbours"] - n


def test_sheets_and_searches_do_not_grow_with_the_cloud(few_rows, asked):
    (rows, neighbours), (more_rows, more_neighbours) = work(4000, asked), work(16_000, asked)
    assert more_rows <= 1.5 * rows and more_neighbours <= 1.5 * neighbours


def test_sheets_grow_where_every_point_is_asked(asked):
    """The counter sees growth where there is some."""
    assert work(8000, asked)[0] > 3 * work(2000, asked)[0]


@pytest.mark.parametrize("sigma", [0.0, 0.02])
def test_some_rows_know_the_scales_of_all(monkeypatch, sigma):
    points = torus(12_000, sigma)
    every = estimate_scales(points, 2, generator=seeded())
    monkeypatch.setattr(scales, "LOCAL_ROWS", FEW)
    some = estimate_scales(points, 2, generator=seeded())
    assert some.spacing == pytest.approx(every.spacing, rel=0.1) and some.reach == pytest.approx(every.reach, rel=0.25)
    assert some.noise == pytest.approx(every.noise, rel=0.1) if sigma else some.noise < 1e-3
    assert some.diameter == every.diameter and some.resolved == every.resolved
    assert some.spacing_per_point.shape == some.reach_per_point.shape == (12_000,)


def test_wide_neighbourhoods_of_a_noisy_cloud_are_found_in_part_of_it(few_rows):
    found = noise_level(torus(60_000, 0.06), 2, generator=seeded())
    assert found.k >= 2 * scales.MOST_NEIGHBOURS and found.noise == pytest.approx(0.06, rel=0.15)


def test_the_hull_of_many_rows_is_that_of_all_at_once(monkeypatch):
    frame = torch.linalg.qr(torch.randn(8, 8, generator=seeded(3), dtype=torch.float64)).Q
    points = torch.cat([torus(5000), torch.zeros(5000, 5)], 1) @ frame + 0.01 * torch.randn(5000, 8, generator=seeded(4), dtype=torch.float64)
    whole = affine_hull(points)
    monkeypatch.setattr(dimension, "LOCAL_ROWS", FEW)
    parts = affine_hull(points)
    assert parts.dim == whole.dim == 3 and parts.noise == pytest.approx(whole.noise, rel=1e-9)
    assert torch.allclose(parts.basis @ parts.basis.T, whole.basis @ whole.basis.T, atol=1e-9)


def test_a_flat_direction_of_many_rows_is_left_out_to_rounding(few_rows):
    flat = torch.cat([torus(5000), torch.zeros(5000, 1)], 1)
    assert affine_hull(flat).dim == 3 and affine_hull(flat).noise < 1e-12


def test_the_dimension_of_many_rows(few_rows):
    points = torus(6000)
    assert two_nn(points, generator=seeded()) == pytest.approx(2, abs=0.2)
    hull = affine_hull(points)
    found = estimate_dimension(points, hull=hull, generator=seeded())
    assert found.dim == 2 and found == estimate_dimension(points, generator=seeded())
